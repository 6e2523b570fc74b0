"""The test suite's own hub: what its tools say must be right, with huggingface_hub as the client."""

import os
import pathlib
import unittest

import cache_check
import faults
import hub
from certificates import Authority
from hub_tree import VARIANT, random_files
from proxy import Proxy


@unittest.skipUnless(hub.has_huggingface_hub(), f"{hub.PYTHON} has no huggingface_hub")
class Harness(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.repo.branch("main").add(random_files(3, 3 << 20))

    def fetched(self, **how):
        done = self.snapshot_download(**how)
        self.assertEqual(done.returncode, 0, done.stderr)
        return pathlib.Path(done.stdout.strip())

    def test_all_is_well(self):
        snapshot = self.fetched()
        self.same(snapshot / "build" / VARIANT, self.repo.branch("main"))
        self.check_cache(others=True)
        self.assertNotEqual(cache_check.complaints(self.client.cache), [])  # trees/ is not ours
        self.assertEqual(self.fetched(offline=True), snapshot)
        self.assertTrue(all(e.is_whole for e in self.proxy.log))

    def test_what_the_check_says(self):
        snapshot = self.fetched()
        folder = self.client.cache / self.repo.folder
        link = snapshot / "build" / VARIANT / "data" / "000.bin"
        blob = link.resolve()
        content = blob.read_bytes()

        def says(text, **allowed):
            found = cache_check.complaints(self.client.cache, others=True, **allowed)
            self.assertEqual(len(found), 1, found)
            self.assertIn(text, found[0])
        blob.write_bytes(content[:-1])
        says("hashes to")
        blob.write_bytes(content)
        name = os.readlink(link)
        link.unlink()
        link.symlink_to(blob)
        says("links to")
        link.unlink()
        link.write_bytes(content)
        says("no link")
        self.check_cache(others=True, copies=True)
        link.unlink()
        link.symlink_to(name)
        (folder / "refs" / "v9").write_text("0" * 40)
        says("there is no snapshot")
        (folder / "refs" / "v9").write_text(snapshot.name + "\n")
        says("no commit")
        (folder / "refs" / "v9").unlink()
        (folder / "blobs" / (blob.name + ".kn-0123abcd.incomplete")).touch()
        says("a temporary was left")
        self.check_cache(others=True, temporaries=True)

    def test_the_watch(self):
        with cache_check.Watch(self.client.cache) as watch:
            self.fetched()
            self.assertGreater(len(watch.seen), 3)
            blob = next((self.client.cache / self.repo.folder / "blobs").glob("?" * 64))
            blob.write_bytes(b"early")
            watch.look()
        # Truncated and then written: whoever looks fast sees it twice.
        self.assertEqual(set(watch.wrong), {f"{blob}: visible before it was whole"})

    def test_wrong_bytes(self):
        """It believes what it gets: the check must see it."""
        self.proxy.add(faults.Wrong(), path="/resolve/.*000.bin", method="GET")
        self.fetched()
        self.assertRegex("\n".join(cache_check.complaints(self.client.cache, others=True)), r"\A.*: hashes to [0-9a-f]{64}\Z")

    def test_faults_that_it_survives(self):
        for fault, where in ((faults.Cut(1000), {"first": 1}), (faults.Cut(300000), {"first": 1}),
                             (faults.Status(429, retry_after="1"), {"first": 1}),
                             (faults.Redirect("relative"), {}), (faults.Redirect("cross"), {}), (faults.Slow(1 << 18, 0.05), {}),
                             (faults.Etag(), {}), (faults.IgnoreRange(), {})):
            if not isinstance(fault, faults.Redirect):
                where["method"] = "GET"
            with self.fault(fault, path="/resolve/.*000.bin", **where) as rule:
                snapshot = self.fetched()
                self.assertGreaterEqual(rule.hits, 1)
                self.same(snapshot / "build" / VARIANT, self.repo.branch("main"))
                self.check_cache(others=True)

    def test_faults_that_it_reports(self):
        resolve = {"path": "/resolve/.*000.bin", "method": "GET"}
        evil = faults.TreePath(f"build/{VARIANT}/../../../../../evil")
        for fault, where, says in ((faults.Short(5), resolve, "Consistency check"), (faults.Reset(1000), resolve, "reset by peer"),
                                   (faults.Status(503), resolve, "503"),
                                   (faults.Status(500), {"path": "/api/"}, "500"), (evil, {"path": "/tree/"}, "evil"),
                                   (faults.Status(404, error_code="RepoNotFound"), {"path": "/api/"}, "RepositoryNotFound")):
            with self.fault(fault, **where) as rule:
                done = self.snapshot_download()
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(says, done.stderr)
                self.assertGreaterEqual(rule.hits, 1)

    def test_token_across_origins(self):
        self.proxy.add(faults.Redirect("cross"), path="/resolve/.*000.bin")
        self.fetched(env={"HF_TOKEN": "hf_secret"})
        hops = self.proxy.requests("^/-/hop/", "GET")
        self.assertEqual([e.header("authorization") for e in hops], [None])
        self.assertRegex(hops[0].header("host"), "^localhost:")
        self.assertEqual({e.header("authorization") for e in self.proxy.requests("^/api/")}, {"Bearer hf_secret"})

    def test_https(self):
        authority = Authority(self.dir / "tls")
        with Proxy(self.server.port, tls=authority.sign()) as proxy:
            env = {"HF_ENDPOINT": proxy.url, "SSL_CERT_FILE": str(authority.file)}
            self.same(self.fetched(env=env) / "build" / VARIANT, self.repo.branch("main"))
            self.assertGreater(len(proxy.log), 3)
        for certificate in (authority.sign("DNS:elsewhere.invalid", stem="name"), authority.sign(days=-1, stem="old")):
            with self.subTest(certificate), Proxy(self.server.port, tls=certificate) as proxy:
                self.client = hub.Client(self.dir / certificate[0].stem, proxy.url)
                self.assertNotEqual(self.snapshot_download(env={"SSL_CERT_FILE": str(authority.file)}).returncode, 0)
                self.assertEqual(proxy.log, [])

    def test_latency(self):
        with Proxy(self.server.port, round_trip_ms=20) as proxy:
            self.same(self.fetched(env={"HF_ENDPOINT": proxy.url}) / "build" / VARIANT, self.repo.branch("main"))

    def test_sockets_are_counted(self):
        code = "import socket, sys; [socket.socket(socket.AF_INET).close() for _ in range(int(sys.argv[1]))]"
        for n in (0, 3):
            self.assertEqual(self.client.sockets("-c", code, n, traced=hub.PYTHON)[0], n)

    @unittest.skipUnless(os.getuid() == 0, "not root: nobody else to be")
    def test_another_user(self):
        other = hub.Client(self.dir / "other", self.proxy.url, user=hub.NOBODY)
        code = "import os; print(os.getuid()); open(os.environ['HOME'] + '/x', 'w'); open('/root/x', 'w')"
        done = other.run("-c", code, program="/usr/bin/python3")
        self.assertEqual(done.stdout, f"{hub.NOBODY}\n")
        self.assertIn("PermissionError: [Errno 13] Permission denied: '/root/x'", done.stderr)
        self.assertEqual((self.dir / "other" / "x").stat().st_uid, hub.NOBODY)


if __name__ == "__main__":
    unittest.main()
