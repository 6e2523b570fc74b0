"""Disks and accounts as they are: full, read-only, somebody else's, without a home, with a clock that jumped."""

import os
import pathlib
import resource
import shutil
import subprocess
import time
import unittest

import hub
from hub_tree import VARIANT, random_files

ROOT = os.getuid() == 0
STRANGER = 54321  # no account has this number


class Disk(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main.add(random_files(4, 8 << 20))

    def tmpfs(self, directory, size):
        """A file system of this size; False where this may not be mounted."""
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], capture_output=True, check=False)
        if done.returncode == 0:
            self.addCleanup(subprocess.run, ["umount", directory], check=False)
        return done.returncode == 0

    @unittest.skipUnless(ROOT, "not root: nothing can be mounted")
    def test_full_disk(self):
        if not self.tmpfs(self.client.cache, "6m"):
            self.skipTest("no tmpfs may be mounted here")
        self.refused(says=rf"{self.client.cache}.*(?i:no space left)", recovers=False)
        self.assertEqual(subprocess.run(["mount", "-o", "remount,size=40m", self.client.cache], check=False).returncode, 0)
        self.same(self.download(), self.main)
        self.check_cache()

    @unittest.skipUnless(ROOT, "not root: nothing can be mounted")
    def test_no_file_can_be_made(self):
        """Space, but no inodes."""
        self.client.cache.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,nr_inodes=12", "none", self.client.cache], capture_output=True,
                              check=False)
        if done.returncode:
            self.skipTest("no tmpfs may be mounted here")
        self.addCleanup(subprocess.run, ["umount", self.client.cache], check=False)
        self.refused(says=rf"{self.client.cache}.*(?i:no space left)", recovers=False)

    def test_file_size_limit(self):
        self.refused(says=rf"{self.client.cache}.*(?i:file too large)", limits={resource.RLIMIT_FSIZE: 1 << 20})

    def test_few_descriptors(self):
        """A clear error, or it makes do."""
        done = self.client.run("download", self.repo.id, "--trust-remote-code", limits={resource.RLIMIT_NOFILE: 16})
        self.assertNotIn("Sanitizer", done.stderr)
        if done.returncode == 0:
            self.same(pathlib.Path(done.stdout.splitlines()[-1]), self.main)
        else:
            self.expect(done, None)
        self.check_cache()

    def test_no_home(self):
        for how in ({"HOME": None}, {"HOME": ""}):
            with self.subTest(how):
                env = {"HF_HOME": None, "XDG_CACHE_HOME": None, "XDG_STATE_HOME": None, "XDG_CONFIG_HOME": None} | how
                user = {"user": STRANGER, "group": STRANGER, "extra_groups": []} if ROOT else {}
                done = self.client.run("download", self.repo.id, "--trust-remote-code", env=env, **user)
                self.expect(done, 2, "HOME|KERNELS_CACHE|HF_HOME")
        # A cache alone is enough.
        cache = self.dir / "cache"
        done = self.client.run("download", self.repo.id, "--trust-remote-code", env=env | {"KERNELS_CACHE": str(cache)})
        self.same(pathlib.Path(self.expect(done).stdout.splitlines()[-1]), self.main)

    @unittest.skipUnless(ROOT, "not root: nobody else to be")
    def test_read_only_cache(self):
        """Warm it serves; cold the error says where and what to do."""
        self.download()
        reader = hub.Client(self.dir / "reader", self.proxy.url, user=hub.NOBODY, HF_HOME=str(self.dir / "home" / "hf"))
        reader.cache = self.client.cache
        for path in [self.client.cache, *self.client.cache.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o555 if path.is_dir() else 0o444)
        before = sorted((str(p), p.lstat().st_mtime_ns) for p in self.client.cache.rglob("*"))
        self.same(self.download(client=reader), self.main)
        self.same(self.download("--offline", client=reader), self.main)
        self.assertEqual(before, sorted((str(p), p.lstat().st_mtime_ns) for p in self.client.cache.rglob("*")))
        text = self.expect(reader.run("download", "kernels-test/activation", "--revision", "v0.0.4", "--trust-remote-code"), None,
                           str(self.client.cache)).stderr
        self.assertRegex(text, "(?i)permission denied|read-only|may not")

    @unittest.skipUnless(ROOT, "not root: nobody else to be")
    def test_cache_that_cannot_be_made(self):
        nobody = hub.Client(self.dir / "nobody", self.proxy.url, user=hub.NOBODY, HF_HOME=str(self.dir / "forbidden" / "hf"))
        (self.dir / "forbidden").mkdir(mode=0o755)
        nobody.cache = self.dir / "forbidden" / "hf" / "hub"
        self.expect(nobody.run("download", self.repo.id, "--trust-remote-code"), 2, str(self.dir / "forbidden"))

    def test_cache_that_is_no_directory(self):
        for cache in ("/dev/null", "/dev/null/hub", "/proc/none/hub"):
            for verb in ("download", "verify"):
                with self.subTest(f"{verb} {cache}"):
                    env = {"KERNELS_CACHE": cache}
                    self.expect(self.client.run(verb, self.repo.id, "--trust-remote-code", env=env), 2, f"{cache.removesuffix('/hub')}.*KERNELS_CACHE")

    @unittest.skipUnless(ROOT, "not root: nobody else to be")
    def test_cache_of_another_user(self):
        """What a stranger wrote is not believed without a look: an error, or the right bytes."""
        owner = hub.Client(self.dir / "owner", self.proxy.url, user=STRANGER)
        owner.home.chmod(0o755)
        directory = self.download(client=owner)
        blob = (directory / "activation.so").resolve()
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
        os.chown(blob, STRANGER, STRANGER)
        for mode in (0o755, 0o777):
            for path in (p for p in [owner.home / "hf", *(owner.home / "hf").rglob("*")] if p.is_dir() and not p.is_symlink()):
                path.chmod(mode)
            for options in ((), ("--offline",)):
                with self.subTest(f"{mode:o} {options}"):
                    reader = hub.Client(self.dir / "reader", self.proxy.url, user=hub.NOBODY, HF_HOME=str(owner.home / "hf"))
                    done = reader.run("download", self.repo.id, "--trust-remote-code", *options)
                    self.assertNotIn("Sanitizer", done.stderr)
                    if done.returncode == 0:
                        self.same(pathlib.Path(done.stdout.splitlines()[-1]), self.main)
                    else:
                        self.expect(done, None)

    def test_modes(self):
        for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
            with self.subTest(f"{mask:o}"):
                self.setUp()
                directory = self.download(umask=mask)
                self.assertEqual({oct((directory / f).resolve().stat().st_mode & 0o777) for f in self.main.files()}, {oct(mode)})

    def test_clock(self):
        """Files of the future and of long ago: what is whole stays, temporaries that nobody holds go."""
        directory = self.download("--revision", "v1")
        folder = self.client.cache / self.repo.folder
        old = {str(p): p.stat().st_ino for p in folder.glob("blobs/*")}
        for when in (time.time() + 10 * 365 * 86400, 0, time.time() - 86400):
            with self.subTest(when):
                left = folder / "blobs" / ("a" * 64 + ".kn-0123abcd.incomplete")
                left.write_bytes(b"half")
                theirs = folder / "blobs" / ("a" * 64 + ".0123abcd.incomplete")
                theirs.write_bytes(b"half")
                for path in [self.client.home, *self.client.home.rglob("*")]:
                    os.utime(path, (when, when), follow_symlinks=False)
                for options in (("--revision", "v1"), ()):
                    self.download(*options)
                self.assertTrue(theirs.exists())
                theirs.unlink()
                self.check_cache()
                self.assertEqual(old, {p: pathlib.Path(p).stat().st_ino for p in old})
                self.same(directory, self.repo.branch("v1"))
                shutil.rmtree(next(p for p in (folder / "snapshots").iterdir() if p.name not in str(directory)))
                (folder / "refs" / "main").unlink(missing_ok=True)
                for blob in (folder / "blobs").iterdir():
                    if str(blob) not in old:
                        blob.unlink()

    def test_damage(self):
        """What is gone is fetched again, the rest is not. What has other bytes is not given to anybody."""
        directory = self.download()
        link = directory / "data" / "001.bin"
        blob = link.resolve()
        for damage in (link.unlink, blob.unlink, lambda: (directory / "metadata.json").unlink(), lambda: shutil.rmtree(directory)):
            damage()
            self.proxy.log.clear()
            self.succeeds()
            self.assertLess(sum(e.sent for e in self.proxy.requests("/resolve/.*/data/")), 3 << 20)
        content = blob.read_bytes()
        for damaged in (b"short", content[:-1] + bytes([content[-1] ^ 1])):
            blob.write_bytes(damaged)
            done = self.client.run("download", self.repo.id, "--trust-remote-code")
            if done.returncode == 0:
                self.same(directory, self.main)
            else:
                self.expect(done, None, "data/001.bin")
            blob.write_bytes(content)

    def test_umlauts_and_spaces(self):
        cache = self.dir / "Kérnel 'cache' \"of\" mine"
        directory = self.download(env={"KERNELS_CACHE": str(cache)})
        self.assertEqual(directory.parent.parent.parent.parent.parent, cache)
        self.assertEqual(directory.name, VARIANT)


if __name__ == "__main__":
    unittest.main()
