"""A hub of one's own for the examples: `kernels serve` over a directory, with a cache and records beside it that end with the program."""

import atexit
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time


class Hub:
    """Serves `tree` ({kernels}/<owner>/<name>/{branches,tags}/<ref>/…) until the program ends.

    Sets the environment of this process so that `kernels`, imported afterwards, downloads from it alone; nothing of the user's cache
    and records is read or written.
    """

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kernels-example-"))
        self.tree = self.dir / "tree"
        self._server = None
        atexit.register(self.close)

    def ref(self, repo_id, ref, kind="branches"):
        """The directory of a branch or of a tag (kind "tags")."""
        path = self.tree / "kernels" / repo_id / kind / ref
        path.mkdir(parents=True, exist_ok=True)
        return path

    def add_built(self, package, repo_id, ref="main", kind="branches"):
        """A package that this checkout built: a directory with build/<variant>/."""
        shutil.copytree(package, self.ref(repo_id, ref, kind), dirs_exist_ok=True)

    def add_python(self, source, repo_id, ref="main", kind="branches", variant="torch-universal", **metadata):
        """A package in Python: the .py files of a directory as a variant, with metadata.json."""
        name = repo_id.rpartition("/")[2]
        target = self.ref(repo_id, ref, kind) / "build" / variant
        target.mkdir(parents=True, exist_ok=True)
        for file in pathlib.Path(source).glob("*.py"):
            shutil.copy(file, target)
        identity = f"_{name.replace('-', '_')}_{ref.replace('.', '_').replace('-', '_')}"
        (target / "metadata.json").write_text(json.dumps({
            "name": name, "id": identity, "version": 1, "license": "Apache-2.0", "python-depends": [],
            "backend": {"type": "cpu", "archs": []}} | metadata, indent=2))

    def start(self):
        """Starts the server and points the environment at it."""
        program = os.environ.get("KERNELS_PROGRAM") or shutil.which("kernels")
        if not program:
            raise SystemExit("the program `kernels` was not found: install the package, or set KERNELS_PROGRAM")
        ready = self.dir / "url"
        self._server = subprocess.Popen([program, "serve", str(self.tree), "--port", "0", "--ready-file", str(ready)],
                                        stdout=subprocess.DEVNULL, start_new_session=True)
        while not (ready.exists() and ready.read_text()):
            if self._server.poll() is not None:
                raise SystemExit("kernels serve has ended")
            time.sleep(0.02)
        url = ready.read_text().strip()
        for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "KERNELS_CACHE"))] + ["LOCAL_KERNELS"]:
            os.environ.pop(name, None)
        os.environ.update(HF_ENDPOINT=url, KERNELS_TRUSTED_ENDPOINTS=url, HF_HOME=str(self.dir / "cache"),
                          XDG_STATE_HOME=str(self.dir / "state"))
        return url

    def close(self):
        if self._server and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
