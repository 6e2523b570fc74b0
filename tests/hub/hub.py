"""A hub of a test's own: a tree that `kernels serve` serves, the proxy in front of it, and clients with a home of their own.

PROGRAM BUILD [PYTHON] on the command line; PYTHON is one that has huggingface_hub, by default the checkout's.
"""

import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import cache_check
import hub_tree
from proxy import Proxy
from server import for_everybody

PROGRAM, BUILD = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
PYTHON = sys.argv.pop(1) if len(sys.argv) > 1 and os.access(sys.argv[1], os.X_OK) else str(SOURCE / ".venv" / "bin" / "python")
NOBODY = 65534
LONG = os.environ.get("KN_TEST_LONG") == "1"  # the large numbers
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
HUB_TEXT = r"(?s)\A(?:kernels: [^\n]*\n)+\Z"


def has_huggingface_hub():
    return subprocess.run([PYTHON, "-c", "import huggingface_hub"], capture_output=True, check=False).returncode == 0


class Server:
    """`kernels serve`."""

    def __init__(self, *directories, options=()):
        self.process = subprocess.Popen([PROGRAM, "serve", *map(str, directories), "--port", "0", *map(str, options)],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if ready else ""
        found = re.search(r"http://[^/:]+:(\d+)", line)
        if not found:
            self.close()
            raise RuntimeError(f"kernels serve did not start: {line!r}")
        self.port = int(found[1])

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Client:
    """Somebody's account: a home, caches, an environment; and what they run."""

    def __init__(self, directory, endpoint, user=None, **environment):
        self.home = pathlib.Path(directory)
        self.cache = self.home / "hf" / "hub"
        self.state = self.home / "state"
        self.user = user
        self.home.mkdir(parents=True, exist_ok=True)
        if user is not None:
            os.chown(self.home, user, user)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "KERNELS_", "LOCAL_KERNELS", "XDG_", "SSL_"))
                and k.lower() not in PROXIES}
        self.environment = kept | {
            "HOME": str(self.home), "HF_HOME": str(self.home / "hf"), "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.home / "xdg"), "XDG_CONFIG_HOME": str(self.home / "config"), "HF_ENDPOINT": endpoint,
            "KERNELS_TRUSTED_ENDPOINTS": endpoint, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_COLOR": "1"} | environment

    def start(self, *command, program=None, env=None, limits=None, **options):
        """The running process. limits: {resource: bytes}, of whose signal nothing is heard."""
        environment = {k: v for k, v in (self.environment | (env or {})).items() if v is not None}

        def prepare():
            import resource  # pylint: disable=import-outside-toplevel
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            for name, value in (limits or {}).items():
                resource.setrlimit(name, (value, value))
        if self.user is not None:
            options |= {"user": self.user, "group": self.user, "extra_groups": []}
        if "user" in options and program is None:
            program, found = for_everybody(PROGRAM)
            environment |= found
        return subprocess.Popen([program or PROGRAM, *map(str, command)], env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, cwd="/",
                                preexec_fn=prepare if limits else None, **options)

    def run(self, *command, timeout=120, **options):
        """The finished process, as of subprocess.run."""
        process = self.start(*command, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{command} took more than {timeout} s: {out}\n{err}") from None
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def python(self, code, *args, **options):
        """Runs Python that has huggingface_hub."""
        return self.run("-c", code, *args, program=PYTHON, **options)

    def sockets(self, *command, traced=PROGRAM, **options):
        """How many sockets of the internet the program made, counted by the kernel; and the finished process."""
        with tempfile.NamedTemporaryFile(prefix="kernels-strace-") as trace:
            os.chmod(trace.name, 0o666)
            options["env"] = {"ASAN_OPTIONS": "detect_leaks=0"} | options.get("env", {})  # ptrace is taken
            done = self.run("-f", "-qq", "-e", "trace=socket,connect", "-o", trace.name, traced, *command,
                            program=shutil.which("strace"), **options)
            lines = pathlib.Path(trace.name).read_text().splitlines()
        return sum("socket(AF_INET" in line for line in lines), done


class Case(unittest.TestCase):
    """One tree, one server and one proxy for all tests of the class; each test has a client of its own, and no rules."""

    @classmethod
    def make_tree(cls, root):
        cls.repo = hub_tree.standard(root, BUILD)
        cls.main = cls.repo.branch("main")

    serve_options = ("--large", "10000")  # so that objects have SHA-256 hashes

    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="kernels-hub-"))
        cls.addClassCleanup(shutil.rmtree, cls.top, ignore_errors=True)
        os.chmod(cls.top, 0o755)
        cls.make_tree(cls.top / "tree")
        cls.server = Server(cls.top / "tree", options=cls.serve_options)
        cls.addClassCleanup(cls.server.close)
        cls.proxy = Proxy(cls.server.port)
        cls.addClassCleanup(cls.proxy.close)

    def setUp(self):
        self.proxy.clear()
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=self.top, prefix="client-"))
        os.chmod(self.dir, 0o755)
        self.client = Client(self.dir / "home", self.proxy.url)

    @contextlib.contextmanager
    def fault(self, fault, **where):
        """A subtest: the fault alone, with a client of its own. Gives the rule."""
        with self.subTest(f"{fault} {where}"):
            self.setUp()
            yield self.proxy.add(fault, **where)

    def expect(self, done, status=0, says=None):
        """Its exit status (None: not 0); errors are lines that name the program; one says so."""
        self.assertNotIn("Sanitizer", done.stderr)
        self.assertNotIn("runtime error", done.stderr)
        told = f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        self.assertIn(done.returncode, (1, 2) if status is None else (status,), told)
        if status != 0:
            self.assertRegex(done.stderr, HUB_TEXT)
            self.assertLess(len(done.stderr.splitlines()[-1]), 1000)
        if says:
            self.assertRegex(done.stderr, says)
        return done

    def download(self, *options, client=None, status=0, says=None, repo=None, **how):
        """`kernels download`: the directory that it says; checked against what is served. On failure: its stderr."""
        client = client or self.client
        repo = repo or self.repo
        done = self.expect(client.run("download", repo.id, "--trust-remote-code", *options, **how), status, says)
        if status != 0:
            return done.stderr
        return pathlib.Path(done.stdout.splitlines()[-1])

    def same(self, directory, ref):
        """The variant in this directory is the one that is served."""
        got = {str(f.relative_to(directory)): f.read_bytes() for f in directory.rglob("*") if f.is_file()}
        self.assertEqual({k: len(v) for k, v in got.items()}, {k: len(v) for k, v in ref.files().items()})
        self.assertTrue(got == ref.files(), "the bytes differ")

    def succeeds(self, *options, **how):
        """`download` gives what is served; no file was visible before it was whole."""
        with cache_check.Watch(self.client.cache) as watch:
            self.same(self.download(*options, **how), self.main)
        self.assertEqual(watch.wrong, [])
        self.check_cache()

    def refused(self, *options, status=None, says=None, recovers=True, **how):
        """An error that names the repository; nothing that a loader would take, and no temporary, is left. Without the fault the
        next run succeeds."""
        with cache_check.Watch(self.client.cache) as watch:
            text = self.download(*options, status=status, says=says, **how)
        self.assertIn(self.repo.id, text)
        self.assertEqual(watch.wrong, [])
        self.assertFalse(self.has_variant())
        self.check_cache()
        if recovers:
            self.proxy.clear()
            self.succeeds()

    def check_cache(self, client=None, **allowed):
        self.assertEqual(cache_check.complaints((client or self.client).cache, **allowed), [])

    def has_variant(self, client=None, repo=None):
        """Anything that a loader would take, in the cache."""
        folder = (client or self.client).cache / (repo or self.repo).folder
        return any(folder.glob("snapshots/*/build/*/metadata.json"))

    SNAPSHOT = ("import sys, json, huggingface_hub\n"
                "print(huggingface_hub.snapshot_download(**json.loads(sys.argv[1])))")

    def snapshot_arguments(self, revision=None, repo=None, offline=False):
        repo = repo or self.repo
        return json.dumps({"repo_id": repo.id, "repo_type": repo.kind[:-1], "revision": revision, "local_files_only": offline,
                           "allow_patterns": [f"build/{hub_tree.VARIANT}/*"]})

    def snapshot_download(self, *, client=None, revision=None, repo=None, offline=False, **how):
        """By huggingface_hub: the finished process, which prints the snapshot."""
        return (client or self.client).python(self.SNAPSHOT, self.snapshot_arguments(revision, repo, offline), **how)
