"""`kernels download` when bodies break or lie: it succeeds, or says in one line what failed. Then the cache is whole, nothing was
visible before it was checked, and the next run without the fault succeeds."""

import threading
import unittest

import cache_check
import faults
import hub
from hub_tree import VARIANT, random_files

FILE = "/resolve/.*/data/00[12].bin"
FAST = {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}


class Faults(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main.add(random_files(4, 8 << 20))

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
        """One that cannot, is asked anew; one that means another file, is not believed."""
        rows = [(faults.IgnoreRange(), None), (faults.BadContentRange("nonsense"), None), (faults.BadContentRange("bytes 0-99/100"), "100"),
                (faults.BadContentRange("bytes 5-4/3"), "3 bytes")]
        for odd, says in rows:
            with self.fault(odd, path=FILE, first=3):
                self.proxy.add(faults.Cut(1 << 20), path=FILE, method="GET", first=2)
                if says:
                    self.refused(says=says)
                else:
                    self.succeeds()

    def test_wrong_bodies(self):
        file = {"path": FILE, "method": "GET"}
        rows = [(faults.Wrong(), file), (faults.Wrong(-1), file), (faults.Short(1), file), (faults.Short(1 << 21), file),
                (faults.Long(1), file), (faults.Long(9, is_announced=0), file), (faults.Gzip(), file), (faults.Wrong(), {"path": "metadata.json", "method": "GET"}),
                (faults.Wrong(), {"path": ".*layers.py", "method": "GET"})]
        for fault, where in rows:
            with self.fault(fault, **where) as rule:
                self.refused()
            self.assertGreaterEqual(rule.hits, 1)

    def test_cut_again_and_again(self):
        self.proxy.add(faults.Cut(0), path=FILE, method="GET")
        self.proxy.add(faults.Reset(-1), path=FILE, method="GET", every=2)
        self.refused()

    def test_slow_but_steady(self):
        """A body that trickles is no stall."""
        self.proxy.add(faults.Slow(2000, 0.4), path=".*layers.py", method="GET")
        self.succeeds(env=FAST)

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
