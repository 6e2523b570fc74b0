"""cache_compat.py VENV [BUILD]: one cache directory for this library and for the huggingface_hub that is installed in VENV.

Each writes what the other reads, online from `kernels serve` and offline; each removes what the other wrote. Our side is cache_tool,
and `kernels download` and `kernels cache` where the program has them.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[3]
VENV = pathlib.Path(sys.argv.pop(1)).absolute()
BUILD = pathlib.Path(sys.argv.pop(1)).absolute() if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]) else SOURCE / "build" / "release"
sys.argv[1:1] = [str(BUILD / "bin" / "kernels"), str(BUILD), str(VENV / "bin" / "python")]
sys.path.insert(0, str(SOURCE / "tests" / "hub"))

import cache_check  # pylint: disable=wrong-import-position
import hub  # pylint: disable=wrong-import-position
import hub_tree  # pylint: disable=wrong-import-position

TOOL = BUILD / "bin" / "cache_tool"
VARIANT = "torch-cpu"
OTHER = "torch29-cxx11-cu128-x86_64-linux"
XET = "abcdef0123456789" * 4
TYPES = {"kernel": "kernels", "model": "models"}


def ask(text):
    return subprocess.run([VENV / "bin" / "python", "-c", text], capture_output=True, text=True, check=True).stdout.strip()


VERSION = ask("import huggingface_hub; print(huggingface_hub.__version__)")
HAS_STORE = ask("import importlib.util as u; print(u.find_spec('huggingface_hub.utils._shared_blobs') is not None)") == "True"
# What scan_cache_dir calls a type; older versions know no kernels there.
SCANS_KERNELS = ask("from huggingface_hub.utils import _cache_manager as m; import inspect\n"
                    "print('REPO_TYPES_MAPPING' in inspect.getsource(m))") == "True"


def has_verb(name):
    done = subprocess.run([hub.PROGRAM, name, "--help"], capture_output=True, check=False)
    return done.returncode == 0


def files_of(name):
    """The files of a variant, with the digests of its metadata; one of them large, one empty, one in a directory."""
    return {"_k.so": (name * 5000).encode(), "__init__.py": b"", "layers.py": b"# layers\n", "sub/data.txt": name.encode()}


class Compat(hub.Case):
    @classmethod
    def make_tree(cls, root):
        cls.repos = {}
        for kind, plural in TYPES.items():
            cls.repos[kind] = hub_tree.Repo(root, "owner/name", plural)
            for ref in (cls.repos[kind].branch("main"), cls.repos[kind].branch("v1"), cls.repos[kind].tag("v0.1.0")):
                ref.write("README.md", f"# {ref.dir.name}\n")
                for name in (VARIANT, OTHER):
                    ref.variant(name, {}, digest={"algorithm": "sha256", "files": {}}).add(files_of(name), name)
        cls.repo = cls.repos["kernel"]

    def setUp(self):
        super().setUp()
        self.cache = self.client.cache

    # The two sides.

    def tool(self, verb, *args, cache=None, fails=None):
        done = subprocess.run([TOOL, verb, str(cache or self.cache), *map(str, args)], capture_output=True, check=False)
        if fails:
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertRegex(done.stderr.decode(), fails)
            return None
        self.assertEqual((done.returncode, done.stderr), (0, b""), (verb, args))
        return done.stdout

    def lines(self, verb, *args, **how):
        return self.tool(verb, *args, **how).decode().splitlines()

    def theirs(self, text, *args, fails=None, **env):
        """Runs Python with huggingface_hub; `say(value)` comes back as a list."""
        head = ("import json, os, sys, warnings, huggingface_hub as h\nfrom huggingface_hub.errors import *\nargs = sys.argv[1:]\n"
                "said = []\nsay = said.append\n")
        done = self.client.python(head + text + "\nprint(json.dumps(said))", *map(str, args), env=env)
        if fails:
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, fails)
            return None
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def fetch(self, kind, revision="main", patterns=(f"build/{VARIANT}/*",), **how):
        """snapshot_download, by huggingface_hub: the snapshot's path."""
        return self.theirs("say(h.snapshot_download('owner/name', repo_type=args[0], revision=args[1], "
                           "allow_patterns=json.loads(args[2])))", kind, revision, json.dumps(patterns), **how)

    def scan(self, **env):
        """What its scan says: [type, id, commit, refs, bytes, files]. No warning but that older versions know no kernels."""
        repos, warned = self.theirs(
            "info = h.scan_cache_dir()\n"
            "say([[r.repo_type, r.repo_id, v.commit_hash, sorted(v.refs), v.size_on_disk, len(v.files)]\n"
            "     for r in info.repos for v in r.revisions])\nsay([str(w) for w in info.warnings])", **env)
        for text in warned:
            self.assertFalse(SCANS_KERNELS, warned)
            self.assertRegex(text, "Repo type must be ")
        return sorted(r for r in repos if SCANS_KERNELS or r[0] != "kernel")

    def commit(self, kind, revision="main"):
        return self.theirs("say(h.HfApi().repo_info('owner/name', repo_type=args[0], revision=args[1]).sha)", kind, revision)[0]

    def folder(self, kind):
        return self.cache / f"{TYPES[kind]}--owner--name"

    # What must hold.

    def expected(self, kind, revision="main", variants=(VARIANT,), readme=False):
        ref = self.repos[kind].branch(revision)
        wanted = {f"build/{v}/{p}": c for v in variants for p, c in ref.files(v).items()}
        return wanted | ({"README.md": (ref.dir / "README.md").read_bytes()} if readme else {})

    def we_read(self, kind, commit, wanted, variants, large=True, copies=False):
        """Our side sees exactly these variants as whole, and these contents under blobs of the right kind."""
        self.assertEqual(self.lines("variants", kind, "owner/name", commit), sorted(variants))
        for path, content in wanted.items():
            blob, _, got = self.tool("read", kind, "owner/name", commit, path).partition(b"\n")
            self.assertEqual(got, content, path)
            self.assertEqual(len(blob), 1 if copies else 64 if large and len(content) >= 10000 else 40, path)

    def they_read(self, kind, revision, wanted, **env):
        """Their side finds each file alone and all together, offline, however it asks."""
        paths = json.dumps(sorted(wanted))
        for offline in ({}, {"HF_HUB_OFFLINE": "1"}):
            snapshot, *found = self.theirs(
                "kind, revision, paths, pattern = args[0], args[1], json.loads(args[2]), args[3]\n"
                "how = {'repo_type': kind, 'revision': revision}\n"
                "say(h.snapshot_download('owner/name', local_files_only=True, allow_patterns=[pattern], **how))\n"
                "for path in paths:\n"
                "    found = h.try_to_load_from_cache('owner/name', path, **how)\n"
                "    assert isinstance(found, str), (path, found)\n"
                "    assert os.path.samefile(found, h.hf_hub_download('owner/name', path, local_files_only=True, **how))\n"
                "    say(open(found, 'rb').read().hex())", kind, revision, paths, f"build/{VARIANT}/*", **offline, **env)
            self.assertEqual([bytes.fromhex(x) for x in found], [wanted[p] for p in sorted(wanted)])
            self.assertEqual(pathlib.Path(snapshot).parent, self.folder(kind) / "snapshots")

    def we_write(self, kind, commit, wanted, refs=("main",), copies=False):
        source = self.dir / "source"
        shutil.rmtree(source, ignore_errors=True)
        for path, content in wanted.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(content)
        self.tool("put", kind, "owner/name", commit, source, *(["copies"] if copies else []))
        for ref in refs:
            self.tool("ref", kind, "owner/name", ref, commit)

    def is_clean(self, **allowed):
        self.assertEqual(cache_check.complaints(self.cache, **allowed), [])

    # Tests.

    def test_ours_is_read(self):
        for kind in TYPES:
            with self.subTest(kind):
                commit, wanted = self.commit(kind), self.expected(kind, readme=True)
                self.we_write(kind, commit, wanted, ("main", "v1", "refs/pr/1"))
                self.is_clean()
                for revision in ("main", "v1", "refs/pr/1", commit):
                    self.they_read(kind, revision, wanted)
                    # As Python's `kernels` asks offline: of one variant, without saying which.
                    self.theirs("say(h.snapshot_download('owner/name', repo_type=args[0], revision=args[1], local_files_only=True,\n"
                                "                        ignore_patterns=['*.pyc', '**/__pycache__/**']))", kind, revision)
        found = self.scan()
        self.assertEqual([x[:3] for x in found if x[0] == "model"], [["model", "owner/name", self.commit("model")]])
        for entry in found:
            self.assertEqual(entry[3:], [["main", "refs/pr/1", "v1"], sum(map(len, set(wanted.values()))), len(wanted)])

    def test_ours_without_symlinks_is_read(self):
        commit, wanted = self.commit("kernel"), self.expected("kernel")
        self.we_write("kernel", commit, wanted, copies=True)
        self.is_clean(copies=True)
        self.assertFalse(any(p.is_symlink() for p in self.cache.rglob("*")))
        self.they_read("kernel", "main", wanted, HF_HUB_DISABLE_SYMLINKS="1")
        self.they_read("kernel", commit, wanted)
        self.we_read("kernel", commit, wanted, [VARIANT], copies=True)
        self.scan()

    def test_theirs_is_read(self):
        for kind in TYPES:
            with self.subTest(kind):
                commit = self.commit(kind)
                for revision in ("main", "v1", commit):
                    self.fetch(kind, revision)
                self.assertEqual(sorted(self.lines("refs", kind, "owner/name")),
                                 sorted([f"main {commit}", f"v1 {self.commit(kind, 'v1')}"]))
                self.we_read(kind, commit, self.expected(kind), [VARIANT])
                self.we_read(kind, self.commit(kind, "v1"), self.expected(kind, "v1"), [VARIANT])
                self.fetch(kind, patterns=["*"])
                self.we_read(kind, commit, self.expected(kind, variants=(VARIANT, OTHER), readme=True), [VARIANT, OTHER])
        self.is_clean(others=True)
        self.assertEqual(len(self.lines("ls")), 4)

    def test_theirs_without_symlinks_is_read(self):
        commit = self.commit("kernel")
        self.fetch("kernel", HF_HUB_DISABLE_SYMLINKS="1")
        links = [p for p in self.folder("kernel").rglob("*") if p.is_symlink()]
        self.we_read("kernel", commit, self.expected("kernel"), [VARIANT], copies=not links)

    def test_theirs_in_part_is_not_whole(self):
        commit = self.commit("kernel")
        self.fetch("kernel", patterns=[f"build/{VARIANT}/metadata.json", f"build/{VARIANT}/*.py"])
        self.assertEqual(self.lines("variants", "kernel", "owner/name", commit), [])

    def test_each_goes_on_where_the_other_stopped(self):
        commit, wanted = self.commit("kernel"), self.expected("kernel")
        self.we_write("kernel", commit, {p: c for p, c in wanted.items() if not p.endswith(".so")})
        before = {p: p.lstat().st_ino for p in self.folder("kernel").rglob("*") if not p.is_dir() or p.is_symlink()}
        self.fetch("kernel", patterns=["*"])
        self.we_read("kernel", commit, self.expected("kernel", variants=(VARIANT, OTHER), readme=True), [VARIANT, OTHER])
        self.we_write("kernel", commit, self.expected("kernel", variants=(VARIANT, OTHER), readme=True))
        # Neither wrote again what the other had.
        self.assertEqual(before, {p: p.lstat().st_ino for p in before})
        self.they_read("kernel", "main", wanted)
        self.is_clean(others=True)
        self.scan()

    def test_at_once(self):
        commit, wanted = self.commit("kernel"), self.expected("kernel", variants=(VARIANT, OTHER), readme=True)
        code = "import huggingface_hub as h\nh.snapshot_download('owner/name', repo_type='kernel', revision='main')"
        them = [self.client.start("-c", code, program=hub.PYTHON) for _ in range(3)]
        for _ in range(20):
            self.we_write("kernel", commit, wanted)
        for process in them:
            _, err = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, err)
        self.we_read("kernel", commit, wanted, [VARIANT, OTHER])
        self.they_read("kernel", "main", wanted)
        self.is_clean(others=True)
        self.scan()

    def test_theirs_is_removed(self):
        self.fetch("model", "main", ["*"])
        self.fetch("model", "v1", ["*"])
        first, second = self.commit("model"), self.commit("model", "v1")
        self.assertGreater(int(self.tool("rm", "model", "owner/name", first)), 0)
        self.assertEqual([x[2] for x in self.scan()], [second])
        self.they_read("model", "v1", self.expected("model", "v1"))
        self.is_clean(others=True)
        self.tool("rm", "model", "owner/name", second)
        self.assertEqual(self.scan(), [])
        self.assertFalse(self.folder("model").exists())
        self.tool("rm", "model", "owner/name", second, fails="No such file|no such file")

    def test_ours_is_removed(self):
        commit, wanted = self.commit("model"), self.expected("model")
        other = self.commit("model", "v1")
        self.we_write("model", commit, wanted)
        self.we_write("model", other, self.expected("model", "v1"), ("v1",))
        self.theirs("h.scan_cache_dir().delete_revisions(args[0]).execute()", commit)
        self.assertEqual([x.split()[2] for x in self.lines("ls")], [other])
        self.we_read("model", other, self.expected("model", "v1"), [VARIANT])
        self.theirs("h.scan_cache_dir().delete_revisions(args[0]).execute()", other)
        self.assertEqual(self.lines("ls"), [])

    @unittest.skipUnless(HAS_STORE, f"huggingface_hub {VERSION} has no shared blob store")
    def test_shared_store(self):
        commit, wanted = self.commit("kernel"), self.expected("kernel")
        model = self.commit("model")
        self.fetch("kernel")
        self.fetch("model")
        path = f"build/{VARIANT}/_k.so"
        blob = self.tool("read", "kernel", "owner/name", commit, path).partition(b"\n")[0].decode()
        # What it does with a file that came by xet: the one is moved into the store, the other linked to it.
        said = self.theirs(
            "from huggingface_hub.utils import _shared_blobs as s\n"
            "cache, one, two, xet, size = args\n"
            "say(s.publish_blob_to_shared_store(blob_path=one, xet_hash=xet, cache_dir=cache, expected_size=int(size)))\n"
            "os.unlink(two)\n"
            "say(s.try_link_from_shared_store(blob_path=two, xet_hash=xet, cache_dir=cache, expected_size=int(size)))",
            self.cache, self.folder("kernel") / "blobs" / blob, self.folder("model") / "blobs" / blob, XET, len(wanted[path]))
        self.assertEqual(said, [True, True])
        store = self.cache / "blobs" / "ab" / XET
        before = store.lstat()
        for env in ({}, {"HF_HUB_DISABLE_SHARED_BLOBS": "1"}):
            self.they_read("kernel", "main", wanted, **env)
            self.scan(**env)
        self.we_read("kernel", commit, wanted, [VARIANT])
        self.we_read("model", model, self.expected("model"), [VARIANT])
        self.we_write("kernel", commit, wanted)  # there already
        self.assertEqual(os.readlink(self.folder("kernel") / "blobs" / blob), f"../../blobs/ab/{XET}")
        if has_verb("download"):
            self.download(env={"HF_HUB_OFFLINE": "1"})
            self.download()
            self.assertEqual(os.readlink(self.folder("kernel") / "blobs" / blob), f"../../blobs/ab/{XET}")
        sizes = {line.split()[0]: line.split()[3:5] for line in self.lines("ls")}
        self.assertEqual(int(sizes["kernel"][0]) - int(sizes["kernel"][1]), len(wanted[path]))
        # We take away what is ours to take.
        self.tool("rm", "kernel", "owner/name", commit)
        self.assertFalse(self.folder("kernel").exists())
        after = store.lstat()
        self.assertEqual((before.st_ino, before.st_size, before.st_mode, before.st_mtime_ns),
                         (after.st_ino, after.st_size, after.st_mode, after.st_mtime_ns))
        self.we_read("model", model, self.expected("model"), [VARIANT])
        self.they_read("model", "main", self.expected("model"))
        self.scan()
        # And its own collection is not in doubt about what we left.
        self.theirs("h.scan_cache_dir().delete_revisions(args[0]).execute()", model)
        self.assertFalse(store.exists())
        self.scan()

    def download(self, *options, status=0, says=None, env=None, **how):
        """`kernels download` of the variant, or as the options say."""
        options = ("owner/name", "--trust-remote-code", *(options or ("--variant", VARIANT, "--revision", "main")))
        return self.expect(self.client.run("download", *options, env=env, **how), status, says)

    @unittest.skipUnless(has_verb("download"), "kernels has no verb download")
    def test_we_download_they_read(self):
        wanted = self.expected("kernel")
        for env in ({}, {"HF_HUB_DISABLE_SYMLINKS": "1"}):
            with self.subTest(env):
                shutil.rmtree(self.cache, ignore_errors=True)
                self.download(env=env)
                self.download("--version", "1", "--variant", VARIANT, env=env)
                self.is_clean(copies=bool(env))
                self.we_read("kernel", self.commit("kernel"), wanted, [VARIANT], copies=bool(env))
                self.they_read("kernel", "main", wanted, **env)
                self.they_read("kernel", "v1", self.expected("kernel", "v1"), **env)
                self.scan(**env)
                self.fetch("kernel", "main", ["*"], **env)
                self.download(env=env | {"HF_HUB_OFFLINE": "1"})
                self.download("--variant", OTHER, "--revision", "main", env=env | {"HF_HUB_OFFLINE": "1"})
                self.scan(**env)

    @unittest.skipUnless(has_verb("download"), "kernels has no verb download")
    def test_they_download_we_read(self):
        for env in ({}, {"HF_HUB_DISABLE_SYMLINKS": "1"}):
            with self.subTest(env):
                shutil.rmtree(self.cache, ignore_errors=True)
                self.fetch("kernel", **env)
                commit = self.commit("kernel")
                for revision in ("main", commit, commit[:9]):
                    self.download("--variant", VARIANT, "--revision", revision, env=env | {"HF_HUB_OFFLINE": "1"})
                self.download("--variant", OTHER, "--revision", "main", env=env | {"HF_HUB_OFFLINE": "1"}, status=None)
                self.download(env=env)
                self.download("--all-variants", "--revision", "main", env=env)
                self.we_read("kernel", commit, self.expected("kernel", variants=(VARIANT, OTHER)), [VARIANT, OTHER],
                             copies=bool(env))
                self.they_read("kernel", "main", self.expected("kernel"), **env)
                self.scan(**env)

    @unittest.skipUnless(has_verb("cache"), "kernels has no verb cache")
    def test_cache_verb(self):
        self.fetch("kernel")
        done = self.expect(self.client.run("cache", "ls"))
        self.assertRegex(done.stdout, re.escape("owner/name"))
        self.expect(self.client.run("cache", "rm", "owner/name", "--yes"))
        self.assertFalse(self.folder("kernel").exists())
        self.scan()


if __name__ == "__main__":
    print(f"huggingface_hub {VERSION}", file=sys.stderr)
    unittest.main()
