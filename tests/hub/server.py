"""`kernels serve` as a test starts and ends it, and the trees that it serves."""

import atexit
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse


def write_ref(top, place, files):
    """`place` is "kernels/OWNER/NAME/branches/REF"; files: path -> bytes or str."""
    ref = pathlib.Path(top) / place
    ref.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        (ref / path).parent.mkdir(parents=True, exist_ok=True)
        (ref / path).write_bytes(data.encode() if isinstance(data, str) else data)
    return ref


def commit_of(files):
    """The commit by which these files are served."""
    lines = []
    for path, data in sorted(files.items(), key=lambda item: item[0].encode()):
        data = data.encode() if isinstance(data, str) else data
        lines.append(f"{hashlib.sha256(data).hexdigest()} {len(data)} {path}\n")
    return hashlib.sha1("".join(lines).encode()).hexdigest()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name):
        return self.headers.get(name)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.headers.get("X-Error-Code")


def for_everybody(program, _made={}):
    """The program where every user can run it: itself, or a copy beside its libraries when the checkout is private. (path, environment)"""
    program = pathlib.Path(program)
    if program not in _made:
        if program.stat().st_mode & 0o005 == 0o005 and all(folder.stat().st_mode & 0o001 for folder in program.parents):
            _made[program] = program, {}
        else:
            top = pathlib.Path(tempfile.mkdtemp(prefix="kernels-program-"))
            atexit.register(shutil.rmtree, top, ignore_errors=True)
            (top / "bin").mkdir()
            (top / "lib").mkdir()
            for name in ("kernels", "kernels-serve"):
                shutil.copy2(program.with_name(name), top / "bin" / name)
            for library in (program.parent.parent / "lib").glob("*.so*"):
                shutil.copy2(library, top / "lib" / library.name)
            environment = {"LD_LIBRARY_PATH": str(top / "lib")}
            before, found, suppressions = os.environ.get("TSAN_OPTIONS", "").partition("suppressions=")
            if found:
                environment["TSAN_OPTIONS"] = f"{before}{found}{shutil.copy2(suppressions, top)}"
            for path in (top, *top.rglob("*")):
                path.chmod(0o755)
            _made[program] = top / "bin" / program.name, environment
    return _made[program]


class Server:
    """A running server: Server(program, directory, "--token", "t"). With `with` it is ended."""

    def __init__(self, program, *args, port=0, **options):
        self.ready = pathlib.Path(tempfile.mktemp(prefix="kernels-serve-"))
        if options.get("user") is not None:
            program, environment = for_everybody(program)
            options["env"] = (options.get("env") or dict(os.environ)) | environment
        self.process = subprocess.Popen([program, "serve", *map(str, args), f"--port={port}", f"--ready-file={self.ready}"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.said = None
        while not self.ready.exists():
            if self.process.poll() is not None:
                raise AssertionError(f"serve {args}: exit {self.process.returncode}: {self.process.communicate()}")
            time.sleep(0.01)
        self.url = self.ready.read_text(encoding="ascii").rstrip("\n")
        self.ready.unlink()
        parts = urllib.parse.urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM, status=0):
        """Ends it; returns what it printed."""
        if self.said is None:
            self.process.send_signal(number)
            self.said = self.process.communicate(timeout=120)
            assert "Sanitizer" not in self.said[1], self.said[1]
            assert self.process.returncode == status, (self.process.returncode, self.said)
        return self.said

    def kill(self):
        self.process.kill()
        self.said = self.process.communicate()

    def connect(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def ask(self, path, method="GET", body=None, **headers):
        """One request on a connection of its own; a header's name is written with _ for -."""
        connection = self.connect()
        try:
            return self.ask_on(connection, path, method, body, **headers)
        finally:
            connection.close()

    @staticmethod
    def ask_on(connection, path, method="GET", body=None, **headers):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def environment(server, home, **more):
    """For a client of huggingface_hub."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "XDG_")) and "proxy" not in k.lower()}
    return {**env, "HF_ENDPOINT": server.url, "HF_HOME": str(home), 
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}
