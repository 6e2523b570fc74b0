"""kernels lock, against kernels serve: what it pins, what it keeps, what it writes and when it says that a lock is stale."""

import hashlib
import json
import os
import pathlib
import unittest

import faults
import hub
from hub_tree import Repo

TORCH = "torch29-cxx11-cpu-x86_64-linux"
TORCH_CUDA = "torch28-cxx11-cu126-x86_64-linux"
TVM = "tvm-ffi01-cpu-x86_64-linux"
LOCKS = pathlib.Path(__file__).resolve().parent / "locks"
PEER_SPECIFIERS = {"kernels-test/old": ">=0.0.1,<0.1", "kernels-test/norm": "==0.0.1"}
PEER_INTEGERS = {"kernels-test/activation": 2, "kernels-test/RMS": 1}


def sums_of(ref, variant):
    files = {p: {"sha256": hashlib.sha256(c).hexdigest(), "size": len(c)} for p, c in sorted(ref.files(variant).items())}
    text = "".join(f"{f['sha256']} {f['size']} {p}\n" for p, f in files.items())
    return {"manifest": hashlib.sha256(text.encode()).hexdigest(), "files": files}


class Lock(hub.Case):
    serve_options = ("--publisher", "kernels-test")

    @classmethod
    def make_tree(cls, root):
        cls.refs = {}
        for kind, repo_id in (("kernels", "kernels-test/activation"), ("kernels", "kernels-test/RMS"), ("models", "kernels-test/old"),
                              ("models", "kernels-test/norm"), ("kernels", "stranger/activation")):
            repo = Repo(root, repo_id, kind)
            for ref in [repo.tag(f"v{v}") for v in ("0.0.1", "0.0.2", "0.1.0")] + [repo.branch(b) for b in ("main", "v1", "v2")]:
                name = ref.dir.name
                for variant in (TORCH_CUDA, TORCH, TVM):
                    ref.variant(variant, {"__init__.py": "", "layers.py": f"ref = '{name}'\n", "_k.abi3.so": b"\x7fELF" + name.encode(),
                                          "pkg/__init__.py": "from .. import *\n"})
                ref.write("README.md", f"# {name}\n")
                cls.refs[repo_id, name] = ref
        Repo(root, "kernels-test/gone").branch("v1").variant(TORCH, {"a.py": ""}).write(
            "kernel-status.toml", 'kind = "redirect"\ndestination = "kernels-test/activation"\n')

    def project(self, table, name="project"):
        directory = self.dir / name
        directory.mkdir(exist_ok=True)
        lines = "".join(f'"{k}" = {json.dumps(v)}\n' for k, v in table.items())
        (directory / "pyproject.toml").write_text(f"[tool.kernels.dependencies]\n{lines}")
        return directory

    def lock(self, path, *options, status=0, says=None, **how):
        return self.expect(self.client.run("lock", path, *options, **how), status, says)

    def stale(self, path, *options, **how):
        done = self.client.run("lock", path, "--check", "--json", *options, **how)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["current"], done.returncode == 0)
        return done.returncode == 1

    def read(self, directory, name="kernels.lock"):
        lock = json.loads((directory / name).read_text())
        sums = json.loads((directory / (name + ".sums")).read_text())
        return lock, sums

    def test_hashed(self):
        directory = self.project({"kernels-test/old": ">=0.0.1,<0.1", "kernels-test/activation": "==0.0.1"})
        self.lock(directory)
        lock, sums = self.read(directory)
        self.assertEqual([e["repo_id"] for e in lock], ["kernels-test/old", "kernels-test/activation"])
        self.assertEqual([k["ref"] for k in sums["kernels"]], ["v0.0.2", "v0.0.1"])
        self.assertEqual([k["repo_type"] for k in sums["kernels"]], ["model", "kernel"])
        self.assertEqual(sums["source"], "pyproject.toml")
        for entry, kernel in zip(lock, sums["kernels"]):
            ref = self.refs[entry["repo_id"], kernel["ref"]]
            self.assertEqual(entry["sha"], kernel["commit"])
            self.assertEqual(list(entry["variants"]), sorted([TORCH, TORCH_CUDA]))
            self.assertEqual(list(kernel["variants"]), sorted([TORCH, TORCH_CUDA, TVM]))
            for variant, written in kernel["variants"].items():
                self.assertEqual(written, sums_of(ref, variant))
        text = (directory / "kernels.lock").read_text()
        self.assertEqual(text, json.dumps(lock, indent=2))
        self.assertFalse(self.stale(directory))

    def test_commits(self):
        directory = self.project({"kernels-test/old": 2, "kernels-test/activation": 1})
        self.lock(directory)
        lock, sums = self.read(directory)
        self.assertEqual([e["dependency"] for e in lock], [{"repo-id": "kernels-test/activation", "version": 1},
                                                           {"repo-id": "kernels-test/old", "version": 2}])
        by_id = {k["repo_id"]: k for k in sums["kernels"]}
        for entry in lock:
            kernel = by_id[entry["dependency"]["repo-id"]]
            self.assertEqual(entry["lock"], {"commit": kernel["commit"]})
            self.assertEqual(kernel["version"], str(entry["dependency"]["version"]))
            self.assertEqual(kernel["ref"], "v" + kernel["version"])
        self.assertEqual((directory / "kernels.lock").read_text(), json.dumps(lock, indent=2))

    def test_current_needs_no_hub(self):
        """What is right stays, byte for byte, without a request; --check too, offline."""
        directory = self.project({"kernels-test/activation": ">=0.0.1"})
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        before = [(f.name, f.read_bytes(), f.stat().st_ino) for f in sorted(directory.iterdir())]
        for options in ((), ("--check",), ("--check", "--offline")):
            n, done = self.client.sockets("lock", directory, *options)
            self.assertEqual((n, done.returncode), (0, 0), done.stderr)
            self.assertIn("is current", done.stdout)
        self.assertEqual(before, [(f.name, f.read_bytes(), f.stat().st_ino) for f in sorted(directory.iterdir())])

    def test_nothing_there(self):
        for path in (self.dir / "none", self.dir / "none.toml"):
            self.lock(path, status=2, says=f"'{path}' is not here: expected a directory with a pyproject.toml, or a mapping file")

    def test_any_version(self):
        """The empty specifier, which every version satisfies, is read back as it was written."""
        directory = self.project({"kernels-test/activation": "", "kernels-test/old": " >= 0.0.1 , < 0.1 "})
        self.lock(directory)
        self.assertEqual([(k["version"], k["ref"]) for k in self.read(directory)[1]["kernels"]],
                         [("", "v0.1.0"), (" >= 0.0.1 , < 0.1 ", "v0.0.2")])
        self.assertFalse(self.stale(directory, "--offline"))
        self.lock(directory, "--update-all")

    def test_pins_stay(self):
        directory = self.project({"kernels-test/activation": "==0.0.1", "kernels-test/old": "==0.0.1"})
        self.lock(directory)
        self.project({"kernels-test/activation": ">=0.0.1", "kernels-test/old": ">=0.0.1"})
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        self.assertEqual([k["ref"] for k in self.read(directory)[1]["kernels"]], ["v0.0.1", "v0.0.1"])
        self.assertFalse(self.stale(directory, "--offline"))
        self.assertTrue(self.stale(directory, "--update", "kernels-test/old"))
        self.lock(directory, "--update", "kernels-test/old")
        self.assertEqual([k["ref"] for k in self.read(directory)[1]["kernels"]], ["v0.0.1", "v0.1.0"])
        self.assertFalse(self.stale(directory, "--update", "kernels-test/old"))
        self.lock(directory, "--update-all")
        self.assertEqual([k["ref"] for k in self.read(directory)[1]["kernels"]], ["v0.1.0", "v0.1.0"])
        self.project({"kernels-test/activation": "<0.1", "kernels-test/old": ">=0.0.1"})
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        self.assertEqual([k["ref"] for k in self.read(directory)[1]["kernels"]], ["v0.0.2", "v0.1.0"])

    def test_a_lock_without_sums(self):
        """The peer's: its commit stays, and is that of the sums."""
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        self.lock(directory)
        old = (directory / "kernels.lock").read_bytes()
        (directory / "kernels.lock.sums").unlink()
        self.project({"kernels-test/activation": "<0.1"})
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        self.assertEqual((directory / "kernels.lock").read_bytes(), old)
        self.assertEqual(self.read(directory)[1]["kernels"][0]["ref"], "v0.0.1")
        (directory / "kernels.lock").unlink()
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        self.assertEqual((directory / "kernels.lock").read_bytes(), old)
        # A lock that somebody made anew goes before older sums.
        self.lock(self.project({"kernels-test/activation": "==0.0.2"}, "other"))
        (directory / "kernels.lock").write_bytes((self.dir / "other" / "kernels.lock").read_bytes())
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        self.assertEqual(self.read(directory)[1]["kernels"][0]["ref"], "v0.0.2")

    def test_edited(self):
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        self.lock(directory)
        good = (directory / "kernels.lock").read_text()
        lock = json.loads(good)
        del lock[0]["variants"][TORCH]
        (directory / "kernels.lock").write_text(json.dumps(lock, indent=2))
        self.assertTrue(self.stale(directory))
        self.lock(directory)
        self.assertEqual((directory / "kernels.lock").read_text(), good)
        sums = (directory / "kernels.lock.sums").read_text()
        (directory / "kernels.lock.sums").write_text(sums.replace('"size": 0', '"size": 1', 1))
        self.lock(directory, status=2, says="kernels.lock.sums: kernels.0..variants.*: manifest: found")
        self.assertEqual((directory / "kernels.lock").read_text(), good)

    def test_removed(self):
        directory = self.project({"kernels-test/activation": 1, "kernels-test/old": 1})
        self.lock(directory)
        self.project({"kernels-test/activation": 1})
        self.assertTrue(self.stale(directory, "--offline"))
        self.lock(directory, "--offline")
        lock, sums = self.read(directory)
        self.assertEqual((len(lock), len(sums["kernels"])), (1, 1))
        self.project({})
        self.lock(directory, "--offline")
        self.assertEqual((directory / "kernels.lock").read_text(), "[]")

    def test_mapping(self):
        path = self.dir / "kernels.toml"
        entry = '[[kernel]]\nlayer = "{}"\ndevice = "cpu"\nrepo_id = "kernels-test/activation"\n{}\n'
        path.write_text(entry.format("A", 'version = ">=0.0.1,<0.1"') + entry.format("B", "version = 1")
                        + entry.format("C", 'revision = "v0.0.1"') + entry.format("D", "") + entry.format("E", "version = 1")
                        + entry.format("F", 'lock = "x.lock"') + entry.format("G", 'sums = "x.lock.sums"'))
        self.assertTrue(self.stale(path))
        self.lock(path)
        self.assertFalse((self.dir / "kernels.lock").exists())
        sums = json.loads((self.dir / "kernels.lock.sums").read_text())
        self.assertEqual(sums["source"], "kernels.toml")
        self.assertEqual([(k.get("version"), k.get("revision"), k["ref"]) for k in sums["kernels"]],
                         [(">=0.0.1,<0.1", None, "v0.0.2"), ("1", None, "v1"), (None, "v0.0.1", "v0.0.1"), (None, None, "main")])
        self.assertFalse(self.stale(path, "--offline"))
        # A project in the same directory would have the same name.
        (self.dir / "pyproject.toml").write_text('[tool.kernels.dependencies]\n"kernels-test/activation" = 1\n')
        self.lock(self.dir, status=2, says="kernels.lock.sums: is of kernels.toml, and pyproject.toml would have the same")
        self.assertFalse((self.dir / "kernels.lock").exists())

    def test_consent(self):
        """In an entry, or on the command line, where the publisher is not trusted."""
        path = self.dir / "m.toml"
        entry = '[[kernel]]\nlayer = "A"\ndevice = "cpu"\nrepo_id = "stranger/activation"\nversion = 1\n'
        path.write_text(entry)
        self.lock(path, status=2, says="stranger")
        self.assertFalse((self.dir / "m.lock.sums").exists())
        path.write_text(entry + "trust_remote_code = true\n")
        self.lock(path)
        directory = self.project({"stranger/activation": 1})
        self.lock(directory, status=2, says="stranger")
        self.lock(directory, "--trust-remote-code")

    def test_as_the_peer(self):
        """locks/ has what kernels 0.11.2 and 0.17.2 wrote against this very tree."""
        for table, name in ((PEER_SPECIFIERS, "kernels-0.11.2.lock"), (PEER_INTEGERS, "kernels-0.17.2.lock")):
            with self.subTest(name):
                directory = self.project(table, name)
                self.lock(directory)
                self.assertEqual((directory / "kernels.lock").read_bytes(), (LOCKS / name).read_bytes())

    def test_failures_write_nothing(self):
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        self.lock(directory)
        before = sorted((f.name, f.read_bytes()) for f in directory.iterdir() if f.name != "pyproject.toml")
        for table, says in (({"kernels-test/activation": "==9"}, "9"), ({"kernels-test/none": ">1"}, "kernels-test/none"),
                            ({"kernels-test/activation": 77}, "77"), ({"kernels-test/activation": 1, "kernels-test/old": ">1"}, ":3: "),
                            ({"kernels-test/activation": True}, "expected a version specifier")):
            with self.subTest(table):
                self.project(table)
                self.lock(directory, status=2, says=says)
        self.project({"kernels-test/activation": "==0.0.1"})
        self.lock(directory, "--update", "kernels-test/old", status=2, says="does not ask for .kernels-test/old.: accepted are kernels-test/activation")
        self.lock(self.dir, status=2, says="pyproject.toml")
        self.lock(self.dir / "none.toml", status=2, says="none.toml")
        self.assertEqual(before, sorted((f.name, f.read_bytes()) for f in directory.iterdir() if f.name != "pyproject.toml"))

    def test_bytes_are_checked(self):
        """A small file whose bytes are not those of its git id is not locked."""
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        self.proxy.add(faults.Wrong(), path="/resolve/.*layers.py", method="GET")
        self.lock(directory, status=2, says="layers.py: what was downloaded has the git id")
        self.assertEqual([f.name for f in directory.iterdir()], ["pyproject.toml"])

    def test_moved(self):
        """A repository that moved is locked as it is; one that is followed is not what was asked for."""
        directory = self.project({"kernels-test/gone": 1})
        self.lock(directory, "--follow-redirects", status=2, says="moved to kernels-test/activation: a lock names what is asked for")
        self.assertEqual([f.name for f in directory.iterdir()], ["pyproject.toml"])
        self.lock(directory)
        self.assertEqual(self.read(directory)[1]["kernels"][0]["repo_id"], "kernels-test/gone")

    def test_hostile_answers(self):
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        for fault, path, says in ((faults.MaskedLfs(), "/tree/", "does not tell what build/.*_k.abi3.so contains: a token"),
                                  (faults.TreePath(), "/tree/", "evil"), (faults.TreeOid(), "/tree/", "evil"),
                                  (faults.TwiceListed(), "/tree/", "twice"), (faults.Commit(), "/refs", "evil"),
                                  (faults.Status(404), "/resolve/.*layers.py", "layers.py|404"),
                                  (faults.Long(), "/resolve/.*layers.py", "layers.py|longer|more")):
            with self.subTest(fault.name):
                self.proxy.add(fault, path=path, method="GET")
                self.lock(directory, status=2, says=says)
                self.assertEqual([f.name for f in directory.iterdir()], ["pyproject.toml"])
                self.proxy.clear()

    def test_broken_bodies_go_on(self):
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        self.proxy.add(faults.Cut(5), path="/resolve/.*layers.py", method="GET", first=2)
        self.lock(directory)
        self.assertFalse(self.stale(directory))
        kernel = self.read(directory)[1]["kernels"][0]
        self.assertEqual(kernel["variants"][TVM], sums_of(self.refs["kernels-test/activation", "v0.0.1"], TVM))

    def test_large_files_are_not_downloaded(self):
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        self.lock(directory)
        paths = [e.target for e in self.proxy.log]
        self.assertFalse([p for p in paths if p.endswith(".so")])
        self.assertEqual(len([p for p in paths if p.endswith("layers.py")]), 1)  # the same in three variants

    def test_read_only(self):
        if os.geteuid() != 0:
            self.skipTest("needs another user")
        directory = self.project({"kernels-test/activation": "==0.0.1"})
        os.chmod(directory, 0o555)
        client = hub.Client(self.dir / "nobody", self.proxy.url, user=hub.NOBODY)
        done = self.expect(client.run("lock", directory), 2, "kernels.lock")
        self.assertNotIn("written", done.stdout)
        self.assertEqual([f.name for f in directory.iterdir()], ["pyproject.toml"])


