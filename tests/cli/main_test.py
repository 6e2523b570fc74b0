"""What all verbs have in common, `kernels doctor`, and what happens to output that cannot be written."""

import os
import pty
import subprocess
import unittest

from command import PROGRAM, Case

VERBS = ["explain", "info", "check", "doctor", "pack"]


class Main(Case):
    def test_help(self):
        text = self.run_program("--help").stdout
        for verb in VERBS:
            self.assertRegex(text, rf"\n  {verb} ")
            about = self.run_program(verb, "--help").stdout
            self.assertTrue(about.startswith(f"usage: kernels {verb} "), about)
            for word in ("Exit status: 0", "--json", "--help"):
                self.assertIn(word, about)

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
        for verb in ("explain", "info", "check"):
            self.fails(verb, status=2, says="is missing")
            self.fails(verb, "a", "b", status=2, says="unexpected argument 'b'")
        self.fails("doctor", "a", status=2, says="unexpected argument 'a'")

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

    def on_a_terminal(self, **variables):
        """What the program writes to a terminal."""
        ours, theirs = pty.openpty()
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
        subprocess.run([PROGRAM, "doctor"], stdout=theirs, env={**environment, **variables}, check=True, timeout=60)
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 4096):
                text += part
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        return text

    def test_colour(self):
        self.assertIn(b"\033[32m", self.on_a_terminal(TERM="xterm"))
        for variables in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "xterm", "NO_COLOR": ""}, {"TERM": "dumb"}, {}):
            self.assertNotIn(b"\033", self.on_a_terminal(**variables), variables)
        self.assertNotIn("\033", self.run_program("doctor", env={"TERM": "xterm"}).stdout)

    def test_doctor(self):
        text = self.run_program("doctor", env={"KERNELS_DEVICE": "cuda:9.0@12.8"}).stdout
        self.assertIn("cuda     0: sm_90, capability 9.0, driver for cuda 12.8 (described, not found)", text)
        self.assertIn("KERNELS_DEVICE = cuda:9.0@12.8", text)
        found = self.run_json("doctor", env={"KERNELS_DEVICE": "cuda:9.0@12.8"})
        self.assertEqual(set(found), {"version", "os", "cpu", "glibc", "cpu_features", "devices", "absent", "tvm_ffi",
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


if __name__ == "__main__":
    unittest.main()
