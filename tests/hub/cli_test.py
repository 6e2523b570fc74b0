"""The verbs that reach a hub, as a user meets them, against `kernels serve`: what they print, their exit statuses, the shapes of their
JSON; consent, offline use, redirects, both types of repositories, locks; progress and interruption."""

import hashlib
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time
import unittest

import faults
import hub
import hub_tree
from hub_tree import OTHER_VARIANTS, VARIANT, Repo

MAIN_WARNING = "main is used"
CUDA = OTHER_VARIANTS[0]
REVISION = {"id", "type", "ref", "commit", "level", "publisher", "moved_to"}


class Cli(hub.Case):
    serve_options = ("--large", "10000", "--publisher", "kernels-test")

    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.old = Repo(root, "kernels-test/old", "models")
        Repo(root, "stranger/kernel").branch("main").package(hub.BUILD, "rotary")
        moved = Repo(root, "kernels-test/moved").branch("main").package(hub.BUILD, "rotary")
        moved.write("kernel-status.toml", f'kind = "redirect"\ndestination = "{cls.repo.id}"\nrevision = "v1"\n')
        Repo(root, "kernels-test/foreign").branch("main").variant(CUDA, {"fake.so": "x"})

    def run_text(self, *args, status=0, says=None, **how):
        return self.expect(self.client.run(*args, **how), status, says).stdout

    def answers(self, *args, status, **how):
        """An answer that is no is no error: nothing is said on stderr, whatever the status."""
        done = self.client.run(*args, **how)
        self.assertEqual((done.returncode, done.stderr), (status, ""), done.stdout)
        return done.stdout

    def run_json(self, *args, status=0, **how):
        return json.loads(self.run_text(*args, "--json", status=status, **how))

    def commit(self, ref="main", repo=None):
        rows = self.run_json("versions", (repo or self.repo).id)["refs"]
        return next(row["commit"] for row in rows if row["ref"] == ref)

    def project(self, table, name="project"):
        directory = self.dir / name
        directory.mkdir()
        lines = "".join(f'"{k}" = {json.dumps(v)}\n' for k, v in table.items())
        (directory / "pyproject.toml").write_text(f"[tool.kernels.dependencies]\n{lines}")
        self.run_text("lock", directory)
        return directory

    # --- versions ---

    def test_versions(self):
        rows = [  # options, status, chosen, reason
            ([], 0, "main", "without a version, main is used"),
            (["--version", ">=0.0.2,<0.1"], 0, "v0.0.5.post1", "newest that satisfies >=0.0.2,<0.1"),
            (["--version", "1"], 0, "v1", "asked for by name"),
            (["--revision", "v0.0.2"], 0, "v0.0.2", "asked for by name"),
            (["--version", "==0.0.9"], 1, None, None),
            (["--version", "7"], 1, None, None),
        ]
        for options, status, chosen, reason in rows:
            with self.subTest(options):
                found = json.loads(self.answers("versions", self.repo.id, *options, "--json", status=status))
                self.assertEqual(set(found), {"repository", "type", "complete", "chosen", "refs"})
                self.assertEqual((found["repository"], found["type"], found["complete"]), (self.repo.id, "kernel", True))
                self.assertEqual(found["chosen"], chosen)
                taken = [row for row in found["refs"] if row["chosen"]]
                self.assertEqual([(row["ref"], row["reason"]) for row in taken], [(chosen, reason)] if chosen else [])
                for row in found["refs"]:
                    self.assertEqual(set(row), {"ref", "kind", "version", "commit", "chosen", "reason"})
                    self.assertRegex(row["commit"], r"\A[0-9a-f]{40}\Z")
                text = self.answers("versions", self.repo.id, *options, status=status)
                marked = [line for line in text.splitlines() if line.startswith(">")]
                self.assertEqual([line.split()[1] for line in marked], [chosen] if chosen else [])
                if not chosen:
                    self.assertIn(f"nothing of it is taken for {options[1]}", text)
        order = [row["version"] for row in self.run_json("versions", self.repo.id)["refs"] if row["kind"] == "tag" and row["version"]]
        self.assertEqual(order, hub_tree.VERSIONS)
        self.assertEqual(self.run_json("versions", self.old.id)["type"], "model")

    def test_versions_refused(self):
        rows = [
            (["kernels-test/none"], 1, "kernels-test/none: .*there is no such repository"),
            (["none"], 2, "owner/name"),
            ([self.repo.id, "--version", "0.1"], 2, 'version specifier: "0.1": accepted is one of'),
            ([self.repo.id, "--version", "1", "--revision", "main"], 2, "at most one of revision, version"),
            ([self.repo.id, "--endpoint", "ftp://x"], 2, "ftp://x"),
            ([self.repo.id, "--offline"], 1, "offline mode, and it is not in the cache"),
        ]
        for args, status, says in rows:
            with self.subTest(args):
                self.run_text("versions", *args, status=status, says=says)
        self.download("--version", "==0.0.4")
        found = self.run_json("versions", self.repo.id, "--offline", "--version", ">0")
        self.assertEqual((found["complete"], [row["ref"] for row in found["refs"]]), (False, ["v0.0.4"]))
        self.assertIn("as far as it is in the cache", self.run_text("versions", self.repo.id, "--offline", "--version", ">0"))

    # --- download ---

    def test_download(self):
        directory = self.download(says=MAIN_WARNING)
        self.same(directory, self.repo.branch("main"))
        for options, ref in ((["--version", "1"], self.repo.branch("v1")), (["--version", "~=0.0.1"], self.repo.tag("v0.0.5.post1")),
                             (["--revision", "v0.0.2"], self.repo.tag("v0.0.2")),
                             (["--revision", self.commit("v0.1.0")], self.repo.tag("v0.1.0")),
                             (["--revision", self.commit("v0.0.3")[:9]], self.repo.tag("v0.0.3"))):
            with self.subTest(options):
                directory = self.download(*options)
                self.same(directory, ref)
                n, again = self.client.sockets("download", self.repo.id, *options, "--offline", "--trust-remote-code")
                self.assertEqual((n, again.returncode, again.stdout), (0, 0, f"{directory}\n"), again.stderr)
        self.check_cache()

    def test_download_of_several(self):
        found = self.run_json("download", self.repo.id, "kernels-test/none", self.old.id, status=1)["kernels"]
        self.assertEqual([k["asked"] for k in found], [self.repo.id, "kernels-test/none", self.old.id])
        self.assertEqual([k["error"] is None for k in found], [True, False, True])
        for kernel in found:
            self.assertEqual(set(kernel), {"asked", "repository", "variants", "snapshot", "error"})
        self.assertEqual(set(found[0]["repository"]), REVISION)
        self.assertEqual([k["repository"] and k["repository"]["type"] for k in found], ["kernel", None, "model"])
        self.assertEqual([(v["variant"], v["device"]) for v in found[2]["variants"]], [(VARIANT, "cpu")])
        text = self.run_text("download", self.repo.id, "kernels-test/none", self.old.id, status=1, says="download: kernels-test/none: ")
        self.assertEqual(text.splitlines(), [k["variants"][0]["path"] for k in (found[0], found[2])])
        self.check_cache()

    def test_download_of_variants(self):
        snapshot = self.download("--all-variants")
        self.assertEqual(sorted(os.listdir(snapshot / "build")), sorted([VARIANT, *OTHER_VARIANTS]))
        found = self.run_json("download", self.repo.id, "--all-variants")["kernels"][0]
        self.assertEqual((found["snapshot"], len(found["variants"])), (str(snapshot), 1 + len(OTHER_VARIANTS)))
        self.client = hub.Client(self.dir / "other", self.proxy.url)
        text = self.run_text("download", self.repo.id, "--variant", CUDA, "--variant", OTHER_VARIANTS[1])
        self.assertEqual([pathlib.Path(line).name for line in text.splitlines()], OTHER_VARIANTS[:2])
        self.assertEqual(sorted(p.name for p in pathlib.Path(text.splitlines()[0]).parent.iterdir()), sorted(OTHER_VARIANTS[:2]))
        self.run_text("download", self.repo.id, "--variant", "none", status=1, says="has no build variant none")
        self.check_cache()

    def test_download_refused(self):
        rows = [
            (["none"], 2, "expected owner/name|owner/name"),
            ([self.repo.id, "--version", "==0.0.9"], 1, "No version of .* satisfies requirement"),
            ([self.repo.id, "--device", "toaster"], 2, "--device: "),
            (["kernels-test/foreign"], 1, "none of its 1 build variants is for cpu"),
            ([self.repo.id, "--variant", "a", "--all-variants"], 2, "one of --variant, --all-variants and --device"),
            ([self.repo.id, "--variant", "../../.."], 2, "variant"),
            ([self.repo.id, "--offline"], 1, "offline mode"),
            ([self.dir], 1, f"No kernels.lock file found in: {self.dir}"),
            ([self.dir, "--version", "1"], 2, "is a directory: its lock says which revisions are meant"),
        ]
        for args, status, says in rows:
            with self.subTest(args):
                self.assertEqual(self.run_text("download", *args, status=status, says=says), "")
        self.assertFalse(self.has_variant())

    def test_consent(self):
        """A stranger, and an endpoint whose word does not count: nothing but metadata reaches the cache without consent."""
        for repo, env, says in (("stranger/kernel", {}, "'stranger' .*: expected trust_remote_code"),
                                (self.repo.id, {"KERNELS_TRUSTED_ENDPOINTS": None}, "is not trusted to do so: expected trust_remote_code")):
            with self.subTest(repo):
                self.setUp()
                for verb in ("download", "check", "verify"):
                    done = self.client.run(verb, repo, env=env)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertRegex(done.stderr + done.stdout, says)
                self.assertEqual(list(self.client.cache.glob("*/snapshots/*")), [])
                found = self.run_json("info", repo, env=env)["repository"]
                self.assertRegex(found["refused"], says)
                self.assertIsNone(found["publisher"])
                self.assertEqual(list(self.client.cache.glob("*/snapshots/*")), [])
                for verb in ("download", "check", "verify"):
                    self.run_text(verb, repo, "--trust-remote-code", env=env)
                self.run_text("download", repo, "--offline", "--trust-remote-code", env=env)
                self.run_text("download", repo, "--offline", status=1, env=env)  # an earlier download is no consent

    def test_redirect(self):
        done = self.expect(self.client.run("download", "kernels-test/moved"), says=f"redirected to '{self.repo.id}@v1'")
        self.assertIn("kernels--kernels-test--moved", done.stdout)
        found = self.run_json("download", "kernels-test/moved", "--follow-redirects")["kernels"][0]
        self.assertEqual((found["asked"], found["repository"]["id"], found["repository"]["ref"]), ("kernels-test/moved", self.repo.id, "v1"))
        self.same(pathlib.Path(found["variants"][0]["path"]), self.repo.branch("v1"))
        self.assertIn(f"  moved to     {self.repo.id}@v1\n", self.run_text("info", "kernels-test/moved"))

    def test_redirect_offline(self):
        """What was followed once is followed in the same way without the network, and the cache is as huggingface_hub leaves it."""
        self.run_text("download", "kernels-test/moved", "--follow-redirects", says=MAIN_WARNING)
        n, done = self.client.sockets("download", "kernels-test/moved", "--follow-redirects", "--offline", "--json")
        self.assertEqual((n, done.returncode), (0, 0), done.stderr)
        (found,) = json.loads(done.stdout)["kernels"]
        self.assertEqual((found["repository"]["id"], found["repository"]["moved_to"]), (self.repo.id, f"{self.repo.id}@v1"))
        self.same(pathlib.Path(found["variants"][0]["path"]), self.repo.branch("v1"))
        self.run_text("download", "kernels-test/moved", "--offline", status=1, says="'kernels-test/moved' redirected to|no build variant")
        self.check_cache()

    def test_cache_dir(self):
        """Below the working directory, as everything in a shell is."""
        done = self.client.run("-c", f'cd "{self.dir}" && exec "$0" download {self.repo.id} --cache-dir here', hub.PROGRAM, program="/bin/bash")
        self.expect(done)
        self.assertTrue(done.stdout.startswith(f"{self.dir}/here/kernels--kernels-test--activation/"), done.stdout)
        self.assertFalse(self.client.cache.exists())
        for verb in ("download", "info", "versions"):
            self.run_text(verb, self.repo.id, "--cache-dir", "", status=2, says='cache_dir: "" is a relative path')
        self.run_text("cache", "ls", "--cache-dir", "", status=2, says='cache_dir: "" is a relative path')

    def test_site_cache(self):
        """Filled by one, read by others, offline; it is nobody's to list or remove."""
        site = self.dir / "site"
        self.run_text("download", self.repo.id, "--version", "1", "--cache-dir", site)
        self.assertFalse(self.client.cache.exists())
        env = {"KERNELS_SITE_CACHES": str(site), "HF_HUB_OFFLINE": "1"}
        directory = self.run_text("download", self.repo.id, "--version", "1", env=env)
        self.assertTrue(directory.startswith(f"{site}/"), directory)
        self.assertTrue(self.run_text("verify", self.repo.id, "--version", "1", env=env).startswith("transport "))
        self.assertEqual(self.run_json("cache", "ls", env=env)["snapshots"], [])
        self.run_text("cache", "rm", self.repo.id, "--yes", env=env, status=1, says="there is no")
        self.assertFalse(self.client.cache.exists())

    # --- locks ---

    def test_download_of_a_lock(self):
        for table in ({self.repo.id: ">=0.0.4,<0.1", self.old.id: ">=0"}, {self.repo.id: 1}):
            with self.subTest(table):
                if self.old.id in table:
                    self.old.tag("v0.1").package(hub.BUILD, "normalization")
                directory = self.project(table, f"project-{len(table)}")
                lines = self.run_text("download", directory).splitlines()
                self.assertEqual(len(lines), len(table))
                found = self.run_json("download", directory)["kernels"]
                self.assertEqual({k["repository"]["level"] for k in found}, {"pinned"})
                self.assertEqual([k["variants"][0]["path"] for k in found], lines)
                answers = self.run_json("verify", directory)["kernels"]
                self.assertEqual([(a["level"], a["right"]) for a in answers], [("pinned", True)] * len(table))
                self.assertIn("SHA-256", json.dumps(answers[0]["trace"]))
                self.run_text("download", directory, "--offline")

    def test_a_lock_without_the_variant(self):
        """The peer's format has torch variants alone: a message, the others go on, and 1 at the end."""
        directory = self.project({self.repo.id: "==0.0.1"})
        (directory / "kernels.lock.sums").unlink()
        lock = json.loads((directory / "kernels.lock").read_text())
        lock.append({"repo_id": "kernels-test/none", "sha": "0" * 40, "variants": {}})
        lock[0]["variants"] = {OTHER_VARIANTS[2]: {"hash": "sha256-" + "0" * 64, "hash_type": "git_lfs_concat"}}
        commit = self.commit(repo=self.old)
        lock.append({"repo_id": self.old.id, "sha": commit, "variants": {}})
        (directory / "kernels.lock").write_text(json.dumps(lock, indent=2))
        said = f"{self.old.id}: No lock found for build variant `{VARIANT}`" # no hash at all is no lock of commits
        self.assertEqual(self.run_text("download", directory, status=1, says=said), "")
        path = pathlib.Path(self.run_text("download", self.old.id, "--revision", commit).strip())
        digest = hashlib.sha256()
        for name in sorted(os.listdir(path)):
            digest.update(name.encode() + bytes.fromhex(pathlib.Path(os.readlink(path / name)).name))
        lock[-1]["variants"] = {VARIANT: {"hash": f"sha256-{digest.hexdigest()}", "hash_type": "git_lfs_concat"}}
        (directory / "kernels.lock").write_text(json.dumps(lock, indent=2))
        text = self.run_text("download", directory, status=1, says=f"{self.repo.id}: No lock found for build variant `{VARIANT}`")
        self.assertEqual(len(text.splitlines()), 1)
        (directory / "kernels.lock").write_text("[{}]")
        self.run_text("download", directory, status=2, says="kernels.lock: entry 0: expected an object")

    # --- info, check ---

    def test_info(self):
        found = self.run_json("info", self.repo.id, "--version", "1")
        self.assertEqual(set(found), {"path", "repository", "variants"})
        self.assertIsNone(found["path"])
        self.assertEqual(set(found["repository"]), REVISION | {"refused"})
        self.assertEqual([v["variant"] for v in found["variants"]], sorted([VARIANT, *OTHER_VARIANTS]))
        ours = next(v for v in found["variants"] if v["variant"] == VARIANT)
        self.assertEqual((ours["name"], len(ours["layers"]), ours["cached"]), ("activation", 10, False))
        self.assertEqual(ours["size_bytes"], sum(map(len, self.repo.branch("v1").files().values())))
        asked = {e.target.rsplit("/", 1)[-1] for e in self.proxy.requests("/resolve/")}
        self.assertLessEqual(asked, {"metadata.json", "kernel-status.toml"})
        self.assertFalse(self.has_variant())
        text = self.run_text("info", self.repo.id, "--version", "1")
        self.assertTrue(text.startswith(f"{self.repo.id} at {self.commit('v1')} (v1)\n  type         kernel\n  level        transport\n"), text)
        self.download("--version", "1")
        found = self.run_json("info", self.repo.id, "--version", "1", "--offline")
        self.assertEqual([(v["variant"], v["cached"]) for v in found["variants"]], [(VARIANT, True)])
        self.run_text("info", "kernels-test/none", status=1, says="there is no such repository")
        self.run_text("info", hub.BUILD / "packages/activation", "--version", "1", status=2, says="is a directory")

    def test_check(self):
        """What its name or metadata rules out is not downloaded."""
        found = self.run_json("check", self.repo.id, "--version", "1")
        self.assertEqual(set(found), {"path", "repository", "usable", "variants"})
        self.assertEqual({v["variant"]: (v["runs"], v["digests"]) for v in found["variants"]},
                         {VARIANT: (True, "right")} | {v: (False, "unknown") for v in OTHER_VARIANTS})
        self.assertEqual(os.listdir(next(self.client.cache.glob("*/snapshots/*/build"))), [VARIANT])
        self.assertEqual({e.target.split("/")[-2] for e in self.proxy.requests("/resolve/.*/build/")}, {VARIANT})
        self.assertRegex(self.run_text("check", self.repo.id, "--version", "1"), f"(?m)^runs    {VARIANT} on cpu:0, digests: right$")
        self.run_text("check", "kernels-test/foreign", status=1)
        found = json.loads(self.client.run("check", "kernels-test/foreign", "--device", "cuda:9.0@12.8", "--json").stdout)
        self.assertIn("no ELF file", found["variants"][0]["reason"])  # fetched, and refused by what is in it

    # --- verify ---

    def test_verify(self):
        (answer,) = self.run_json("verify", self.repo.id, "--version", "1")["kernels"]
        self.assertEqual(set(answer), {"subject", "repository", "variant", "path", "right", "level", "digests", "runs", "reason", "trace"})
        self.assertEqual((answer["right"], answer["level"], answer["digests"], answer["runs"]), (True, "transport", "right", True))
        for options, compared in (([], f"its 4 files are those that {self.proxy.url} lists"),
                                  (["--offline"], "4 of its 4 files have the hashes that they are kept under in the cache")):
            text = self.run_text("verify", self.repo.id, "--version", "1", *options)
            self.assertIn(compared, text)
            self.assertTrue(text.startswith(f"transport {self.repo.id}, {VARIANT}\n"), text)
            self.assertNotIn("verified", text)
        text = self.run_text("verify", hub.BUILD / "packages/activation")
        self.assertTrue(text.startswith("none "), text)
        self.run_text("verify", hub.BUILD / "packages/activation", "--lock", "x", status=2, says="--lock is for repositories")
        self.run_text("verify", self.dir / "none", status=2)

    def test_verify_sees_every_change(self):
        """A blob, a link, a file too many, one too few: of a package whose own digests were made to agree."""
        directory = self.download("--version", "1")
        cached = directory / "layers.py"
        blob = cached.resolve()
        content, link = blob.read_bytes(), os.readlink(cached)

        def refused(*says, options=()):
            for more, text in zip(([], ["--offline"]), says):
                done = self.client.run("verify", self.repo.id, "--version", "1", *more, *options)
                self.assertEqual(done.returncode, 0 if text is None else 1, done.stdout + done.stderr)
                if text:
                    self.assertRegex(done.stdout + done.stderr, text)
        refused(None, None)
        blob.chmod(0o644)
        blob.write_bytes(content.replace(b"import", b"Import", 1))
        refused("layers.py", "layers.py")
        blob.write_bytes(content)
        refused(None, None)
        cached.unlink()
        refused(None, None)  # online it is fetched again; so it is there for the second
        self.assertEqual(os.readlink(cached), link)
        (directory / "extra.py").symlink_to(link)
        refused("extra.py", "extra.py")

    def test_verify_with_a_lock(self):
        directory = self.project({self.repo.id: "==0.0.4"})
        lock, sums = directory / "kernels.lock", directory / "kernels.lock.sums"
        for options in (["--lock", lock], ["--lock", sums, "--version", "==0.0.4"]):
            (answer,) = self.run_json("verify", self.repo.id, *options)["kernels"]
            self.assertEqual((answer["right"], answer["level"]), (True, "pinned"))
        self.run_text("verify", self.repo.id, "--lock", lock, "--version", "1", status=2, says="at most one of")
        for no_lock in ("", directory / "no.lock", directory / "no.lock.sums", directory):
            self.run_text("verify", self.repo.id, "--lock", no_lock, status=2, says="--lock: '.*' is no file")
        locked = json.loads(sums.read_text())
        self.assertTrue(self.answers("verify", self.old.id, "--lock", lock, status=1).startswith("refused "))
        # Bytes that are those of the hub, but not those that were locked.
        variant = locked["kernels"][0]["variants"][VARIANT]
        variant["files"]["layers.py"]["sha256"] = "0" * 64
        lines = "".join(f"{f['sha256']} {f['size']} {p}\n" for p, f in sorted(variant["files"].items()))
        variant["manifest"] = hashlib.sha256(lines.encode()).hexdigest()
        sums.write_text(json.dumps(locked, indent=2) + "\n")
        self.assertRegex(self.answers("verify", self.repo.id, "--lock", lock, status=1), "(?m)^refused .*\n(.*\n)*.*layers.py")

    # --- cache ---

    def test_cache(self):
        self.assertEqual(self.run_json("cache", "ls")["snapshots"], [])
        for options in (["--version", "1"], ["--version", "==0.1.0"]):
            self.download(*options)
        self.run_text("download", self.old.id)
        listed = self.run_json("cache", "ls")
        self.assertEqual(set(listed), {"cache", "snapshots"})
        self.assertEqual(listed["cache"], str(self.client.cache))
        self.assertEqual(sorted((s["repository"], s["type"], s["refs"]) for s in listed["snapshots"]),
                         [(self.repo.id, "kernel", ["v0.1.0"]), (self.repo.id, "kernel", ["v1"]), (self.old.id, "model", ["main"])])
        for s in listed["snapshots"]:
            self.assertEqual(set(s), {"repository", "type", "commit", "refs", "variants", "size_bytes", "unique_bytes", "modified"})
            self.assertEqual(s["variants"], [VARIANT])
        on_disk = sum(f.stat().st_size for f in self.client.cache.glob("*/blobs/*"))
        used = self.run_json("cache", "du")
        self.assertEqual(used["size_bytes"], on_disk)
        self.assertEqual([(r["repository"], r["snapshots"]) for r in used["repositories"]], [(self.repo.id, 2), (self.old.id, 1)])
        self.assertIn(f"{self.repo.id}, 2 snapshots\n", self.run_text("cache", "du"))
        self.assertEqual(len(self.run_json("cache", "ls", self.old.id)["snapshots"]), 1)
        self.run_text("cache", "ls", "x/y", status=1, says="there is no x/y in the cache")

    def test_cache_rm(self):
        self.download("--version", "1")
        self.download("--version", "==0.1.0")
        commit = self.commit("v1")
        rows = [
            (["rm"], 2, "what is to be removed"), (["rm", self.repo.id], 2, "accepted is --yes"), (["mv"], 2, "accepted are ls, du and rm"),
            (["ls", "--yes"], 2, "--yes is for rm"), (["rm", self.repo.id, "x/y", "--yes"], 1, "there is no x/y"),
            (["rm", f"{self.repo.id}@{commit[:6]}", "--yes"], 1, "there is no"), (["rm", self.repo.id + "@main", "--yes"], 1, "there is no"),
        ]
        for args, status, says in rows:
            with self.subTest(args):
                self.run_text("cache", *args, status=status, says=says)
                self.assertEqual(len(list(self.client.cache.glob("*/snapshots/*"))), 2)
        before = sum(f.stat().st_size for f in self.client.cache.glob("*/blobs/*"))
        removed = self.run_json("cache", "rm", f"{self.repo.id}@{commit[:7]}", "--yes")
        after = sum(f.stat().st_size for f in self.client.cache.glob("*/blobs/*"))
        self.assertEqual((removed["freed_bytes"], [s["refs"] for s in removed["removed"]]), (before - after, [["v1"]]))
        self.assertGreater(before, after)
        self.download("--version", "==0.1.0", "--offline")
        self.check_cache()
        self.assertIn("free in all", self.run_text("cache", "rm", self.repo.id + "@v0.1.0", "--yes"))
        self.assertEqual(list(self.client.cache.glob("kernels--*")), [])

    def test_cache_of_what_nothing_needs(self):
        """Metadata that was read, and what a broken download left: counted, and removed with the repository."""
        self.run_text("info", self.repo.id, "--version", "1")
        (item,) = self.run_json("cache", "ls")["snapshots"]
        self.assertEqual((item["repository"], item["commit"], item["variants"]), (self.repo.id, None, []))
        self.assertGreater(item["size_bytes"], 0)
        self.assertEqual(self.run_json("cache", "du")["size_bytes"], item["size_bytes"])
        self.download("--version", "1")
        text = self.run_text("cache", "rm", self.repo.id, "--yes")
        self.assertIn(f"removed {self.repo.id}, what no snapshot has", text)
        self.assertEqual(list(self.client.cache.glob("kernels--*")), [])

    def test_cache_rm_asks(self):
        self.download("--version", "1")
        for answer, left in (("n\n", 1), ("y\n", 0)):
            status, text = self.on_terminal("cache", "rm", self.repo.id, types=answer)
            self.assertIn("remove them? [y/N]", text)
            self.assertEqual((status, len(list(self.client.cache.glob("*/snapshots/*")))), (0 if left == 0 else 1, left))

    # --- explain, doctor ---

    def test_explain(self):
        mapping = self.dir / "kernels.toml"
        mapping.write_text(f'[[kernel]]\nlayer = "SiluAndMul"\ndevice = "cpu"\nrepo_id = "{self.repo.id}"\nversion = "~=0.0.1"\n'
                           '[[kernel]]\nlayer = "R"\nlayer_name = "RotaryEmbedding"\ndevice = "cpu"\nrepo_id = "stranger/kernel"\n')
        self.assertIn("offline mode", self.answers("explain", mapping, "--offline", "--layer", "SiluAndMul", status=3))
        (record,) = self.run_json("explain", mapping, "--layer", "SiluAndMul")["layers"]
        self.assertEqual((record["outcome"], record["repository"], record["level"], record["variant"]),
                         ("kernel", self.repo.id, "transport", VARIANT))
        n, done = self.client.sockets("explain", mapping, "--layer", "SiluAndMul", "--offline")
        self.assertEqual((n, done.returncode), (0, 0), done.stderr)
        (record,) = json.loads(self.client.run("explain", mapping, "--layer", "R", "--json").stdout)["layers"]
        self.assertEqual(record["outcome"], "error")
        self.assertIn("expected trust_remote_code", record["reason"])

    def test_doctor(self):
        token = "hf_" + "secret" * 5
        done = self.client.run("doctor", env={"HF_TOKEN": token, "HF_HUB_OFFLINE": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(token, done.stdout + done.stderr)
        for line in (rf"hub          {re.escape(self.proxy.url)}, trusted to vouch for publishers, offline", r"  token      from HF_TOKEN",
                     rf"  cache      {self.client.cache}", r"  libcurl    libcurl/\d.*"):
            self.assertRegex(done.stdout, rf"(?m)^{line}$")
        n, done = self.client.sockets("doctor", "--json", env={"KERNELS_TRUSTED_ENDPOINTS": None})
        found = json.loads(done.stdout)["hub"]
        self.assertEqual(set(found), {"endpoint", "trusted", "offline", "cache", "records", "token", "token_error", "libcurl"})
        self.assertEqual((n, found["trusted"], found["offline"], found["token"]), (0, False, False, None))
        self.assertEqual(self.proxy.log, [])

    # --- progress, interruption ---

    def on_terminal(self, *command, types="", env=None):
        """Exit status and all that is written to a terminal, stderr too."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([hub.PROGRAM, *map(str, command)], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env=self.client.environment | {"TERM": "xterm"} | (env or {}))
        os.close(theirs)
        os.write(ours, types.encode())
        text = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            try:
                piece = os.read(ours, 65536) if ready else b""
            except OSError:  # the other end was closed
                piece = b""
            if not piece:
                break
            text += piece
        os.close(ours)
        return process.wait(60), text.decode()

    def slow(self, seconds=0.1):
        return self.proxy.add(faults.Slow(4000, seconds), path="/resolve/.*layers.py", method="GET")

    def test_a_bar(self):
        for options, is_shown in (([], True), (["--quiet"], False)):
            self.client = hub.Client(self.dir / f"client-{is_shown}", self.proxy.url)
            self.client.environment.pop("HF_HUB_DISABLE_PROGRESS_BARS")
            self.slow()
            status, text = self.on_terminal("download", self.repo.id, "--version", "1", *options)
            self.assertEqual(status, 0, text)
            self.assertEqual(re.search(rf"\r{self.repo.id} \[#* *\] +\d+ % \S+ [kM]B/\S+ [kM]B, \d/3 files, .*/s\x1b\[K", text) is not None, is_shown, text)
            if is_shown:  # and it is gone before the answer
                self.assertIn("\r\x1b[K" + str(self.client.cache), text)

    def test_a_bar_that_waits(self):
        """Another process has the file already on its way."""
        self.client.environment.pop("HF_HUB_DISABLE_PROGRESS_BARS")
        rule = self.proxy.add(faults.Slow(800, 0.2), path="/resolve/.*layers.py", method="GET")
        first = self.client.start("download", self.repo.id, "--version", "1")
        end = time.monotonic() + 60
        while not rule.hits and time.monotonic() < end:
            time.sleep(0.02)
        status, text = self.on_terminal("download", self.repo.id, "--version", "1")
        out, err = first.communicate(timeout=60)
        self.assertEqual((status, first.returncode, err), (0, 0, ""), text)
        self.assertIn("another process fetches it", text)
        self.assertTrue(text.rstrip().endswith(out.rstrip()), text)
        self.assertEqual(rule.hits, 1, self.proxy.requests("layers.py"))

    def test_local_kernels(self):
        """A directory in the place of a repository: none of the hub's rules is asked, and nothing else is said of it."""
        local = {"LOCAL_KERNELS": f"stranger/kernel={hub.BUILD}/packages/activation"}
        (kernel,) = self.run_json("download", "stranger/kernel", env=local)["kernels"]
        self.assertEqual((kernel["repository"], kernel["variants"][0]["path"]), (None, f"{hub.BUILD}/packages/activation/build/{VARIANT}"))
        (answer,) = self.run_json("verify", "stranger/kernel", env=local)["kernels"]
        self.assertEqual((answer["level"], answer["right"], answer["repository"]), ("none", True, None))
        self.assertEqual(self.proxy.log, [])

    def test_no_bar_elsewhere(self):
        """A short download says nothing, one of more than five seconds a line."""
        for seconds, lines in ((0.0, r"\A\Z"), (0.3, rf"\A(kernels: {self.repo.id}: \S+ [kM]B/\S+ [kM]B, \d/3 files, .*/s\n)+\Z")):
            with self.subTest(seconds):
                self.setUp()
                self.proxy.add(faults.Slow(700, seconds), path="/resolve/.*layers.py", method="GET")
                done = self.client.run("download", self.repo.id, "--version", "1", env={"HF_HUB_DISABLE_PROGRESS_BARS": None})
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stderr, lines)

    def test_interruption(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                self.setUp()
                rule = self.proxy.add(faults.Slow(10, 0.5), path="/resolve/.*layers.py", method="GET")
                process = self.client.start("download", self.repo.id, self.old.id, "stranger/kernel", "--revision", "main")
                end = time.monotonic() + 60
                while not rule.hits and time.monotonic() < end:
                    time.sleep(0.02)
                time.sleep(0.2)
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, -number, err)
                self.assertNotIn(self.repo.folder, out)
                self.assertEqual(len(re.findall("(?m)^kernels: download: .*cancelled", err)), 1, err)
                self.assertFalse(self.has_variant())
                self.proxy.clear()
                self.download("--version", "1")
                self.check_cache()


if __name__ == "__main__":
    unittest.main()
