"""`kernels pack`: what it makes, what it refuses, and that a refusal leaves everything as it was."""

import base64
import hashlib
import json
import pathlib
import py_compile
import subprocess
import time
import unittest

from command import FAULTY, GPU, GPU_LAYERS, PROGRAM, VARIANT, Case


def layer(function, signature="(x: f32|f16 [..., d]) -> (y: like x)"):
    return {"L": {"signature": signature, "forward": f"{function}(y, x)"}}


class Pack(Case):
    def package(self):
        return self.dir / "package" / "build" / VARIANT

    def metadata(self):
        return json.loads((self.package() / "metadata.json").read_text())

    def test_makes_a_variant(self):
        card = self.dir / "card.md"
        card.write_text("# copy\n")
        made = self.run_json(*self.pack_args(), "--card", card, "--license", "MIT")
        self.assertEqual(made["path"], str(self.package()))
        self.assertEqual(made["variant"], VARIANT)
        self.assertEqual(made["layers"], 1)
        self.assertEqual(made["trial"], {"layers_ran": True, "reason": None, "forward_calls": 2, "backward_calls": 2})
        self.assertEqual({p.name for p in self.package().iterdir()},
                         {"metadata.json", "copy.so", "__init__.py", "layers.py"})
        self.assertEqual((self.dir / "package" / "CARD.md").read_text(), "# copy\n")
        self.assertEqual({p.name for p in (self.dir / "package").iterdir()}, {"build", "CARD.md"})
        metadata = self.metadata()
        self.assertRegex(metadata.pop("id"), r"^_copy_[0-9a-f]{16}$")
        digest = metadata.pop("digest")
        self.assertEqual(metadata.pop("layers")["Copy"]["forward"], "good(y, x)")
        self.assertEqual(metadata, {"name": "copy", "version": 3, "license": "MIT", "python-depends": [],
                                    "backend": {"type": "cpu", "archs": []}, "library": "copy.so",
                                    "cpu-features": [], "trial": {"layers-ran": True, "reason": None}})
        self.assertEqual(digest["algorithm"], "sha256")
        self.assertEqual(set(digest["files"]), {"copy.so", "__init__.py", "layers.py"})
        for name, value in digest["files"].items():
            wanted = hashlib.sha256((self.package() / name).read_bytes()).digest()
            self.assertEqual(value, base64.b64encode(wanted).decode(), name)

    def test_id_is_that_of_the_content(self):
        ids = []
        for options in ([], [], ["--license", "MIT"]):
            self.run_program(*self.pack_args(), *options)
            ids.append(self.metadata()["id"])
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])

    def test_python_files_compile(self):
        layers = {
            "Everything": {
                "members": "weight?: f32 [d], lambda: float, eps: float = 1e-6",
                "signature": "(from as x: f32 rows[..., d], n: int == 1 = 1, flag: bool = true) -> (y: like x)",
                "forward": "good(y, x)"},
            "no Python name": {"signature": "(x: f32 [d]) -> (y: like x)", "forward": "good(y, x)"}}
        self.run_program(*self.pack_args(layers))
        for name in ("__init__.py", "layers.py"):
            py_compile.compile(str(self.package() / name), cfile=str(self.dir / "out.pyc"), doraise=True)
        text = (self.package() / "layers.py").read_text()
        self.assertIn("class Everything(nn.Module):", text)
        self.assertIn("def forward(self, from_, n=1, flag=True):", text)
        self.assertNotIn("no Python name", text)

    def test_layers_that_fail(self):
        rows = [
            ("forgets_one", "layer L, forgets_one(x: f16): the kernel did not write all of y"),
            ("writes_past", "layer L, writes_past(x: f16): the kernel wrote outside of y"),
            ("changes_input", "layer L, changes_input(x: f16): the kernel changed its argument x"),
            ("f32_only", "layer L, f32_only(x: f16)"),
            ("exits", "layer L, exits(x: f16): ended the process with status 9"),
            ("aborts", "layer L, aborts(x: f16): crashed: Aborted"),
            ("is_not_there", "is_not_there"),
        ]
        for function, says in rows:
            with self.subTest(function):
                self.fails(*self.pack_args(layer(function)), status=1, says=says)
                self.assertEqual(list((self.dir / "package").iterdir()), [])

    def test_interrupted(self):
        """Leaves nothing behind, neither files nor processes."""
        args = [PROGRAM, *map(str, self.pack_args(layer("never_ends")))]
        with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as process:
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
            deadline = time.monotonic() + 60
            while not (child := children.read_text().strip()) or "/copy.so" not in self.maps(child):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            process.terminate()
            self.assertIn("interrupted", process.communicate(timeout=60)[1])
        self.assertEqual(process.returncode, 1)
        self.assertEqual(list((self.dir / "package").iterdir()), [])
        self.assertFalse(pathlib.Path(f"/proc/{child}").exists())

    @staticmethod
    def maps(process):
        """What is mapped into it."""
        try:
            return pathlib.Path(f"/proc/{process}/maps").read_text()
        except OSError:
            return ""

    def test_a_refusal_leaves_what_was_there(self):
        self.run_program(*self.pack_args())
        before = {p.name: p.read_bytes() for p in self.package().iterdir()}
        self.fails(*self.pack_args(layer("forgets_one")), status=1, says="did not write")
        self.assertEqual({p.name: p.read_bytes() for p in self.package().iterdir()}, before)
        self.assertEqual([p.name for p in (self.dir / "package").iterdir()], ["build"])

    def test_replaces_what_was_there(self):
        self.run_program(*self.pack_args())
        stale = self.package() / "stale"
        stale.write_text("")
        self.run_program(*self.pack_args())
        self.assertFalse(stale.exists())
        self.assertEqual([p.name for p in (self.dir / "package").iterdir()], ["build"])

    def test_no_run(self):
        done = self.run_program(*self.pack_args(layer("forgets_one")), "--no-run")
        self.assertIn("not run: --no-run was given", done.stdout)
        self.assertEqual(self.metadata()["trial"], {"layers-ran": False, "reason": "--no-run was given"})

    def test_a_feature_that_is_not_here(self):
        made = self.run_json(*self.pack_args(), "--cpu-feature", "no_such_feature")
        self.assertEqual(made["trial"]["layers_ran"], False)
        self.assertIn("lacks a feature", self.metadata()["trial"]["reason"])
        self.assertEqual(self.metadata()["cpu-features"], ["no_such_feature"])

    def test_code_for_gpus(self):
        made = self.run_json(*self.pack_args(GPU_LAYERS, library=GPU), "--backend", "cu128")
        self.assertEqual(made["variant"], VARIANT.replace("cpu", "cu128"))
        self.assertEqual(made["trial"]["reason"], "layers are run on the CPU alone")
        metadata = json.loads((self.dir / "package" / "build" / made["variant"] / "metadata.json").read_text())
        self.assertEqual(metadata["backend"], {"type": "cuda", "archs": ["9.0a+PTX", "8.0+PTX"]})
        self.run_program("check", self.dir / "package", "--device", "cuda:9.0")
        self.run_program("check", self.dir / "package", "--device", "cuda:10.0")
        self.run_program("check", self.dir / "package", "--device", "cuda:7.5", status=1)

    def test_wrong_layers(self):
        rows = [
            ("{", "layers.json: line 1"),
            ("[]", "expected an object with one member for each layer"),
            ("{}", "expected an object with one member for each layer"),
            ('{"L": 1, "L": 2}', "duplicate"),
            ('{"L": {"signature": "(x: f31 [d]) -> (y: like x)", "forward": "good(y, x)"}}', "signature, column 5"),
            ('{"L": {"signature": "(x: f32 [d]) -> (y: like x)"}}', "layers.json: L"),
        ]
        for text, says in rows:
            with self.subTest(text):
                self.fails(*self.pack_args(text), status=1, says=says)

    def test_wrong_library(self):
        text = self.dir / "text.so"
        text.write_text("no object")
        self.fails(*self.pack_args(library=text), status=1, says=f"pack: {text} is refused: no ELF file")
        self.fails(*self.pack_args(library=self.dir), status=1, says="is not a regular file")
        self.fails(*self.pack_args(library=self.dir / "none.so"), status=1, says="No such file")

    def test_wrong_use(self):
        args = self.pack_args()
        rows = [
            (args[:-2], "--out are all needed"),
            (args + ["--backend", "cuda"], "accepted are cpu, cu128"),
            (args + ["--backend", "cu12"], "accepted are cpu, cu128"),
            (args + ["--frobnicate"], "unknown option '--frobnicate'; accepted: --help, --name"),
            (args + ["more"], "unexpected argument 'more'"),
            (args + ["--name", "other"], "--name is given twice"),
            (args + ["--license"], "--license needs a value"),
            (args + ["--no-run=yes"], "--no-run takes no value"),
            (self.pack_args(name="Copy"), "--name 'Copy'"),
            (self.pack_args(name="../copy"), "--name '../copy'"),
            ([a if a != "3" else "-3" for a in map(str, args)], "--version '-3'"),
        ]
        for line, says in rows:
            with self.subTest(says):
                self.fails(*line, status=2, says=says)
        self.assertFalse((self.dir / "package").exists())

    def test_directory_that_cannot_be_made(self):
        (self.dir / "file").write_text("")
        self.fails(*self.pack_args(out=self.dir / "file" / "package"), status=1, says="cannot be made a directory")

    def test_relative_out(self):
        args = [str(a) for a in self.pack_args()]
        args[-1] = "package"
        self.run_program(*args, cwd=self.dir)
        self.assertTrue(self.package().is_dir())

    def test_many_data_types(self):
        made = self.run_json(*self.pack_args(layer("good", "(x: any [..., 2*d - 3], h: f32|f16 [d, 4]) -> (y: like x)")))
        self.assertEqual(made["trial"]["forward_calls"], 2 * 21)


if __name__ == "__main__":
    assert FAULTY.is_file(), FAULTY
    unittest.main()
