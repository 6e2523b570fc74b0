"""What the tests against a hub that means harm have in common."""

import pathlib

import hub
import hub_tree
from hub_tree import VARIANT

FILE = "/resolve/.*/activation.so"
IN = f"build/{VARIANT}"


class Case(hub.Case):
    @classmethod
    def make_tree(cls, root):
        super().make_tree(root)
        cls.main = cls.repo.branch("main")
        cls.canary = hub_tree.canary(root, hub.BUILD)

    def setUp(self):
        super().setUp()
        self.outside = self.dir / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("the secret of somebody else")

    def untouched(self):
        """Nothing lies where nothing may be."""
        self.assertEqual([p.name for p in self.outside.iterdir()], ["secret"])
        self.assertEqual((self.outside / "secret").read_text(), "the secret of somebody else")
        for path in (self.top, pathlib.Path("/"), pathlib.Path("/tmp")):
            self.assertEqual([p for p in path.iterdir() if "evil" in p.name], [])
        self.assertEqual([p for p in self.dir.rglob("*") if "evil" in p.name], [])
        known = {"hf", "state", "xdg", "config"}
        self.assertLessEqual({p.name for p in self.client.home.iterdir()} if self.client.home.is_dir() else set(), known)

    def refused(self, *options, says=None, may_succeed=False, **how):
        done = self.client.run("download", self.repo.id, "--trust-remote-code", *options, **how)
        if not (may_succeed and done.returncode == 0):
            self.expect(done, None, says)
            self.assertFalse(self.has_variant())
        self.untouched()
        self.check_cache()
        self.assertNotRegex(done.stderr + done.stdout, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
        return done


def entry(tree):
    """Of a listing: that of a file of this machine's variant, the object."""
    return next(e for e in tree if e["path"].endswith("activation.so"))
