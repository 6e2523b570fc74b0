"""`kernels download` over a network that fails: it succeeds, or says in one line what failed and what to do. Then the cache is whole,
nothing was visible before it was checked, and the next run without the fault succeeds."""

import threading
import time
import unittest

import cache_check
import faults
import hub
from certificates import Authority
from hub_tree import VARIANT, random_files
from proxy import Proxy

FILE = "/resolve/.*/data/00[12].bin"
FAST = {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}


class Faults(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main = cls.repo.branch("main").add(random_files(4, 8 << 20))

    def succeeds(self, *options, **how):
        with cache_check.Watch(self.client.cache) as watch:
            self.same(self.download(*options, **how), self.main)
        self.assertEqual(watch.wrong, [])
        self.check_cache()

    def refused(self, *options, status=2, says=None, recovers=True, **how):
        """An error that names the repository; nothing that a loader would take, and no temporary, is left."""
        with cache_check.Watch(self.client.cache) as watch:
            text = self.download(*options, status=status, says=says, **how)
        self.assertIn(self.repo.id, text)
        self.assertEqual(watch.wrong, [])
        self.assertFalse(self.has_variant())
        self.check_cache()
        if recovers:
            self.proxy.clear()
            self.succeeds()

    def test_broken_bodies_are_resumed(self):
        rows = [(fault, {"path": FILE, "method": "GET", "first": 2})
                for fault in (faults.Cut(0), faults.Cut(1), faults.Cut(1 << 20), faults.Cut((2 << 20) - 1), faults.Reset(1 << 20),
                              faults.Reset(-1), faults.Stall(1 << 20), faults.Stall(-1), faults.Chunked())]
        for fault, where in rows:
            with self.fault(fault, **where) as rule:
                self.succeeds(env=FAST)
            self.assertGreaterEqual(rule.hits, 1)

    def test_a_resumed_body_is_not_asked_for_again(self):
        """Many cuts, each after progress: the whole is sent once, and a bit."""
        self.proxy.add(faults.Cut(400_000), path=FILE, method="GET")
        self.succeeds()
        sent = sum(e.sent for e in self.proxy.requests(FILE, "GET"))
        self.assertLess(sent, (4 << 20) + (1 << 20))
        self.assertTrue(any(e.header("range") for e in self.proxy.log))

    def test_servers_that_resume_badly(self):
        for odd in (faults.IgnoreRange(), faults.BadContentRange("bytes 0-99/100"), faults.BadContentRange("nonsense"),
                    faults.BadContentRange("bytes 5-4/3")):
            with self.fault(odd, path=FILE, first=3):
                self.proxy.add(faults.Cut(1 << 20), path=FILE, method="GET", first=2)
                self.succeeds()

    def test_statuses_that_pass(self):
        rows = [(fault, {"path": path, "first": 2})
                for fault in (faults.Status(429, retry_after="1"), faults.Status(429, rate_limit='"api";r=0;t=1'),
                              faults.Status(503), faults.Status(500))
                for path in (FILE, "/refs|/revision/", "/tree/", "metadata.json")]
        for fault, where in rows:
            with self.fault(fault, **where) as rule:
                start = time.monotonic()
            self.succeeds()
            if rule.fault.status == 429 and rule.hits:
                self.assertGreaterEqual(time.monotonic() - start, 1)

    def test_statuses_that_stay(self):
        everything = {"path": "."}
        rows = [  # fault, where, status, what is said
            (faults.Status(503), {"path": FILE, "method": "GET"}, 2, "503"),
            (faults.Status(429, retry_after="100000"), {"path": FILE}, 2, "429|rate limit"),
            (faults.Status(404, error_code="RepoNotFound"), everything, 1, "no such|not found|there is no"),
            (faults.Status(401, "{}"), everything, None, "token|HF_TOKEN|log in|access"),
            (faults.Status(403, error_code="GatedRepo"), everything, None, "token|HF_TOKEN|log in|access"),
        ]
        for fault, where, status, says in rows:
            with self.fault(fault, **where):
                start = time.monotonic()
                self.refused(status=status, says=says)
                self.assertLess(time.monotonic() - start, 60)

    def test_wrong_bodies(self):
        file = {"path": FILE, "method": "GET"}
        rows = [(faults.Wrong(), file), (faults.Wrong(-1), file), (faults.Short(1), file), (faults.Short(1 << 21), file),
                (faults.Long(1), file), (faults.Long(9, is_announced=0), file), (faults.Gzip(), file), (faults.Wrong(), {"path": "metadata.json", "method": "GET"}),
                (faults.Wrong(), {"path": ".*layers.py", "method": "GET"})]
        for fault, where in rows:
            with self.fault(fault, **where) as rule:
                self.refused(status=None)
            self.assertGreaterEqual(rule.hits, 1)

    def test_cut_again_and_again(self):
        for fault in (faults.Cut(0), faults.Reset(-1)):
            with self.fault(fault, path=FILE, method="GET"):
                self.refused()

    def test_slow_but_steady(self):
        """A body that trickles is no stall."""
        self.proxy.add(faults.Slow(400, 0.2), path=".*layers.py", method="GET")
        self.succeeds(env=FAST)

    def test_no_such_host(self):
        self.client.environment["HF_ENDPOINT"] = "http://no-such-host.invalid"
        self.refused(says="no-such-host.invalid", recovers=False)

    def test_nobody_listens(self):
        with Proxy(self.server.port) as proxy:
            url = proxy.url
        self.client.environment["HF_ENDPOINT"] = url
        self.refused(says=url.removeprefix("http://"), recovers=False)

    def test_not_a_hub(self):
        for fault in (faults.Status(200, "<html>Log in to the network of this hotel</html>"), faults.Status(200, ""),
                      faults.Status(404, "nothing")):
            with self.fault(fault) as rule:
                self.refused(status=None)
                self.assertGreaterEqual(rule.hits, 1)

    def test_tls(self):
        authority, other = Authority(self.dir / "tls"), Authority(self.dir / "other", "another authority")
        rows = [(authority.sign(), authority.file, None), (authority.sign(), other.file, "certificate"), (authority.sign(), None, "certificate"),
                (authority.sign("DNS:elsewhere.invalid", stem="name"), authority.file, "certificate|host|name"),
                (authority.sign(days=-1, stem="old"), authority.file, "certificate|expired")]
        for certificate, known, says in rows:
            with self.subTest(f"{certificate} {known}"), Proxy(self.server.port, tls=certificate) as proxy:
                self.client = hub.Client(self.dir / f"{certificate[0].stem}-{known and known.parent.name}", proxy.url,
                                         SSL_CERT_FILE=known and str(known))
                if says:
                    self.refused(says=says, recovers=False)
                    self.assertEqual(proxy.log, [])
                else:
                    self.succeeds()
        # https that is none, and http that is none
        self.client = hub.Client(self.dir / "plain", self.proxy.url.replace("http:", "https:"))
        self.refused(says="(?i)tls|ssl", recovers=False)
        with Proxy(self.server.port, tls=authority.sign()) as proxy:
            self.client = hub.Client(self.dir / "encrypted", proxy.url.replace("https:", "http:"))
            self.refused(recovers=False)

    def test_with_huggingface_hub_beside(self):
        """Both at once on one cold cache while bodies break."""
        if not hub.has_huggingface_hub():
            self.skipTest(f"{hub.PYTHON} has no huggingface_hub")
        for fault in (faults.Cut(1 << 20), faults.Status(429, retry_after="1")):
            with self.fault(fault, path=FILE, method="GET", every=2):
                beside = []
                thread = threading.Thread(target=lambda: beside.append(self.snapshot_download()))
                thread.start()
                directory = self.download()
                thread.join()
                self.same(directory, self.main)
                self.check_cache(others=True)
                if beside[0].returncode == 0:
                    self.assertEqual(beside[0].stdout.strip() + f"/build/{VARIANT}", str(directory))


if __name__ == "__main__":
    unittest.main()
