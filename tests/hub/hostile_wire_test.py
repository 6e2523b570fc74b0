"""Where requests go and what with, answers without end, what is said of trust, what is printed, what runs: a hub that means harm."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

import faults
import hostile
import hub
from certificates import Authority
from hostile import FILE, IN
from proxy import Proxy


class Wire(hostile.Case):
    # Where requests go, and what with.

    def test_a_token_stays_at_its_origin(self):
        env = {"HF_TOKEN": "hf_SecretOfMine", "HF_DEBUG": "1"}
        with Proxy(self.server.port) as elsewhere:
            rows = [(faults.Redirect("cross"), FILE), (faults.Redirect(elsewhere.url + "{target}", 302), FILE),
                    (faults.Redirect(elsewhere.url + "{target}"), "/refs|/revision/|/tree/"),
                    (faults.Pages(2, elsewhere.url + "/next"), "/tree/"), (faults.Status(500), FILE)]
            for fault, path in rows:
                with self.fault(fault, path=path):
                    done = self.client.run("download", self.repo.id, "--trust-remote-code", env=env)
                    foreign = elsewhere.log + [e for e in self.proxy.log if not e.header("host").startswith("127.")]
                    self.assertEqual([e.header("authorization") for e in foreign if e.header("authorization")], [])
                    self.assertNotIn("hf_SecretOfMine", done.stdout + done.stderr)
                    self.assertNotIn("Signature=secret", done.stdout + done.stderr)
                    if isinstance(fault, faults.Redirect) and path == FILE:
                        self.expect(done)
                        self.assertGreater(len(foreign), 0)
                    elif isinstance(fault, faults.Pages):
                        self.assertNotEqual(done.returncode, 0)
                        self.assertEqual(foreign, [])
                    self.assertEqual([b for p in self.client.home.rglob("*") if p.is_file()
                                      for b in [p.read_bytes()] if b"hf_SecretOfMine" in b], [])
                elsewhere.clear()
        self.assertEqual({e.header("authorization") for e in self.proxy.requests("^/api/kernels")}, {"Bearer hf_SecretOfMine"})

    def test_redirects(self):
        for to in ("file:///etc/passwd", "ftp://127.0.0.1{target}", "//[::1", "http://user:word@127.0.0.1{target}", "http://", "endless",
                   "http://127.0.0.1:1{target}", "javascript:x", "http://127.0.0.1:99999{target}"):
            for path in (FILE, "/tree/"):
                with self.fault(faults.Redirect(to), path=path):
                    self.refused()
                    self.assertLess(len(self.proxy.requests(method="GET")), 80)
        for to in ("relative", "absolute", "cross"):
            with self.fault(faults.Redirect(to), path=FILE):
                self.same(self.download(), self.main)

    def test_https_stays_https(self):
        authority = Authority(self.dir / "tls")
        with Proxy(self.server.port, tls=authority.sign()) as proxy:
            self.client = hub.Client(self.dir / "home2", proxy.url, SSL_CERT_FILE=str(authority.file))
            proxy.add(faults.Redirect(self.proxy.url + "{target}", 302), path=FILE)
            self.refused(says="https")
            self.assertEqual(self.proxy.log, [])

    # Answers without end.

    def test_large_answers(self):
        for fault, path in ((faults.HugeJson(1 << 30), "/refs|/revision/"), (faults.HugeJson(1 << 30), "/tree/"),
                            (faults.HugeJson(1 << 30), "metadata.json"), (faults.HugeJson(1 << 30), FILE),
                            (faults.DeepJson(100_000), "/refs|/revision/"), (faults.DeepJson(100_000), "/tree/")):
            with self.fault(fault, path=path):
                self.refused()
                self.assertLess(sum(e.sent for e in self.proxy.log), 150 << 20)

    def test_pages(self):
        for fault in (faults.Pages(2, "endless"), faults.Pages(2, "repeated"), faults.Pages(2, "http://127.0.0.1:1/next")):
            with self.fault(fault, path="/tree/"):
                self.refused()
                self.assertLessEqual(len(self.proxy.requests("/tree/")), 1010)
        with self.fault(faults.Pages(1), path="/tree/"):
            self.same(self.download(), self.main)

    # What is said of trust, and what is believed.

    def test_an_old_copy_does_not_hide_a_no(self):
        self.download()
        for fault, may in ((faults.Status(401, "{}"), False), (faults.Status(403, error_code="GatedRepo"), False),
                           (faults.Status(404, error_code="RepoNotFound"), False), (faults.Status(503), True)):
            with self.subTest(fault):
                self.proxy.clear()
                self.proxy.add(fault)
                done = self.client.run("download", self.repo.id, "--trust-remote-code")
                self.assertEqual(done.returncode == 0, may, done.stderr)

    def test_a_mirror_trusts_itself(self):
        """Its word about a publisher counts only where the endpoint is trusted; without consent nothing is fetched."""
        self.client.environment["KERNELS_TRUSTED_ENDPOINTS"] = None
        for options in ((), ("--version", ">=0.0.5"), ("--revision", "v1")):
            done = self.expect(self.client.run("download", self.repo.id, *options), 1, "trust")
            self.assertIn(self.repo.id, done.stderr)
        self.assertEqual(self.proxy.requests("/resolve/.*/build/"), [])
        self.download()
        self.expect(self.client.run("download", self.repo.id, "--offline"), 1, "trust")

    def test_texts(self):
        text = "\x1b]0;evil\x07\x1b[31mred\u202e\u200b\r\n\x9b"
        for fault in (faults.Status(404, json.dumps({"error": text}), error_code="RepoNotFound"), faults.Status(500, text),
                      faults.Header("X-Error-Message", "\x1b[31mred\x9b")):
            with self.fault(fault):
                self.refused(may_succeed=True)

    def test_canaries(self):
        """Nothing of a package runs because it was downloaded, or refused."""
        seen = self.dir / "canary"
        env = {"KN_TEST_CANARY": str(seen)}
        done = self.client.run("download", self.canary.id, "--trust-remote-code", env=env)
        self.assertFalse(seen.exists(), done.stderr)
        for fault, path in ((faults.Wrong(), "canary.so"), (faults.Wrong(), "metadata.json"), (faults.Short(1), "(__init__|layers).py")):
            with self.fault(fault, path=path, method="GET"):
                self.expect(self.client.run("download", self.canary.id, "--trust-remote-code", env=env), None)
                self.assertFalse(seen.exists())
        # The canary itself sings: without this the above says nothing.
        code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, self.canary.branch().dir / IN / "canary.so"], env=os.environ | env, check=False,
                       stderr=subprocess.DEVNULL)
        if not seen.exists():  # libtvm_ffi is needed first
            subprocess.run([sys.executable, self.canary.branch().dir / IN / "__init__.py"], env=os.environ | env, check=True)
        self.assertTrue(seen.exists())


if __name__ == "__main__":
    unittest.main()
