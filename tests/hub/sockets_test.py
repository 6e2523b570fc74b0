"""When no network is needed none is touched: sockets are counted by the kernel."""

import pathlib
import shutil
import unittest

import hub


@unittest.skipUnless(shutil.which("strace"), "there is no strace")
class Sockets(hub.Case):
    def counted(self, *options, status=0, **how):
        n, done = self.client.sockets("download", self.repo.id, "--trust-remote-code", *options, **how)
        self.expect(done, status)
        return n, done

    def test_a_pinned_kernel(self):
        """By commit: cold it needs the network, warm it does not."""
        commit = self.download().parent.parent.name
        self.assertRegex(commit, r"\A[0-9a-f]{40}\Z")
        self.client = hub.Client(self.dir / "other", self.proxy.url)
        n, done = self.counted("--revision", commit)
        self.assertGreater(n, 0)
        n, again = self.counted("--revision", commit)
        self.assertEqual((n, again.stdout), (0, done.stdout))
        self.same(pathlib.Path(again.stdout.splitlines()[-1]), self.repo.branch("main"))

    def test_offline(self):
        """All that is cached works: by commit, branch, tag, version, version branch; nothing else does."""
        wishes = [(), ("--revision", "main"), ("--revision", "v0.0.4"), ("--version", "==0.0.4"), ("--version", "1"), ("--revision", "v1")]
        directories = [self.download(*wish) for wish in wishes]
        commit = directories[0].parent.parent.name
        wishes += [("--revision", commit), ("--revision", commit[:9])]
        directories += [directories[0]] * 2
        self.proxy.clear()
        for how, env in ((("--offline",), {}), ((), {"HF_HUB_OFFLINE": "1"})):
            for wish, directory in zip(wishes, directories):
                with self.subTest(f"{wish} {how} {env}"):
                    n, done = self.counted(*wish, *how, env=env)
                    self.assertEqual((n, done.stdout.splitlines()[-1]), (0, str(directory)))
            for wish in (("--revision", "v0.0.1"), ("--version", ">=5"), ("--revision", "0" * 40), ("--revision", "feature/x")):
                with self.subTest(f"{wish} {how} {env}"):
                    self.assertEqual(self.counted(*wish, *how, env=env, status=1)[0], 0)
        self.assertEqual(self.proxy.log, [])

    def test_few_requests(self):
        """A warm branch costs one request or two, a cold one no more than its files and some."""
        self.download()
        n_files = len(self.repo.branch("main").files())
        self.assertLessEqual(len(self.proxy.log), n_files + 6, [f"{e.method} {e.target}" for e in self.proxy.log])
        self.proxy.clear()
        self.download()
        self.assertLessEqual(len(self.proxy.log), 3, [f"{e.method} {e.target}" for e in self.proxy.log])

    def test_wrong_use_asks_nobody(self):
        for args in (("download",), ("download", "no-owner"), ("download", self.repo.id, "--version", ">>1"),
                     ("download", self.repo.id, "--version", ">=1", "--revision", "main"), ("download", self.repo.id, "--frobnicate")):
            with self.subTest(args):
                n, done = self.client.sockets(*args)
                self.assertEqual((n, done.returncode), (0, 2), done.stderr)


if __name__ == "__main__":
    unittest.main()
