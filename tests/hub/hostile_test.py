"""A hub, a network or another user that means harm. Whatever it says: nothing is written or read outside the cache, no token leaves
for elsewhere, no answer is read without end, no code runs, and what is printed is harmless."""

import json
import os
import pathlib
import stat
import subprocess
import sys
import unittest

import faults
import hub
import hub_tree
from certificates import Authority
from hub_tree import VARIANT
from proxy import Proxy

FILE = "/resolve/.*/activation.so"
IN = f"build/{VARIANT}"
NAMES = ["../../../../evil", f"{IN}/../../../../../evil", f"{IN}/..", "/evil", f"/{IN}/evil", f"{IN}//evil", f"{IN}/./evil", f"{IN}/evil/",
         f"{IN}/..\\..\\evil", f"{IN}/evil\0.so", f"{IN}/\x1b[31mevil", f"{IN}/evil\n", f"{IN}/{'e' * 256}", f"{IN}/{'evil/' * 900}x",
         f"{IN}/evil\ud800", ""]
IDS = ["../../../../evil", "/evil", "evil", "", "A" * 40, "a" * 39, "a" * 41, "a" * 63, "g" * 64, "a" * 40 + "/../evil", "a" * 39 + "\0",
       "refs/heads/evil", "." * 40, None, 5, ["a" * 40]]
REVISIONS = ["../../../evil", "/evil", "-evil", "evil//x", "evil x", "evil~1", "evil^", "evil:x", "evil?", "evil*", "evil[", "evil\\x",
             "evil..x", "x/../evil", "evil.lock", "evil.tmp", "e" * 256, "evil\x01", "@{evil}", "evil@{1}", "evil/", "."]


