"""demo_hub_test.py BUILD: the demonstration that takes its kernels from a hub of its own."""

import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "examples/llama/demo-hub"
COMMIT = r"[0-9a-f]{40}"


class DemoHub(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="kernels-demo-test-"))
        self.addCleanup(shutil.rmtree, self.top, ignore_errors=True)
        self.temporary = self.top / "tmp"
        self.temporary.mkdir()

    def start(self, *arguments, **environment):
        return subprocess.Popen([SCRIPT, *arguments], env=os.environ | {"TMPDIR": str(self.temporary)} | environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                                start_new_session=True)

    def run_demo(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=500)
        return process.returncode, out, err

    def assert_nothing_left(self, port=None):
        """No file, and nobody who listens."""
        self.assertEqual(list(self.temporary.iterdir()), [])
        if port:
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=10).close()

    def test_all(self):
        """What it says of each part, in an environment that means another hub."""
        status, out, err = self.run_demo(
            BUILD, "--tokens", "3", HF_ENDPOINT="https://hub.invalid", HF_HUB_OFFLINE="1", HF_TOKEN="secret",
            KERNELS_CACHE=str(self.top / "others"), HF_HUB_CACHE=str(self.top / "others"), http_proxy="http://proxy.invalid",
            LOCAL_KERNELS="local/rotary=/nonexistent", HOME="")  # the list of users is asked through a socket, if at all
        self.assertEqual((status, err), (0, ""), out)
        title, cold, warm, lock, offline = out.split("\n\n")
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)$", title)[1])
        for name in ("activation", "normalization", "rotary"):
            self.assertRegex(cold, f"(?m)^  downloaded local/{name}, tvm-ffi01-cpu-.*-linux: 3 files, [0-9.]+ MB$")
            self.assertRegex(lock, f"(?m)^  locked  local/{name}: main, commit {COMMIT}")
            for part, level in ((cold, "transport"), (warm, "transport"), (offline, "pinned")):
                self.assertRegex(part, rf"(?m)^  local/{name}@{COMMIT} \({level}\)$")
        for part in (cold, warm, offline):
            self.assertIn("\n  121 extensible modules for INFERENCE: 121 with a kernel\n", part)
            self.assertIn("\n  the text that the local packages give: The sky blue …\n", part + "\n")
        for part in (warm, lock, offline):
            self.assertNotIn("downloaded", part)
        self.assertRegex(cold, r"(?m)^  requests to the server: \d\d; files: 12, [0-9.]+ MB$")
        self.assertRegex(warm, r"(?m)^  requests to the server: \d; files: 0, 0.00 MB$")
        self.assertNotIn("requests", offline)
        if "socket()" in out:  # where it may be counted
            self.assertRegex(cold, r"\n  calls of socket\(\): [1-9]\d* ")
            self.assertIn("\n  calls of socket(): 0 ", offline)
        self.assertFalse((self.top / "others").exists())
        self.assert_nothing_left(port)

    def start_until_served(self):
        """The process and the port of its server."""
        process = self.start(BUILD, "--tokens", "3")
        self.addCleanup(lambda: (process.stdout.close(), process.stderr.close()))
        self.addCleanup(process.wait)
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        ready, _, _ = select.select([process.stdout], [], [], 300)
        self.assertTrue(ready)
        return process, int(re.search(r":(\d+)$", process.stdout.readline())[1])

    def test_interrupted(self):
        """As by the terminal, while the server runs."""
        process, port = self.start_until_served()
        time.sleep(0.2)  # somewhere in the first run
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=100)
        self.assertNotEqual(process.returncode, 0)
        self.assert_nothing_left(port)

    def test_killed(self):
        """The server does not outlive the script."""
        process, port = self.start_until_served()
        group = os.getpgid(process.pid)
        process.kill()
        process.wait()
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
            except ConnectionRefusedError:
                break
            time.sleep(0.1)
        else:
            self.fail("the server is still there")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)  # the model that was running

    def test_wrong(self):
        for arguments, says in (
                ((), "usage: examples/llama/demo-hub BUILD_DIR"),
                ((self.top,), "packages/llama-hub.toml"),
                ((BUILD, "--tokens", "0"), "llama: --tokens: '0'"),
                ((BUILD, "--json", "--tokens", "1"), "there is no text")):
            with self.subTest(arguments):
                status, out, err = self.run_demo(*arguments)
                self.assertNotEqual(status, 0)
                self.assertEqual(out, "")
                self.assertIn(says, err)
                self.assert_nothing_left()


unittest.main(verbosity=2)
