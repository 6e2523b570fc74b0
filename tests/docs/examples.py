"""examples.py BUILD [DOCUMENT…]: runs the examples of the documentation against an installed copy of a build.

Without documents: README.md, docs/*.md and sample.md beside this file. In a document

    ```c                    with `int main` in it is a complete program. It is compiled twice, by pkg-config as C11 with
                            GNU extensions and warnings as errors, and by find_package; both are run;
    ```c and ```cpp         without it and without a name is a fragment: it must compile as the body of a function that sees
                            the variables of fragment.h, as C11 with GNU extensions or C++17, warnings as errors;
    // NAME or # NAME       as first line of a block makes it a file of that name, for the programs and scripts of the same
                            document; so does ```LANGUAGE file=NAME, for languages without comments;
    ```sh run               is a script for bash, run with the installed `kernels` in its PATH;
    ```sh run hub           the same with a hub of the document's own, HF_ENDPOINT: `kernels serve` of the first-party packages
                            (TREE below), and with a cache that is empty when the first such example of the document begins;
    ```c hub                a complete program that has it too;
    ```python               with a name that has no folder is a program of python/tests/test_docs.py, which runs it where the package
                            `kernels` and its hub are; it has its ```text as well, and is only a file here;
    ```cmake                with `find_package(libkernels` in it is a project over the files of the same document, built
                            into the directory `build`; a kernel package that it adds is then `build/packages/<name>`;
    ```text                 the next one is what the program or script prints. In it "…" stands for any text of one line, and a
                            line of "…" alone for any number of lines.

Everything of a document runs in one directory of its own, in order. `packages` in it is the directory of the first-party
packages as built. Nothing goes to the hub of the world, nor to the user's cache. Every other block is only for reading.
"""

import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "install"))
from installed import Installed, run  # noqa: E402


class Block:
    def __init__(self, language, attributes, line):
        self.language, self.line, self.text = language, line, ""
        self.file, self.is_script, self.with_hub = None, False, False
        for attribute in shlex.split(attributes):
            if attribute.startswith("file="):
                self.file = attribute.removeprefix("file=")
            elif attribute == "run" and language == "sh":
                self.is_script = True
            elif attribute == "hub" and (self.is_script or language == "c"):
                self.with_hub = True
            else:
                raise ValueError(f"line {line}: unknown attribute {attribute!r}")
        self.expected = None  # of a program or script: the block after it

    def finish(self):
        """The first line may name the file: `// silu.c`, `# kernels.toml`, `// relu2.c: what it is`."""
        name = re.match(r"^(?://|#) ([\w./-]*\w\.\w+)(?:$|:)", self.text, re.MULTILINE)
        if name and not self.file:
            self.file = name[1]

    @property
    def is_program(self):
        return self.language == "c" and re.search(r"\bint main\b", self.text) is not None

    @property
    def is_python(self):
        return self.language == "python" and self.file is not None and "/" not in self.file

    @property
    def is_fragment(self):
        return self.language in ("c", "cpp") and not self.is_program and not self.file

    @property
    def is_project(self):
        return self.language == "cmake" and "find_package(libkernels" in self.text


def read_blocks(text):
    blocks, block, speaker = [], None, None
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"^```(\S*)\s*(.*)$", line)
        if block and fence and not fence[1]:
            block.finish()
            blocks.append(block)
            if block.is_program or block.is_script or block.is_python:
                speaker = block
            elif block.language == "text" and not block.file and speaker:
                speaker.expected, speaker = block.text, None
            block = None
        elif block:
            block.text += line + "\n"
        elif fence:
            block = Block(fence[1], fence[2], number)
    if block:
        raise ValueError(f"line {block.line}: the block is never closed")
    return blocks


def matches(expected, printed):
    pattern = ""
    for line in expected.rstrip().split("\n"):
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ ]*\n"
    return re.fullmatch(pattern, printed.rstrip() + "\n") is not None


# What the hub of a document has: repository -> {directory of a ref: package}
TREE = {
    "kernels-community/activation": {f"{kind}/{name}": "activation" for kind, name in (
        ("tags", "v0.0.4"), ("tags", "v0.0.5"), ("tags", "v0.1.0"), ("branches", "main"), ("branches", "v1"))},
    "somebody/rotary": {"branches/main": "rotary"},
}


