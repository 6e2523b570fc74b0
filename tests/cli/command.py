"""The program under test, and the packages that its tests make: PROGRAM BUILD on the command line."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
FAULTY = BUILD / "tests" / "cli" / "faulty.so"
GPU = BUILD / "fixtures" / "packages" / "gpu.so"
VARIANT = f"tvm-ffi01-cpu-{platform.machine()}-linux"
GOOD = {"Copy": {"signature": "(x: f32|f16 [..., d]) -> (y: like x)", "forward": "good(y, x)",
                 "backward": {"signature": "(dy) -> (dx)", "call": "good_backward(dx, dy)"},
                 "can_torch_compile": True, "tolerance": {"f32": 1e-6}}}
GPU_LAYERS = {"L": {"signature": "(x: f32 [d]) -> (y: like x)", "forward": "good(y, x)"}}


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kernels-cli-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def run_program(self, *args, status=0, **options):
        """The finished process; its exit status is checked, and that errors are one line."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("KERNELS_", "LOCAL_KERNELS", "NO_COLOR", "HF_"))}
        environment["HF_HUB_OFFLINE"] = "1"  # no test here is about the network
        environment["HOME"] = environment["XDG_CACHE_HOME"] = environment["XDG_STATE_HOME"] = str(self.dir)
        environment.update(options.pop("env", {}))
        options.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run([PROGRAM, *map(str, args)], stderr=subprocess.PIPE, text=True, env=environment,
                              timeout=300, **options)
        self.assertEqual(done.returncode, status, f"{args}: {done.stdout}\n{done.stderr}")
        if status == 0:
            self.assertEqual(done.stderr, "")
        self.assertNotIn("Sanitizer", done.stderr)
        return done

    def run_json(self, *args, status=0, **options):
        return json.loads(self.run_program(*args, "--json", status=status, **options).stdout)

    def fails(self, *args, status, says, **options):
        """Ends with one line of error, which says so."""
        done = self.run_program(*args, status=status, **options)
        self.assertRegex(done.stderr, r"\Akernels: .*\n\Z")
        self.assertIn(says, done.stderr)
        return done.stderr

    def packed(self, name="package", *options):
        """The good package, below the test's directory."""
        self.run_program(*self.pack_args(out=self.dir / name), *options)
        return self.dir / name

    def layers(self, layers=None):
        path = self.dir / "layers.json"
        path.write_text(layers if isinstance(layers, str) else json.dumps(GOOD if layers is None else layers))
        return path

    def pack_args(self, layers=None, library=FAULTY, out=None, name="copy"):
        return ["pack", "--name", name, "--version", "3", "--layers", self.layers(layers), "--library", library,
                "--out", out or self.dir / "package"]
