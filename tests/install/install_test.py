"""install_test.py BUILD: installs a build into a temporary prefix and uses it as somebody else would."""

import json
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

from installed import Installed, run

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILD = pathlib.Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None
RELU2_OUTPUT = "libkernels 0.1.0: 0 4 9\n"
VARIANT = f"tvm-ffi01-cpu-{platform.machine()}-linux"


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tree = Installed(BUILD)
        cls.work = cls.tree.work

    @classmethod
    def tearDownClass(cls):
        cls.tree.remove()

    def make_package(self, library):
        """The package relu2 as a directory, by hand."""
        root = self.work / "package"
        variant = root / "build" / VARIANT
        variant.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, variant / "relu2.so")
        layers = json.loads((HERE / "project" / "layers.json").read_text())
        (variant / "metadata.json").write_text(json.dumps(
            {"name": "relu2", "id": "_relu2_1", "version": 1, "backend": {"type": "cpu"},
             "library": "relu2.so", "layers": layers}))
        return root

    def test_files(self):
        prefix, lib = self.tree.prefix, self.tree.libdir
        headers = {p.name for p in (TOP / "include" / "kernels").glob("*.h")}
        self.assertEqual({p.name for p in (prefix / "include" / "kernels").iterdir()}, headers)
        for name in ("include/tvm/ffi/c_api.h", "include/tvm/ffi/extra/c_env_api.h",
                     "include/dlpack/dlpack.h"):
            self.assertTrue((prefix / name).is_file(), name)
        for name in ("libkernels.so.0.1.0", "libtvm_ffi.so", "pkgconfig/libkernels.pc",
                     "cmake/libkernels/libkernels-config.cmake",
                     "cmake/libkernels/KernelsPackage.cmake"):
            self.assertTrue((lib / name).is_file(), name)
        self.assertEqual((lib / "libkernels.so").readlink().name, "libkernels.so.0")
        self.assertEqual((lib / "libkernels.so.0").readlink().name, "libkernels.so.0.1.0")
        self.assertTrue(list(prefix.glob("share/doc/libkernels/LICENSE")))

    def test_no_path_of_the_build_is_left(self):
        """Neither in text files nor as a RUNPATH."""
        for path in self.tree.prefix.rglob("*"):
            if path.suffix in (".cmake", ".pc", ".h"):
                for place in (str(BUILD), str(TOP), str(self.work)):
                    self.assertNotIn(place, path.read_text(), path)
        dynamic = run("readelf", "-dW", self.tree.libdir / "libkernels.so")
        self.assertIn("soname: [libkernels.so.0]", dynamic)
        self.assertIn("[$ORIGIN]", dynamic)
        self.assertNotIn("libtvm_ffi", dynamic)  # opened at the first load, not before
        self.assertNotIn("libcurl", dynamic)  # opened at the first request

    @unittest.skipUnless(BUILD and (BUILD / "bin" / "kernels-serve").exists(), "the command line program is not built")
    def test_programs_need_little(self):
        """Who asks no hub needs no libcurl, and who serves none no libmicrohttpd."""
        for name, needs in (("kernels", []), ("kernels-serve", ["libmicrohttpd"])):
            needed = run("readelf", "-dW", self.tree.prefix / "bin" / name)
            self.assertEqual([library for library in ("libcurl", "libmicrohttpd") if library in needed], needs, name)

    def test_destdir(self):
        with tempfile.TemporaryDirectory() as stage:
            env = dict(self.tree.env, DESTDIR=stage)
            run("cmake", "--install", BUILD, "--prefix", "/opt/kernels", env=env)
            self.assertEqual([p.name for p in pathlib.Path(stage).iterdir()], ["opt"])
            self.assertTrue((pathlib.Path(stage) / "opt/kernels/include/kernels/base.h").is_file())

    def test_outside(self):
        """find_package and pkg-config; the programs load a package that the project built."""
        build = self.work / "outside"
        self.tree.cmake(HERE / "project", build, "-DCMAKE_BUILD_TYPE=Release")
        package = self.make_package(build / "relu2.so")
        self.assertEqual(run(build / "program_c", package), RELU2_OUTPUT)
        self.assertEqual(run(build / "program_cxx"), "libkernels 0.1.0: invalid argument\n")

        for name, compiler, standard in (("program.c", "cc", "-std=c11"),
                                         ("program.cc", "c++", "-std=c++17")):
            program = self.work / f"{name}.out"
            self.tree.compile(HERE / "project" / name, program, compiler, standard)
        self.assertEqual(run(self.work / "program.c.out", package, env=self.tree.env), RELU2_OUTPUT)

    @unittest.skipUnless(BUILD and (BUILD / "bin" / "kernels").exists(),
                         "the command line program is not built")
    def test_packed_by_cmake(self):
        build = self.work / "packed"
        self.tree.cmake(HERE / "project", build)
        self.assertEqual(run(build / "program_c", build / "packages" / "relu2"), RELU2_OUTPUT)
        self.assertIn("relu2", run("kernels", "info", build / "packages" / "relu2", env=self.tree.env))
        unrun = json.loads((build / "packages/relu2-unrun/build" / VARIANT / "metadata.json").read_text())
        self.assertEqual(unrun["cpu-features"], ["sse2", "avx2"])
        self.assertEqual(unrun["trial"], {"layers-ran": False, "reason": "--no-run was given"})

    @unittest.skipUnless(BUILD and (BUILD / "bin" / "kernels-serve").exists(), "the server is not built")
    def test_serve(self):
        """It lies beside the program, which finds it there; the library is found without the help of the environment."""
        program = self.tree.prefix / "bin" / "kernels"
        self.assertIn("usage: kernels serve DIR...", run(program, "serve", "--help", env={"PATH": "/usr/bin"}))

    def test_wrong_version_is_refused(self):
        project = self.work / "version"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(version LANGUAGES C)\n"
            "find_package(libkernels 0.2 REQUIRED)\n")
        done = subprocess.run(["cmake", "-S", project, "-B", project / "build"], env=self.tree.env,
                              text=True, capture_output=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("version: 0.1.0", done.stderr)


if __name__ == "__main__":
    if BUILD is None:
        sys.exit(__doc__)
    unittest.main(verbosity=2)
