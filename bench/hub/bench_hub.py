#!/usr/bin/env python3
"""bench_hub.py BUILD [MEASUREMENT…]: the hub against Python's huggingface_hub and kernels, on one local server.

  download   a cold variant of 200 MB in 40 files, without latency and with 50 ms (a proxy's)
  resolve    100 repositories that are cached, by version, 50 ms away: `kernels explain` of a mapping with all of them, which also loads them
  lock       what 100 repositories have, 50 ms away: `kernels lock` of a project with 100 dependencies
  install    the same repositories, small and cold, 50 ms away
  load       a cached kernel by its commit
  memory     the peak of a download above that of a small one, 200 MB and 800 MB

Theirs run in a virtual environment that is made in BUILD/bench-hub, and are timed inside the process, after their imports (`_s`), and
from outside (`_process_s`); ours is timed from outside, the whole process. Every round begins with an empty cache, but where what is cached
is wanted; the median counts. Prints one JSON line a figure.
"""

import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(sys.argv[1]).resolve()
MEASUREMENTS = sys.argv[2:] or ["download", "resolve", "lock", "install", "load", "memory"]
VENV = BUILD / "bench-hub" / "venv"
THEIRS = ["huggingface_hub==2.4.0", "kernels==0.17.2", "apache-tvm-ffi==0.1.15.post2"]
ROUNDS = int(os.environ.get("KN_BENCH_ROUNDS", "5"))
N_REPOS = 100


def make_venv():
    stamp = VENV / "installed.txt"
    if not stamp.is_file() or stamp.read_text() != repr(THEIRS):
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *THEIRS], check=True,
                       stdout=sys.stderr)
        stamp.write_text(repr(THEIRS))


make_venv()  # before the harness looks for its Python
sys.path.insert(0, str(SOURCE / "tests" / "hub"))
sys.argv[1:] = [str(BUILD / "bin" / "kernels"), str(BUILD), str(VENV / "bin" / "python")]
import hub  # noqa: E402 pylint: disable=wrong-import-position
import hub_tree  # noqa: E402 pylint: disable=wrong-import-position
from hub_tree import Repo  # noqa: E402 pylint: disable=wrong-import-position

TIMED = "import sys, json, time\nargs = json.loads(sys.argv[1])\n{setup}\nt = time.perf_counter()\n{body}\nprint(time.perf_counter() - t)"
SNAPSHOT = ("from huggingface_hub import snapshot_download",
            "for r in args: snapshot_download(r, repo_type='kernel', revision='{revision}', allow_patterns=['build/{variant}/*'])")
PEER = ("import kernels", "for r in args: kernels.install_kernel(r, revision='{revision}', trust_remote_code=True, backend='cpu')")
PEER_VERSION = ("import kernels", "for r in args: kernels.install_kernel(r, version=1, trust_remote_code=True, backend='cpu')")
PEER_LOCK = ("import kernels.cli.lock as lock, argparse, pathlib", "lock.lock_kernels(argparse.Namespace(project_dir=pathlib.Path(args)))")
PEER_REFS = ("from kernels._versions import resolve_version_spec_as_ref",
             "for r in args: resolve_version_spec_as_ref(r, 1, False)")
GET = "kernels.get_kernel(args[0], revision=args[1], trust_remote_code=True, backend='cpu')"
PEER_LOAD = (f"import kernels\n{GET}", f"for _ in range(100): {GET}")


def say(**figures):
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


