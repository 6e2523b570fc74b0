"""A download that is interrupted, killed, or left waiting for another one: the cache stays whole at every moment, and the next run
goes on. With KN_TEST_LONG=1 a hundred kills, else some."""

import pathlib
import random
import signal
import shutil
import time
import unittest

import cache_check
import faults
import hub
from hub_tree import random_files
from proxy import Proxy

FILES = "/resolve/.*/data/"
N_KILLS = 100 if hub.LONG else 12


class Kill(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main.add(random_files(12, 12 << 20))

    def start(self, *options, client=None, **how):
        client = client or self.client
        return client.start("download", self.repo.id, "--trust-remote-code", *options, **how)

    def until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "it does not happen")
            time.sleep(0.005)

    def partial(self):
        """Our temporaries."""
        return list(self.client.cache.glob("*/blobs/*.kn-*.incomplete"))

    def test_kill_at_any_moment(self):
        source = random.Random(int(time.time()))
        with Proxy(self.server.port, bytes_per_second=40 << 20) as slow:
            self.client.environment |= {"HF_ENDPOINT": slow.url, "KERNELS_TRUSTED_ENDPOINTS": slow.url}
            start = time.monotonic()
            self.download()
            takes = time.monotonic() - start
            shutil.rmtree(self.client.cache)
            alive = 0
            with cache_check.Watch(self.client.cache) as watch:
                for i in range(N_KILLS):
                    process = self.start()
                    time.sleep(source.uniform(0, takes))
                    alive += process.poll() is None
                    process.kill()
                    process.communicate()
                    self.check_cache(temporaries=True)
                    offline = self.client.run("download", self.repo.id, "--trust-remote-code", "--offline")
                    if offline.returncode == 0:
                        self.same(pathlib.Path(offline.stdout.splitlines()[-1]), self.main)
                    if i % 4 == 3:  # every now and then it may finish; then it begins anew
                        self.same(self.download(), self.main)
                        self.check_cache()
                        watch.look()
                        shutil.rmtree(self.client.cache)
                        shutil.rmtree(self.client.state, ignore_errors=True)
            self.assertEqual(watch.wrong, [])
            self.assertGreater(alive, N_KILLS // 4)

    def test_killed_while_the_ref_was_written(self):
        """All files are there, so the next run downloads none; it cleans up all the same."""
        commit = self.download().parent.parent.name
        folder = self.client.cache / self.repo.folder
        (folder / "refs" / "main").rename(folder / "blobs" / f"{commit}.kn-0123abcd.incomplete")
        self.same(self.download(), self.main)
        self.assertEqual((folder / "refs" / "main").read_text(), commit)
        self.check_cache()

    def test_interrupted(self):
        """Ends soon, says so in one line, leaves no temporary; the next run goes on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.fault(faults.Stall(100_000), path=FILES, method="GET"):
                process = self.start()
                self.until(lambda: len(self.proxy.requests(FILES, "GET")) >= 4 and self.partial())
                start = time.monotonic()
                process.send_signal(number)
                out, err = process.communicate(timeout=30)
                self.assertLess(time.monotonic() - start, 10)
                self.assertIn(process.returncode, (1, 2, 128 + number, -number))
                self.assertNotIn("Sanitizer", err)
                self.assertLessEqual(len(err.splitlines()), 2, err)
                self.assertEqual(out, "")
                self.check_cache(temporaries=number == signal.SIGTERM)
                self.proxy.clear()
                self.same(self.download(), self.main)
                self.check_cache()

    def test_a_waiter_takes_over(self):
        """The one that downloads is killed; the one that waits goes on and has all."""
        first_stalls = self.proxy.add(faults.Stall(100_000), path=FILES, method="GET", first=8)
        downloads = self.start()
        self.until(lambda: first_stalls.hits >= 4 and self.partial())
        waits = self.start()
        time.sleep(1)
        self.assertIsNone(waits.poll())
        self.proxy.rules.clear()
        downloads.kill()
        downloads.communicate()
        out, err = waits.communicate(timeout=60)
        self.assertEqual(waits.returncode, 0, err)
        self.same(pathlib.Path(out.splitlines()[-1]), self.main)
        self.check_cache(temporaries=True)
        self.download("--revision", "nightly")  # the next one that downloads cleans up
        self.check_cache()

    @unittest.skipUnless(hub.LONG, "takes 30 s: with KN_TEST_LONG=1")
    def test_a_waiter_does_not_wait_for_ever(self):
        """The one that downloads stands still: the other one downloads itself."""
        self.proxy.add(faults.Stall(100_000), path=FILES, method="GET", first=12)
        env = {"HF_HUB_DOWNLOAD_TIMEOUT": "600"}
        downloads = self.start(env=env)
        self.until(lambda: len(self.partial()) > 0)
        waits = self.start(env=env)
        out, err = waits.communicate(timeout=120)
        downloads.kill()
        downloads.communicate()
        self.assertEqual(waits.returncode, 0, err)
        self.same(pathlib.Path(out.splitlines()[-1]), self.main)
        self.download("--revision", "nightly")
        self.check_cache()


if __name__ == "__main__":
    unittest.main()
