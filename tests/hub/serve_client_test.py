"""serve_client_test.py PROGRAM BUILD: huggingface_hub itself against `kernels serve`."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

from server import Server, commit_of, environment, write_ref

PROGRAM, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
FILES = {"README.md": "# relu\n", "build/v1/metadata.json": '{"name": "relu"}\n', "build/v1/relu.so": os.urandom(3 << 20), "empty": b"",
         "build/v2/a b#c.py": "pass\n"}
TAGGED = {"README.md": "tagged\n", "build/v1/metadata.json": "{}"}
TREES = {"kernel": "kernels/acme/relu", "model": "models/acme/relu"}


class Client(unittest.TestCase):
    """A process for each test: the library reads its settings at import."""

    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="kernels-serve-"))
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        for place in TREES.values():
            write_ref(cls.top / "tree", f"{place}/branches/main", FILES)
            write_ref(cls.top / "tree", f"{place}/branches/v1", TAGGED)
            write_ref(cls.top / "tree", f"{place}/tags/v0.1.0", TAGGED)
            write_ref(cls.top / "tree", f"{place}/branches/feature%2Fx", TAGGED)
        cls.server = Server(PROGRAM, cls.top / "tree", "--page-size=2")
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.home = self.top / self.id()

    def run_client(self, text, server=None, **more):
        """Runs lines of Python for both types; what they `say` comes back."""
        head = "import json, sys\nimport huggingface_hub as h\nfrom huggingface_hub.errors import *\napi, said = h.HfApi(), []\nsay = said.append\n"
        told = {}
        for kind in TREES:
            script = head + f"kind, repo = {kind!r}, 'acme/relu'\n" + textwrap.dedent(text) + "\nprint(json.dumps(said))"
            done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120,
                                  env=environment(server or self.server, self.home, **more))
            self.assertEqual(done.returncode, 0, done.stderr)
            told[kind] = json.loads(done.stdout)
        self.assertEqual(told["kernel"], told["model"])
        return told["kernel"]

    def read(self, snapshot):
        root = pathlib.Path(snapshot)
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    def bytes_of(self, files):
        return {p: d.encode() if isinstance(d, str) else d for p, d in files.items()}

    def test_looking(self):
        main, tagged = commit_of(FILES), commit_of(TAGGED)
        said = self.run_client("""
            refs = api.list_repo_refs(repo, repo_type=kind, include_pull_requests=True)
            say([[b.name, b.target_commit] for b in refs.branches]), say([[t.ref, t.target_commit] for t in refs.tags])
            say([api.repo_info(repo, repo_type=kind, revision=r).sha for r in (None, "v1", "feature/x", "v0.1.0", "refs/heads/main", said[0][0][1][:8])])
            tree = list(api.list_repo_tree(repo, repo_type=kind, recursive=True))
            say(sorted([e.path, getattr(e, "size", None), e.lfs.sha256 if getattr(e, "lfs", None) else None] for e in tree))
            say(sorted(e.path for e in api.list_repo_tree(repo, "build/v1", repo_type=kind, revision="feature/x", expand=True)))
            say(sorted(api.list_repo_files(repo, repo_type=kind)))
            say([api.file_exists(repo, p, repo_type=kind) for p in ("README.md", "build/v2/a b#c.py", "nope", "build")])
            say([api.repo_exists(repo, repo_type=kind), api.repo_exists("acme/no", repo_type=kind),
                 api.revision_exists(repo, "v1", repo_type=kind), api.revision_exists(repo, "v9", repo_type=kind)])
            say(sorted(e.path for e in api.get_paths_info(repo, ["README.md", "build", "nope"], repo_type=kind)))
            say(api.get_organization_overview("acme").trustedKernelPublisher)
        """)
        so = FILES["build/v1/relu.so"]
        sizes = [[p, len(d), hashlib.sha256(d).hexdigest() if d is so else None] for p, d in self.bytes_of(FILES).items()]
        self.assertEqual(said, [
            [["feature/x", tagged], ["main", main], ["v1", tagged]], [["refs/tags/v0.1.0", tagged]],
            [main, tagged, tagged, tagged, main, tagged],
            sorted(sizes + [["build", None, None], ["build/v1", None, None], ["build/v2", None, None]]),
            ["build/v1/metadata.json"], sorted(FILES), [True, True, False, False], [True, False, True, False], ["README.md", "build"], True])

    def test_errors(self):
        said = self.run_client("""
            for call in (lambda: api.list_repo_refs("acme/no", repo_type=kind), lambda: api.repo_info(repo, repo_type=kind, revision="v9"),
                         lambda: list(api.list_repo_tree(repo, "nope", repo_type=kind)), lambda: h.hf_hub_download(repo, "nope", repo_type=kind),
                         lambda: h.hf_hub_download(repo, "README.md", repo_type=kind, revision="../../x"),
                         lambda: h.snapshot_download("acme/no", repo_type=kind), lambda: api.get_organization_overview("nobody")):
                try:
                    call()
                    say("nothing")
                except Exception as error:
                    say(type(error).__name__)
        """)
        self.assertEqual(said[:4], ["RepositoryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError", "RemoteEntryNotFoundError"])
        self.assertEqual(said[5:], ["RepositoryNotFoundError", "HfHubHTTPError"])
        self.assertNotEqual(said[4], "nothing")

    def test_downloads(self):
        said = self.run_client("""
            say(h.hf_hub_download(repo, "build/v1/relu.so", repo_type=kind).split("hub/", 1)[1].replace(f"{kind}s--", ""))
            say(h.snapshot_download(repo, repo_type=kind).replace(f"{kind}s--", ""))
            say(h.snapshot_download(repo, repo_type=kind, revision="feature/x").replace(f"{kind}s--", ""))
            say(h.snapshot_download(repo, repo_type=kind, revision="v0.1.0", allow_patterns=["build/*"]).replace(f"{kind}s--", ""))
            say(api.verify_repo_checksums(repo, repo_type=kind).mismatches)
            info = h.scan_cache_dir()
            say([str(w) for w in info.warnings])
        """)
        main, tagged = commit_of(FILES), commit_of(TAGGED)
        self.assertEqual(said[0], f"acme--relu/snapshots/{main}/build/v1/relu.so")
        self.assertEqual(said[4:], [[], []])
        for kind in ("kernels", "models"):
            snapshots = self.home / "hub" / f"{kind}--acme--relu" / "snapshots"
            self.assertEqual(self.read(snapshots / main), self.bytes_of(FILES))
            self.assertEqual(self.read(snapshots / tagged), self.bytes_of(TAGGED))
            blobs = snapshots.parent / "blobs"
            for path in blobs.iterdir():  # each is what its name says
                data = path.read_bytes()
                self.assertIn(path.name, (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()))

    def test_token(self):
        server = Server(PROGRAM, self.top / "tree", "--token=s3cret")
        self.addCleanup(server.stop)
        self.assertEqual(self.run_client("say(api.repo_info(repo, repo_type=kind).id), say(api.whoami()['name']), say(len(h.snapshot_download(repo, repo_type=kind)) > 0)",
                                         server, HF_TOKEN="s3cret"), ["acme/relu", "reader", True])
        for more in ({}, {"HF_TOKEN": "wrong"}):
            self.assertEqual(self.run_client("""
                try:
                    say(api.repo_info(repo, repo_type=kind).id)
                except HfHubHTTPError as error:
                    say(error.response.status_code)
            """, server, **more), [401])

    def test_with_telemetry(self):
        """What it asks at its start is answered at once."""
        self.assertEqual(self.run_client("say(api.repo_info(repo, repo_type=kind).id)", HF_HUB_DISABLE_TELEMETRY="0"), ["acme/relu"])


if __name__ == "__main__":
    unittest.main()
