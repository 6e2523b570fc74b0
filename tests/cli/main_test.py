"""What all verbs have in common, `kernels doctor`, and what happens to output that cannot be written."""

import os
import pty
import shutil
import subprocess
import unittest

from command import BUILD, PROGRAM, Case

VERBS = ["explain", "versions", "info", "check", "download", "lock", "verify", "cache", "doctor", "pack", "serve"]


class Main(Case):
    def test_help(self):
        text = self.run_program("--help").stdout
        for verb in VERBS:
            self.assertRegex(text, rf"\n  {verb} ")
            about = self.run_program(verb, "--help").stdout
            self.assertTrue(about.startswith(f"usage: kernels {verb} "), about)
            for word in ("Exit status: 0", "--help"):
                self.assertIn(word, about)
            self.assertEqual("--json" in about, verb != "serve", verb)

    def test_version(self):
        self.assertRegex(self.run_program("--version").stdout, r"\Akernels \d+\.\d+\.\d+\n\Z")

    def test_wrong_use(self):
        accepted = "accepted: --help, --version, " + ", ".join(VERBS)
        self.fails(status=2, says=accepted)
        self.fails("frobnicate", status=2, says=accepted)
        self.fails("--frobnicate", status=2, says=accepted)
        for verb in VERBS:
            self.fails(verb, "--frobnicate", status=2, says="unknown option '--frobnicate'; accepted: ")
            self.fails(verb, "-x", status=2, says="unknown option '-x'")
        for verb in ("explain", "versions", "info", "check", "download", "verify", "cache"):
            self.fails(verb, status=2, says="is missing")
        for verb in ("explain", "versions", "info", "check", "verify"):
            self.fails(verb, "a", "b", status=2, says="unexpected argument 'b'")
        self.fails("doctor", "a", status=2, says="unexpected argument 'a'")

    def test_verbs_of_the_python_package(self):
        for verb, instead in (("benchmark", "kernels.get_kernel"), ("upload", "`hf upload`"),
                              ("verify-signature", "`kernels verify`")):
            self.fails(verb, status=2, says=instead)
            self.fails(verb, "owner/name", "--anything", status=2, says=f"{verb} is no verb of this program: ")

    def test_what_comes_is_made_harmless(self):
        done = self.fails("info", "/no/\033[31mred\u202e", status=2, says="/no/")
        self.assertNotIn("\033", done)
        self.assertNotIn("\u202e", done)

    def test_output_that_cannot_be_written(self):
        for args in (["--help"], ["--version"], ["doctor"], ["doctor", "--json"], ["info", "--help"]):
            with self.subTest(args), open("/dev/full", "w", encoding="ascii") as full:
                self.fails(*args, status=2, says="the output cannot be written: No space left", stdout=full)

    def test_reader_that_went_away(self):
        read, write = os.pipe()
        os.close(read)
        with open(write, "w", encoding="ascii") as gone:
            self.fails("doctor", status=2, says="the output cannot be written: Broken pipe", stdout=gone)

    def on_a_terminal(self, *args, status=0, **variables):
        """What the program writes to a terminal."""
        ours, theirs = pty.openpty()
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        done = subprocess.run([PROGRAM, *map(str, args)], stdout=theirs, env={**environment, **variables}, timeout=60)
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 4096):
                text += part
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        self.assertEqual(done.returncode, status, text)
        return text

    def test_colour(self):
        package, mapping = self.packed(), self.dir / "mapping.toml"
        mapping.write_text('[[kernel]]\nlayer = "Copy"\ndevice = "cpu"\npath = "package"\n')
        rows = [  # words, exit status, something in colour
            (["doctor"], 0, b"\033[32m"),
            (["info", package], 0, b"\033[1m"),
            (["check", package], 0, b"\033[32mruns"),
            (["check", package, "--device", "cuda:9.0"], 1, b"\033[31mrefused"),
            (["explain", mapping], 0, b"\033[32mkernel"),
            (["explain", mapping, "--layer", "None"], 1, b"\033[33mfallback"),
            (["explain", mapping, "--layer", "None", "--use-fallback=no"], 3, b"\033[31merror"),
        ]
        for args, status, coloured in rows:
            with self.subTest(args):
                self.assertIn(coloured, self.on_a_terminal(*args, status=status, TERM="xterm"))
                self.assertNotIn(b"\033", self.on_a_terminal(*args, "--json", status=status, TERM="xterm"))
                for variables in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "xterm", "NO_COLOR": ""}, {"TERM": "dumb"}, {}):
                    self.assertNotIn(b"\033", self.on_a_terminal(*args, status=status, **variables), variables)
                self.assertNotIn("\033", self.run_program(*args, status=status, env={"TERM": "xterm"}).stdout)

    def test_doctor(self):
        text = self.run_program("doctor", env={"KERNELS_DEVICE": "cuda:9.0@12.8"}).stdout
        self.assertIn("cuda     0: sm_90, capability 9.0, driver for cuda 12.8 (described, not found)", text)
        self.assertIn("KERNELS_DEVICE = cuda:9.0@12.8", text)
        found = self.run_json("doctor", env={"KERNELS_DEVICE": "cuda:9.0@12.8"})
        self.assertEqual(set(found), {"version", "os", "cpu", "glibc", "cpu_features", "devices", "absent", "tvm_ffi", "hub",
                                      "environment"})
        self.assertEqual([d["type"] for d in found["devices"]], ["cpu", "cuda"])
        cuda = found["devices"][1]
        self.assertEqual((cuda["capability"], cuda["backend_version"], cuda["overridden"]), (90, "12.8", True))
        self.assertEqual(found["environment"]["KERNELS_DEVICE"], "cuda:9.0@12.8")
        self.assertIsNone(found["environment"]["LOCAL_KERNELS"])
        self.assertTrue(found["tvm_ffi"]["usable"])
        self.assertTrue(found["tvm_ffi"]["path"].endswith("libtvm_ffi.so"))
        self.assertIn("rocm", found["absent"])
        self.fails("doctor", status=2, says="KERNELS_DEVICE", env={"KERNELS_DEVICE": "toaster"})

    def test_without_tvm_ffi(self):
        """A library that lies alone, then one beside another major version of libtvm_ffi: nothing can be loaded."""
        shutil.copy(BUILD / "lib" / "libkernels.so.0", self.dir)
        package = self.packed()
        for other, says in ((None, "cannot be opened"), ("tvm_ffi_major.so", "version")):
            with self.subTest(other):
                if other:
                    shutil.copy(BUILD / "fixtures" / "packages" / "helpers" / other, self.dir / "libtvm_ffi.so")
                env = {"LD_LIBRARY_PATH": str(self.dir)}
                found = self.run_json("doctor", status=1, env=env)["tvm_ffi"]
                self.assertEqual((found["usable"], found["version"]), (False, None))
                self.assertIn(says, found["reason"])
                self.assertIn("libtvm_ffi   no kernel can be loaded: ", self.run_program("doctor", status=1, env=env).stdout)
                self.assertIn("needs tvm-ffi 0.1, there is none here",
                              self.run_program("check", package, status=1, env=env).stdout)


if __name__ == "__main__":
    unittest.main()