class DocumentHub:
    """One for the examples that ask for it, with versions to choose from."""

    def __init__(self, directory, tree):
        for repo, refs in TREE.items():
            for ref, package in refs.items():
                target = directory / "tree" / "kernels" / repo / ref
                shutil.copytree(tree.build / "packages" / package, target)
                (target / "RELEASE.md").write_text(f"{repo} {ref}\n")  # so that each has a commit of its own
        ready = directory / "url"
        self.process = subprocess.Popen([tree.prefix / "bin" / "kernels", "serve", directory / "tree", "--port=0", "--ready-file", ready,
                                         "--publisher=kernels-community"], env=tree.env, stdout=subprocess.DEVNULL)
        while not ready.exists() and self.process.poll() is None:
            time.sleep(0.05)
        url = ready.read_text().strip()
        self.env = {"HF_ENDPOINT": url, "KERNELS_TRUSTED_ENDPOINTS": url, "HF_HOME": str(directory / "hf"), "HF_HUB_OFFLINE": "0",
                    "XDG_STATE_HOME": str(directory / "state"), "NO_PROXY": "127.0.0.1"}

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


CMAKE_HEAD = """cmake_minimum_required(VERSION 3.25)
project(examples LANGUAGES C)
"""


class Document:
    def __init__(self, path, tree):
        self.path, self.tree = path, tree
        self.blocks = read_blocks(path.read_text(encoding="utf-8"))
        self.dir = tree.work / f"docs-{path.stem}"
        self.dir.mkdir()
        packages = tree.build / "packages"
        if packages.is_dir():
            (self.dir / "packages").symlink_to(packages)
        for block in self.blocks:
            if block.file:
                target = self.dir / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, encoding="utf-8")
        self.programs = [b for b in self.blocks if b.is_program]
        self.hub = None

    def env_of(self, block):
        if block.with_hub and not self.hub:
            directory = self.tree.work / f"hub-{self.path.stem}"
            directory.mkdir()
            self.hub = DocumentHub(directory, self.tree)
        return self.tree.env | (self.hub.env if block.with_hub else {})

    def source(self, block):
        """The file of a program; one is made where it has no name."""
        if not block.file:
            block.file = f"example_line_{block.line}.c"
            (self.dir / block.file).write_text(block.text, encoding="utf-8")
        return self.dir / block.file

    def build(self):
        """Returns the two executables of each program, by the line of its block."""
        if not self.programs:
            return {}
        cmake = self.dir / "by-cmake"
        cmake.mkdir()
        text, built = CMAKE_HEAD + "find_package(libkernels REQUIRED)\n", {}
        for block in self.programs:
            name = f"example_{block.line}"
            text += (f'add_executable({name} "{self.source(block)}")\n'
                     f"target_link_libraries({name} PRIVATE kernels::kernels m)\n")
            by_pkg_config = self.dir / f"{name}.out"
            self.tree.compile(self.source(block), by_pkg_config, standard="-std=gnu11")
            built[block.line] = (by_pkg_config, cmake / "build" / name)
        (cmake / "CMakeLists.txt").write_text(text)
        self.tree.cmake(cmake, cmake / "build")
        return built

    def compile_fragment(self, block):
        is_c = block.language == "c"
        source = self.dir / f"fragment_line_{block.line}.{block.language}"
        source.write_text(f'#include "{HERE}/fragment.h"\nvoid fragment(void);\nvoid fragment(void)\n{{\n{block.text}}}\n',
                          encoding="utf-8")
        run("cc" if is_c else "c++", "-std=gnu11" if is_c else "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra",
            "-Wno-unused-but-set-variable", "-Werror", source, *self.tree.flags())

    def build_project(self, block):
        lists = self.dir / "CMakeLists.txt"
        if lists.exists():
            raise AssertionError(f"{self.path.name}:{block.line}: a second project in one document")
        lists.write_text(CMAKE_HEAD + block.text, encoding="utf-8")
        self.tree.cmake(self.dir, self.dir / "build")

    def check(self, block, command, env):
        done = subprocess.run(command, cwd=self.dir, env=env, text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=300)
        where = f"{self.path.name}:{block.line}"
        if done.returncode != 0:
            raise AssertionError(f"{where}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        if block.expected is not None and not matches(block.expected, done.stdout):
            raise AssertionError(f"{where}: prints\n{done.stdout}\nThe document says\n{block.expected}")

    def run(self):
        """Builds and runs everything; returns how many examples there were."""
        try:
            return self.run_all()
        finally:
            if self.hub:
                self.hub.close()

    def run_all(self):
        built, count = self.build(), 0
        for block in self.blocks:
            if block.is_program:
                by_pkg_config, by_cmake = built[block.line]
                env = self.env_of(block)
                self.check(block, [by_pkg_config], env)
                self.check(block, [by_cmake], {k: v for k, v in env.items() if k != "LD_LIBRARY_PATH"})
            elif block.is_script:
                self.check(block, ["bash", "-euo", "pipefail", "-c", block.text], self.env_of(block))
            elif block.is_project:
                self.build_project(block)
            elif block.is_fragment:
                self.compile_fragment(block)
            else:
                continue
            count += 1
        return count


class Examples(unittest.TestCase):
    """One test a document, added by main()."""

    @classmethod
    def setUpClass(cls):
        cls.tree = Installed(BUILD)
        cls.addClassCleanup(cls.tree.remove)


class Mechanism(unittest.TestCase):
    """That a wrong example would be noticed."""

    def test_match(self):
        for expected, printed, same in (
                ("a\nb\n", "a\nb\n", True), ("a\n", "a\nb\n", False), ("a …\n", "a b c\n", True),
                ("a …\n", "a\nb\n", False), ("a\n…\nz\n", "a\nb\nc\nz\n", True),
                ("a\n…\nz\n", "a\nz\n", True), ("a\n…\nz\n", "a\ny\n", False),
                ("a.c\n", "abc\n", False), ("", "", True), ("", "a\n", False)):
            self.assertEqual(matches(expected, printed), same, (expected, printed))

    def test_blocks(self):
        blocks = read_blocks("```c\nint main(void)\n```\n```c\nint f(void);\n```\n```text\nout\n```\n"
                             "```json file=a.json\nx\n```\n```sh run hub\ntrue\n```\n```toml\n# b.toml\n```\n"
                             "```c\n// x.c: y = f(x)\n```\n```c\n// see x.c\n```\n"
                             "```cmake\nfind_package(libkernels REQUIRED)\n```\n```cmake\nadd_test()\n```\n")
        self.assertEqual([b.is_program for b in blocks], [True] + [False] * 9)
        self.assertEqual([b.expected for b in blocks], ["out\n"] + [None] * 9)  # past what is only for reading
        self.assertEqual([b.file for b in blocks],
                         [None, None, None, "a.json", None, "b.toml", "x.c", None, None, None])
        self.assertEqual([b.is_script for b in blocks], [False] * 4 + [True] + [False] * 5)
        self.assertEqual([b.with_hub for b in blocks], [False] * 4 + [True] + [False] * 5)
        self.assertEqual([b.is_project for b in blocks], [False] * 8 + [True, False])
        self.assertEqual([b.is_fragment for b in blocks], [False, True] + [False] * 5 + [True] + [False] * 2)
        python, loose = read_blocks("```python\n# a.py\n```\n```python\n# b/c.py\n```\n```text\nout\n```\n")[:2]
        self.assertEqual((python.is_python, python.expected, loose.is_python), (True, "out\n", False))
        for broken in ("```c\nint x;\n", "```c runs\n```\n", "```sh hub\n```\n"):
            self.assertRaises(ValueError, read_blocks, broken)

    def test_wrong_output(self):
        document = Document.__new__(Document)
        document.path, document.dir = pathlib.Path("x.md"), HERE
        block = Block("sh", "run", 1)
        block.expected = "other\n"
        self.assertRaises(AssertionError, document.check, block, ["echo", "one"], None)
        self.assertRaises(AssertionError, document.check, block, ["false"], None)
        block.expected = "one\n"
        document.check(block, ["echo", "one"], None)


def add_test(path):
    def test(self):
        if "packages/" in path.read_text(encoding="utf-8") and not (BUILD / "packages/activation/build").is_dir():
            self.skipTest("its examples use packages/, and this build has not packed the first-party packages")
        count = Document(path, self.tree).run()
        print(f"{path.name}: {count} examples", file=sys.stderr)
        if path.name in ("README.md", "sample.md"):
            self.assertGreater(count, 0, "no complete program in it")
    setattr(Examples, f"test_{path.stem}", test)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BUILD = pathlib.Path(sys.argv[1]).resolve()
    documents = [pathlib.Path(name) for name in sys.argv[2:]] or [
        HERE / "sample.md", *TOP.glob("README.md"), *sorted(TOP.glob("docs/*.md"))]
    for document_path in documents:
        add_test(document_path)
    unittest.main(argv=sys.argv[:1], verbosity=2)
