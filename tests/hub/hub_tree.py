"""Trees that `kernels serve` serves: {kernels,models}/<owner>/<name>/{branches,tags}/<ref>/…, with packages of this build and others."""

import base64
import hashlib
import json
import pathlib
import platform
import random
import shutil

VARIANT = f"tvm-ffi01-cpu-{platform.machine()}-linux"
OTHER_VARIANTS = ["tvm-ffi01-cu126-x86_64-linux", "tvm-ffi01-cu128-x86_64-linux", "torch29-cxx11-cu128-x86_64-linux",
                  "torch-cpu-x86_64-linux", "tvm-ffi01-cpu-s390x-linux"]


class Ref:
    """The files of a branch or a tag."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)

    def write(self, path, content):
        file = self.dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def package(self, build, name="activation", **changes):
        """A package of this build: its card and its variant for this machine. changes are written into its metadata."""
        shutil.copytree(pathlib.Path(build) / "packages" / name, self.dir, dirs_exist_ok=True, symlinks=True)
        if changes:
            metadata = self.dir / "build" / VARIANT / "metadata.json"
            metadata.write_text(json.dumps(json.loads(metadata.read_text()) | changes))
        return self

    def variant(self, name, files, /, **metadata):
        """A variant of which only the metadata makes sense: right digests, no code."""
        root = f"build/{name}"
        for path, content in files.items():
            self.write(f"{root}/{path}", content)
        backend = "cpu" if "-cpu-" in name else "cuda"
        return self.write(f"{root}/metadata.json", json.dumps(
            {"name": "fake", "id": f"_fake_{name.replace('-', '_')}", "version": 1, "license": "Apache-2.0", "python-depends": [],
             "backend": {"type": backend, "archs": []}} | metadata))

    def others(self):
        """Variants for machines that are not this one."""
        for name in OTHER_VARIANTS:
            self.variant(name, {"fake.so": name * 10, "__init__.py": ""})
        return self

    def add(self, files, variant=VARIANT):
        """More files in a variant, with digests in its metadata."""
        root = self.dir / "build" / variant
        metadata = json.loads((root / "metadata.json").read_text())
        for path, content in files.items():
            self.write(f"build/{variant}/{path}", content)
            if "digest" in metadata:
                metadata["digest"]["files"][path] = base64.b64encode(hashlib.sha256(content).digest()).decode()
        (root / "metadata.json").write_text(json.dumps(metadata, sort_keys=True))
        return self

    def files(self, variant=VARIANT):
        """Of a variant: path -> content."""
        root = self.dir / "build" / variant
        return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


class Repo:
    def __init__(self, root, repo_id="kernels-test/activation", kind="kernels"):
        self.id, self.kind = repo_id, kind
        self.dir = pathlib.Path(root) / kind / repo_id

    @property
    def folder(self):
        """Its name in a cache."""
        return f"{self.kind}--{self.id.replace('/', '--')}"

    def branch(self, name="main"):
        return Ref(self.dir / "branches" / name)

    def tag(self, name):
        return Ref(self.dir / "tags" / name)


def random_files(count, total, seed=0):
    """data/000.bin … of about equal size, the same ones in every run."""
    source = random.Random(seed)
    return {f"data/{i:03}.bin": source.randbytes(total // count + (i < total % count)) for i in range(count)}


VERSIONS = ["0.0.1", "0.0.2", "0.0.3a1", "0.0.3", "0.0.4rc1", "0.0.4", "0.0.5.post1", "0.1.0", "1.0", "1.0.1.dev3", "1!0.1"]


def standard(root, build):
    """What most tests need: a repository with branches, versions and variants, and one of the type `models`."""
    repo = Repo(root)
    for ref in (repo.branch("main"), repo.branch("v1")):
        ref.package(build).others()
    for i, version in enumerate(VERSIONS):
        repo.tag(f"v{version}").package(build, source=f"https://example.invalid/{i}")
    for ref in ("feature/x", "v01", "nightly"):
        repo.branch(ref).package(build, "rotary")
    repo.tag("not-a-version").package(build, "rotary")
    Repo(root, "kernels-test/old", "models").branch("main").package(build, "normalization")
    return repo


def big(root, build, count=40, total=200 << 20, repo_id="kernels-test/big", seed=0):
    """One variant of many files beside the real ones of a package."""
    repo = Repo(root, repo_id)
    repo.branch("main").package(build).add(random_files(count, total, seed))
    return repo


def canary(root, build, repo_id="kernels-test/canary"):
    """Everything in it writes to the file that KN_TEST_CANARY names when it runs: the object's constructor, the Python files, a
    .pyc that was planted and is in no digest, what lies behind a linked directory."""
    line = "import os\nif os.environ.get('KN_TEST_CANARY'):\n    open(os.environ['KN_TEST_CANARY'], 'a').write('python\\n')\n"
    repo = Repo(root, repo_id)
    ref = repo.branch("main")
    so = (pathlib.Path(build) / "fixtures" / "packages" / "good.so").read_bytes()
    files = {"canary.so": so, "__init__.py": line.encode(), "layers.py": line.encode()}
    digests = {path: base64.b64encode(hashlib.sha256(content).digest()).decode() for path, content in files.items()}
    layers = {"Copy": {"signature": "(x: f32 [..., d]) -> (y: like x)", "forward": "copy(y, x)"}}
    ref.variant(VARIANT, files, name="canary", id="_canary_1", library="canary.so", layers=layers,
                digest={"algorithm": "sha256", "files": digests})
    code = compile(line, "layers.py", "exec")
    import importlib._bootstrap_external as external  # pylint: disable=import-outside-toplevel
    ref.write(f"build/{VARIANT}/__pycache__/layers.{__import__('sys').implementation.cache_tag}.pyc",
              bytes(external._code_to_timestamp_pyc(code)))
    return repo