class Place:
    """A server with its trees, and as many clients with empty caches as are wanted."""

    def __init__(self, top, make):
        self.top = pathlib.Path(top)
        make(self.top / "tree")
        self.server = hub.Server(self.top / "tree")
        self.proxies = []

    def endpoint(self, round_trip_ms):
        """The server itself when there is no latency; else a proxy, in a process of its own."""
        if not round_trip_ms:
            return f"http://127.0.0.1:{self.server.port}"
        proxy = subprocess.Popen([sys.executable, SOURCE / "tests" / "hub" / "proxy.py", str(self.server.port), "--round-trip-ms",
                                  str(round_trip_ms)], stdout=subprocess.PIPE, text=True)
        self.proxies.append(proxy)
        return proxy.stdout.readline().strip()

    def client(self, endpoint):
        """With an empty cache; what an earlier one left is removed."""
        shutil.rmtree(self.top / "client", ignore_errors=True)
        return hub.Client(self.top / "client", endpoint, HF_HUB_DISABLE_XET="1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for proxy in self.proxies:
            proxy.terminate()
            proxy.wait()
            proxy.stdout.close()
        self.server.close()


def checked(done):
    if done.returncode:
        sys.exit(f"bench_hub: {done.args[:2]} failed: {done.stderr[-2000:]}")
    return done


def theirs(client, code, args, **names):
    """Seconds inside of their process, and of the whole process."""
    setup, body = (part.format(**names) for part in code)
    start = time.monotonic()
    # With telemetry off kernels sends a header that httpx refuses.
    done = checked(client.python(TIMED.format(setup=setup, body=body), json.dumps(args), timeout=600, env={"HF_HUB_DISABLE_TELEMETRY": None}))
    return float(done.stdout.split()[-1]), time.monotonic() - start


def ours(client, *command):
    """Seconds of the whole process, twice."""
    start = time.monotonic()
    checked(client.run(*command, timeout=600))
    return (time.monotonic() - start,) * 2


def compare(name, place, endpoint, contenders, **what):
    """Rounds of all contenders in turn; each is (name, function of a client that gives two times in seconds)."""
    taken = {who: [] for who, _ in contenders}
    for _ in range(ROUNDS):
        for who, run in contenders:
            taken[who].append(run(place.client(endpoint)))
    figures = {}
    our_s = statistics.median(seconds for seconds, _ in taken["ours"])
    for who, seconds in taken.items():
        call_s, process_s = (statistics.median(part) for part in zip(*seconds))
        figures[f"{who}_s"] = call_s
        if who != "ours":
            figures |= {f"{who}_ratio": call_s / our_s, f"{who}_process_s": process_s, f"{who}_process_ratio": process_s / our_s}
    say(bench=name, **what, rounds=ROUNDS, **figures, ours_min_s=min(taken["ours"])[0], ours_max_s=max(taken["ours"])[0])


def download(top):
    with Place(top, lambda root: hub_tree.big(root, BUILD)) as place:
        repo, names = "kernels-test/big", {"revision": "main", "variant": hub_tree.VARIANT}
        for latency in (0, 50):
            compare("hub_download", place, place.endpoint(latency), [
                ("ours", lambda c: ours(c, "download", repo, "--revision", "main", "--trust-remote-code")),
                ("huggingface_hub", lambda c: theirs(c, SNAPSHOT, [repo], **names)),
                ("kernels_py", lambda c: theirs(c, PEER, [repo], **names))], round_trip_ms=latency, mb=200, files=40)


def repositories(root):
    for i in range(N_REPOS):
        Repo(root, f"kernels-test/r{i:03}").branch("v1").package(BUILD, "rotary", id=f"_rotary_{i}")


def resolve(top):
    repos = [f"kernels-test/r{i:03}" for i in range(N_REPOS)]
    with Place(top, repositories) as place:
        slow = place.endpoint(50)

        def far(client):
            """The same client, which has everything now, 50 ms away."""
            checked(client.run("download", *repos, "--version", "1", "--trust-remote-code", timeout=600))
            return hub.Client(place.top / "client", slow, HF_HUB_DISABLE_XET="1")

        def mapping(client):
            path = client.home / "kernels.toml"
            path.write_text("".join(f'[[kernel]]\nlayer = "L{i}"\nlayer_name = "rotary_pos_emb"\ndevice = "cpu"\nrepo_id = "{repo}"\n'
                                    f"version = 1\ntrust_remote_code = true\n" for i, repo in enumerate(repos)))
            return str(path)

        compare("hub_resolve", place, place.endpoint(0), [
            ("ours", lambda c: ours(far(c), "explain", mapping(c))),
            ("kernels_py", lambda c: theirs(far(c), PEER_VERSION, repos))], round_trip_ms=50, repositories=N_REPOS)


def lock(top):
    def project(client):
        lines = "".join(f'"kernels-test/r{i:03}" = 1\n' for i in range(N_REPOS))
        (client.home / "pyproject.toml").write_text(f'[project]\nname = "bench"\nversion = "1"\n\n[tool.kernels.dependencies]\n{lines}')
        return str(client.home)

    repos = [f"kernels-test/r{i:03}" for i in range(N_REPOS)]
    with Place(top, repositories) as place:
        compare("hub_lock", place, place.endpoint(50), [
            ("ours", lambda c: ours(c, "lock", project(c))),
            ("kernels_py", lambda c: theirs(c, PEER_LOCK, project(c))),
            ("kernels_py_refs_alone", lambda c: theirs(c, PEER_REFS, repos))], round_trip_ms=50, repositories=N_REPOS)


def install(top):
    repos = [f"kernels-test/r{i:03}" for i in range(N_REPOS)]
    names = {"revision": "v1", "variant": hub_tree.VARIANT}
    with Place(top, repositories) as place:
        compare("hub_install", place, place.endpoint(50), [
            ("ours", lambda c: ours(c, "download", *repos, "--revision", "v1", "--trust-remote-code")),
            ("huggingface_hub", lambda c: theirs(c, SNAPSHOT, repos, **names)),
            ("kernels_py", lambda c: theirs(c, PEER, repos, **names))], round_trip_ms=50, repositories=N_REPOS)


def load(top):
    def make(root):  # its Python files would import torch, which costs more than all that is compared
        Repo(root).branch("main").package(BUILD).add({"__init__.py": b"", "layers.py": b""})

    with Place(top, make) as place:
        client = place.client(place.endpoint(0))
        directory = checked(client.run("download", "kernels-test/activation", "--revision", "main", "--trust-remote-code")).stdout
        commit = pathlib.Path(directory.splitlines()[-1]).parent.parent.name
        args = ["kernels-test/activation", commit]
        done = checked(client.run(*args, program=str(BUILD / "bin" / "hub_load")))
        figures = json.loads(done.stdout)
        sockets, _ = client.sockets(*args, traced=str(BUILD / "bin" / "hub_load"))
        peer = theirs(client, PEER_LOAD, args)[0] / 100
        say(bench="hub_load", **figures, sockets=sockets, kernels_py_ms=1e3 * peer, fresh_ratio=1e3 * peer / figures["fresh_ms"],
            again_ratio=1e6 * peer / figures["again_us"])


def memory(top):
    def make(root):
        Repo(root, "kernels-test/small").branch("main").package(BUILD)
        hub_tree.big(root, BUILD)
        hub_tree.big(root, BUILD, total=800 << 20, repo_id="kernels-test/bigger")

    def peak_kib(place, repo):
        """VmHWM as it was last seen: wait4's counts what this process had before the exec."""
        process = place.client(place.endpoint(0)).start("download", f"kernels-test/{repo}", "--revision", "main", "--trust-remote-code")
        peak = 0
        while process.poll() is None:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            peak = max([peak] + [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")])
            time.sleep(0.001)
        if process.returncode:
            sys.exit(f"bench_hub: download failed: {process.stderr.read()}")
        process.communicate()
        return peak

    with Place(top, make) as place:
        idle = peak_kib(place, "small")
        for repo, mb in (("big", 200), ("bigger", 800)):
            peak = peak_kib(place, repo)
            say(bench="hub_memory", mb=mb, peak_mib=peak / 1024, small_download_mib=idle / 1024, above_mib=(peak - idle) / 1024)


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for name in MEASUREMENTS:
        top = tempfile.mkdtemp(prefix="kernels-bench-")
        try:
            {"download": download, "resolve": resolve, "lock": lock, "install": install, "load": load, "memory": memory}[name](top)
        finally:
            shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