class Hostile(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main = cls.repo.branch("main")
        cls.canary = hub_tree.canary(root, hub.BUILD)

    def setUp(self):
        super().setUp()
        self.outside = self.dir / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("the secret of somebody else")

    def untouched(self):
        """Nothing lies where nothing may be."""
        self.assertEqual([p.name for p in self.outside.iterdir()], ["secret"])
        self.assertEqual((self.outside / "secret").read_text(), "the secret of somebody else")
        for path in (self.top, pathlib.Path("/"), pathlib.Path("/tmp")):
            self.assertEqual([p for p in path.iterdir() if "evil" in p.name], [])
        self.assertEqual([p for p in self.dir.rglob("*") if "evil" in p.name], [])
        known = {"hf", "state", "xdg", "config"}
        self.assertLessEqual({p.name for p in self.client.home.iterdir()} if self.client.home.is_dir() else set(), known)

    def refused(self, *options, says=None, may_succeed=False, **how):
        done = self.client.run("download", self.repo.id, "--trust-remote-code", *options, **how)
        if not (may_succeed and done.returncode == 0):
            self.expect(done, None, says)
            self.assertFalse(self.has_variant())
        self.untouched()
        self.check_cache()
        self.assertNotRegex(done.stderr + done.stdout, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
        return done

    # Names that become paths.

    def test_paths_in_a_listing(self):
        for name in NAMES:
            with self.fault(faults.Json(lambda tree, _, name=name: hub_file(tree).update(path=name)), path="/tree/") as rule:
                self.refused()
                self.assertGreaterEqual(rule.hits, 1)

    def test_two_entries_of_one_path(self):
        for fault in (faults.Json(lambda tree, _: tree + [dict(hub_file(tree), oid="1" * 40)]),
                      faults.Json(lambda tree, _: tree + [dict(hub_file(tree), type="directory")])):
            with self.fault(fault, path="/tree/"):
                self.refused()

    def test_object_ids(self):
        for oid in IDS:
            with self.fault(faults.TreeOid(oid), path="/tree/"):
                self.refused()

    def test_sizes(self):
        for size in (-1, 1 << 63, 1 << 62, 1e30, "5", None, 0, 1):
            def edit(tree, _, size=size):
                hub_file(tree)["size"] = size
                if "lfs" in hub_file(tree):
                    hub_file(tree)["lfs"]["size"] = size
            with self.fault(faults.Json(edit), path="/tree/"):
                self.refused()

    def test_etags(self):
        """They name a blob only where the listing does not."""
        for etag in ('"../../../../evil"', '"' + "a" * 39 + '"', '"evil"', 'W/"../evil"', "../evil", '"' + "A" * 64 + '"', '""', "a" * 5000):
            for masked in (False, True):
                with self.fault(faults.Header("ETag", etag), path="/resolve/"):
                    if masked:
                        self.proxy.add(faults.MaskedLfs(), path="/tree/")
                    self.refused(may_succeed=not masked)

    def test_etags_in_other_forms(self):
        for form in ('W/"{}"', "{}"):
            with self.fault(faults.Etag(form), path="/resolve/"):
                self.proxy.add(faults.MaskedLfs(), path="/tree/")
                self.same(self.download(), self.main)
                self.check_cache()

    def test_masked_hashes_are_checked_all_the_same(self):
        with self.fault(faults.MaskedLfs(), path="/tree/"):
            self.proxy.add(faults.Wrong(), path=FILE, method="GET")
            self.refused()

    def test_commits(self):
        for commit in IDS:
            with self.fault(faults.Commit(commit), path="/refs|/revision/|/api/kernels/[^/]+/[^/]+$") as rule:
                self.refused()
                self.assertGreaterEqual(rule.hits, 1)
        for commit in ("../../../../evil", "0" * 40, "a" * 39):
            with self.fault(faults.Header("X-Repo-Commit", commit), path="/resolve/"):
                self.refused(may_succeed=True)
                self.assertEqual([p for p in self.client.cache.glob("*/snapshots/*") if p.name == "0" * 40], [])

    def test_refs_in_an_answer(self):
        for name in REVISIONS + ["v1/../../../../evil", "v../evil"]:
            def edit(value, _, name=name):
                for kind in ("branches", "tags"):
                    value.get(kind, []).append({"name": name, "ref": f"refs/heads/{name}", "targetCommit": "a" * 40})
            with self.fault(faults.Json(edit), path="/refs"):
                self.refused("--version", "==0.0.5.post1", may_succeed=True)

    def test_revisions_that_are_asked_for(self):
        for revision in REVISIONS:
            with self.subTest(revision):
                self.refused("--revision=" + revision)
        self.assertEqual(self.proxy.log, [])

    def test_repositories_that_are_asked_for(self):
        for name in ("../evil", "a/../evil", "a/b/c", "a", "a/-b", "a/b--c", "a/b.git", "a/..", "a/b\x1b[31m", "a/" + "b" * 97, "/a/b", "a/b/"):
            with self.subTest(name):
                self.expect(self.client.run("download", name, "--trust-remote-code"), None)
                self.untouched()
        self.assertEqual(self.proxy.log, [])

    # Links and files that somebody planted in the cache.

    def folder(self):
        return self.client.cache / self.repo.folder

    def test_planted_directories(self):
        for part in (".", "blobs", "snapshots", "refs"):
            with self.subTest(part):
                self.setUp()
                place = self.folder() / part
                place.parent.mkdir(parents=True)
                place.symlink_to(self.outside, target_is_directory=True)
                done = self.client.run("download", self.repo.id, "--trust-remote-code")
                self.assertNotIn("Sanitizer", done.stderr)
                self.untouched()

    def test_planted_snapshot_files(self):
        directory = self.download()
        blob = (directory / "layers.py").resolve()
        elsewhere = self.outside / "secret"
        for target in (str(elsewhere), "/etc/passwd", str(blob), f"../{os.readlink(directory / 'layers.py')}",
                       os.readlink(directory / "layers.py").replace("blobs/", "blobs/../blobs/")):
            with self.subTest(target):
                (directory / "layers.py").unlink()
                (directory / "layers.py").symlink_to(target)
                done = self.client.run("download", self.repo.id, "--trust-remote-code")
                if done.returncode == 0:
                    self.same(pathlib.Path(done.stdout.splitlines()[-1]), self.main)
                    self.check_cache()
                else:
                    self.expect(done, None)
                self.untouched()
                (directory / "layers.py").unlink()
                (directory / "layers.py").symlink_to(f"../../../../blobs/{blob.name}")

    def test_planted_blobs(self):
        directory = self.download()
        blob = (directory / "layers.py").resolve()
        content = blob.read_bytes()

        def link():
            blob.symlink_to(self.outside / "secret")
        for name, plant in (("link", link), ("fifo", lambda: os.mkfifo(blob)), ("directory", blob.mkdir),
                            ("empty", blob.touch), ("same size", lambda: blob.write_bytes(b"x" * len(content)))):
            with self.subTest(name):
                blob.unlink()
                plant()
                done = self.client.run("download", self.repo.id, "--trust-remote-code", timeout=60)
                self.assertNotIn("Sanitizer", done.stderr)
                self.untouched()
                if name in ("link", "fifo", "empty") and done.returncode == 0:
                    self.same(pathlib.Path(done.stdout.splitlines()[-1]), self.main)
                if stat.S_ISDIR(blob.lstat().st_mode):
                    blob.rmdir()
                    blob.touch()
                blob.unlink()
                blob.write_bytes(content)

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
        for fault, path in ((faults.Wrong(), "canary.so"), (faults.Wrong(), "metadata.json"), (faults.Short(1), "layers.py")):
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


def hub_file(tree):
    """The entry of a file of this machine's variant, the object."""
    return next(e for e in tree if e["path"].endswith("activation.so"))


if __name__ == "__main__":
    unittest.main()
