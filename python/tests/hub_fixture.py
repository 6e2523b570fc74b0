"""The hub of the Python tests: a real `kernels serve` over a tree with the packages of this build."""

import importlib.util
import json
import os
import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parent.parent


def _module(name):
    """A module of the hub's own tests."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "hub" / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


hub_tree, server = _module("hub_tree"), _module("server")

FIRST_PARTY = ("activation", "normalization", "rotary")
TAGS = ("v0.0.3", "v0.0.4", "v0.1.0")


class Hub:
    """`url`; `tree`, the directory that is served; `program`, the command line program; `repo(id)`, to look at or to change one."""

    def __init__(self, program, build, tree):
        self.program, self.build, self.tree = program, build, pathlib.Path(tree)
        for name in FIRST_PARTY:
            repo = self.repo(f"kernels-community/{name}")
            repo.branch("main").package(build, name)
            repo.branch("v1").package(build, name)
            for tag in TAGS:  # another commit each
                repo.tag(tag).package(build, name, source=f"https://example.invalid/{tag}")
        self.python("kernels-test/py-silu", "py-silu", ("torch-universal", "torch-cpu"))
        self._server = server.Server(program, self.tree, "--large", "10000", "--publisher", "kernels-community")
        self.url = self._server.url

    def repo(self, repo_id):
        """Its branch("main"), branch("v1") and tag("v0.0.3") have write(), add(), files() and dir; what is written is served at once."""
        return hub_tree.Repo(self.tree, repo_id)

    def python(self, repo_id, name, variants=("torch-universal",), **changes):
        """Publishes packages/<name>, on main, v1 and every tag; the id in its metadata differs by variant. changes: of its metadata."""
        files = {}
        for file in sorted((TESTS / "packages" / name).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                files[str(file.relative_to(TESTS / "packages" / name))] = file.read_bytes()
        metadata = json.loads(files.pop("metadata.json"))
        repo = self.repo(repo_id)
        refs = {"main": repo.branch("main"), "v1": repo.branch("v1")} | {tag: repo.tag(tag) for tag in TAGS}
        for name_of_ref, ref in refs.items():
            for variant in variants:
                own = {"id": f"{metadata['id']}_{variant.replace('-', '_')}", "source": f"https://example.invalid/{name_of_ref}"}
                ref.write(f"build/{variant}/metadata.json", json.dumps(metadata | own | changes))
                ref.add(files, variant)
        return repo

    def close(self):
        self._server.stop()


def environment(home, url=None):
    """Of a process that knows this hub alone and keeps everything below `home`."""
    kept = ("HF_", "HUGGING", "KERNELS_", "LOCAL_KERNELS", "DISABLE_KERNEL", "XDG_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(kept) or k == "KERNELS_TEST_BUILD"}
    env = {k: v for k, v in env.items() if k.lower() not in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")}
    home = pathlib.Path(home)
    env |= {"HOME": str(home), "HF_HOME": str(home / "hf"), "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "xdg"), "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    env |= {"HF_ENDPOINT": url, "KERNELS_TRUSTED_ENDPOINTS": url} if url else {"HF_HUB_OFFLINE": "1"}
    return env
