"""What becomes a path: names, hashes and commits that a hub says, revisions and repositories that are asked for, links and files that
somebody planted in the cache. Nothing is written or read outside of it."""

import os
import pathlib
import stat
import unittest

import faults
import hostile
import hub
from hostile import FILE, IN

NAMES = ["../../../../evil", f"{IN}/../../../../../evil", f"{IN}/..", "/evil", f"/{IN}/evil", f"{IN}//evil", f"{IN}/./evil", f"{IN}/evil/",
         f"{IN}/..\\..\\evil", f"{IN}/evil\0.so", f"{IN}/\x1b[31mevil", f"{IN}/evil\n", f"{IN}/{'e' * 256}", f"{IN}/{'evil/' * 900}x",
         f"{IN}/evil\ud800", ""]
IDS = ["../../../../evil", "/evil", "evil", "", "A" * 40, "a" * 39, "a" * 41, "a" * 63, "g" * 64, "a" * 40 + "/../evil", "a" * 39 + "\0",
       "refs/heads/evil", "." * 40, None, 5, ["a" * 40]]
REVISIONS = ["../../../evil", "/evil", "-evil", "evil//x", "evil x", "evil~1", "evil^", "evil:x", "evil?", "evil*", "evil[", "evil\\x",
             "evil..x", "x/../evil", "evil.lock", "evil.tmp", "e" * 256, "evil\x01", "@{evil}", "evil@{1}", "evil/", "."]


class Names(hostile.Case):
    # Names that become paths.

    def test_paths_in_a_listing(self):
        for name in NAMES:
            with self.fault(faults.Json(lambda tree, _, name=name: hostile.entry(tree).update(path=name)), path="/tree/") as rule:
                self.refused()
                self.assertGreaterEqual(rule.hits, 1)

    def test_two_entries_of_one_path(self):
        for entry, harmless in (({"oid": "1" * 40}, False), ({"path": f"{IN}/activation.so/evil"}, False), ({"type": "directory"}, True)):
            with self.fault(faults.Json(lambda tree, _, e=entry: tree + [hostile.entry(tree) | e]), path="/tree/"):
                self.refused(may_succeed=harmless)

    def test_object_ids(self):
        for oid in IDS:
            with self.fault(faults.TreeOid(oid), path="/tree/"):
                self.refused()

    def test_sizes(self):
        for size in (-1, 1 << 63, 1 << 62, 1e30, "5", None, 0, 1):
            def edit(tree, _, size=size):
                hostile.entry(tree)["size"] = size
                if "lfs" in hostile.entry(tree):
                    hostile.entry(tree)["lfs"]["size"] = size
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


if __name__ == "__main__":
    unittest.main()