class Many(hub.Case):
    """Several repositories are asked for at once; what is said and written is in the order of the table."""

    @classmethod
    def make_tree(cls, root):
        cls.ids = [f"kernels-test/r{(i * 17) % 40}" for i in range(40)]
        for repo_id in cls.ids:
            Repo(root, repo_id).tag("v1.0").variant(TORCH, {"a.py": f"# {repo_id}\n", "_k.abi3.so": b"\x7fELF"})

    def setUp(self):
        super().setUp()
        self.write(self.ids)

    def write(self, ids):
        (self.dir / "pyproject.toml").write_text("[tool.kernels.dependencies]\n" + "".join(f'"{i}" = "==1.0"\n' for i in ids))

    def test_order(self):
        done = self.expect(self.client.run("lock", self.dir, "--json"))
        self.assertEqual([step["subject"] for step in json.loads(done.stdout)["trace"]], self.ids)
        self.assertEqual([e["repo_id"] for e in json.loads((self.dir / "kernels.lock").read_text())], self.ids)
        self.assertEqual([k["repo_id"] for k in json.loads((self.dir / "kernels.lock.sums").read_text())["kernels"]], self.ids)
        self.assertLessEqual(len(self.proxy.requests("/api/organizations/")), 1)  # asked once for all

    def test_the_first_failure(self):
        self.write(self.ids[:20] + ["kernels-test/none"] + self.ids[20:] + ["kernels-test/nothing"])
        self.expect(self.client.run("lock", self.dir), 2, "kernels-test/none[^a-z]")
        self.assertEqual([f.name for f in self.dir.iterdir() if f.name.startswith("kernels.lock")], [])


