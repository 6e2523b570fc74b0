"""Many processes that want the same cold kernel: one download, all succeed; also while bodies break, and with huggingface_hub in the
same cache. With KN_TEST_LONG=1 64 processes, else some."""

import pathlib
import unittest

import cache_check
import faults
import hub
from hub_tree import random_files

N = 64 if hub.LONG else 10
FILES = "/resolve/.*/data/"
SIZE = 6 << 20


class Crowd(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main.add(random_files(6, SIZE))

    def crowd(self, n=N, beside=0):
        """n processes at once, and huggingface_hub in `beside` more. What each of ours printed."""
        running = [self.client.start("download", self.repo.id, "--trust-remote-code") for _ in range(n)]
        others = [self.snapshot_start() for _ in range(beside)]
        with cache_check.Watch(self.client.cache) as watch:
            results = [(p.communicate(timeout=300), p.returncode) for p in running]
            theirs = [(p.communicate(timeout=300), p.returncode) for p in others]
        self.assertEqual([(code, err) for (_, err), code in results if code or "Sanitizer" in err], [])
        self.assertEqual(watch.wrong, [])
        directories = {out.splitlines()[-1] for (out, _), _ in results}
        self.assertEqual(len(directories), 1)
        self.same(pathlib.Path(directories.pop()), self.main)
        self.check_cache(others=beside > 0)
        return theirs

    def snapshot_start(self):
        return self.client.start("-c", self.SNAPSHOT, self.snapshot_arguments(), program=hub.PYTHON)

    def sent(self):
        return sum(e.sent for e in self.proxy.requests(FILES, "GET"))

    def test_one_download(self):
        self.crowd()
        self.assertLess(self.sent(), 1.2 * SIZE)

    def test_while_it_breaks(self):
        for fault, where in ((faults.Cut(300_000), {"every": 3}), (faults.Reset(300_000), {"every": 3}),
                             (faults.Status(429, retry_after="1"), {"every": 3}), (faults.Status(503), {"every": 3}),
                             (faults.Slow(100_000, 0.05), {})):
            with self.fault(fault, path=FILES, method="GET", **where):
                self.crowd()
                self.assertLess(self.sent(), 2.5 * SIZE)

    def test_while_it_lies(self):
        """One wrong body: nobody believes it; whoever fails says why, the rest has the right bytes."""
        with self.fault(faults.Wrong(), path=FILES, method="GET", first=1):
            running = [self.client.start("download", self.repo.id, "--trust-remote-code") for _ in range(N)]
            results = [(p.communicate(timeout=300), p.returncode) for p in running]
            self.assertTrue(all(err.startswith("kernels: ") for (_, err), code in results if code), results)
            self.same(self.download(), self.main)
            self.check_cache()

    def test_with_huggingface_hub(self):
        if not hub.has_huggingface_hub():
            self.skipTest(f"{hub.PYTHON} has no huggingface_hub")
        for fault, where in ((None, {}), (faults.Cut(300_000), {"every": 4}), (faults.Status(429, retry_after="1"), {"every": 4})):
            with self.fault(fault or faults.Status(), path=FILES if fault else "^$", method="GET", **where):
                theirs = self.crowd(N // 2, beside=4 if hub.LONG else 2)
                self.assertTrue(all(code == 0 for _, code in theirs) or fault, theirs)
                # And each reads offline what is there.
                self.assertEqual(self.snapshot_download(offline=True).returncode, 0)
                self.same(self.download("--offline"), self.main)


if __name__ == "__main__":
    unittest.main()