class Pinned(hub.Case):
    """What was locked is what is loaded."""

    @classmethod
    def make_tree(cls, root):
        cls.repo = Repo(root)
        cls.repo.branch("v1").package(hub.BUILD, "activation")

    def tamper(self, path):
        """Another content for the library, in sums that agree with themselves."""
        sums = json.loads(path.read_text())
        for variant in sums["kernels"][0]["variants"].values():
            for name, file in variant["files"].items():
                file["sha256"] = "0" * 64 if name.endswith(".so") else file["sha256"]
            lines = "".join(f"{f['sha256']} {f['size']} {n}\n" for n, f in variant["files"].items())
            variant["manifest"] = hashlib.sha256(lines.encode()).hexdigest()
        path.write_text(json.dumps(sums, indent=2) + "\n")

    def check(self, mapping, sums):
        self.assertIn("(pinned)", self.expect(self.client.run("explain", mapping)).stdout)
        n, done = self.client.sockets("explain", mapping)  # everything is here
        self.assertEqual((n, done.returncode), (0, 0), done.stderr)
        self.tamper(sums)
        done = self.client.run("explain", mapping)
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertIn("'activation.so' is not what was locked", done.stdout)

    def test_by_sums(self):
        mapping = self.dir / "m.toml"
        mapping.write_text('[[kernel]]\nlayer = "SiluAndMul"\ndevice = "cpu"\nrepo_id = "kernels-test/activation"\nversion = 1\n')
        self.expect(self.client.run("lock", mapping))
        self.check(mapping, self.dir / "m.lock.sums")

    def test_by_lock(self):
        mapping = self.dir / "m.toml"
        mapping.write_text('[[kernel]]\nlayer = "SiluAndMul"\ndevice = "cpu"\nrepo_id = "kernels-test/activation"\nlock = "kernels.lock"\n')
        (self.dir / "pyproject.toml").write_text('[tool.kernels.dependencies]\n"kernels-test/activation" = 1\n')
        self.expect(self.client.run("lock", self.dir))
        self.check(mapping, self.dir / "kernels.lock.sums")


if __name__ == "__main__":
    unittest.main()
