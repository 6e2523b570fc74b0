#!/usr/bin/env python3
"""bench_python.py BUILD [NAME=PYTHON…]: the rows of the Python package against other releases of `kernels`, each in an environment of its
own (NAME=PYTHON names its interpreter). Rounds are interleaved; a figure is the least of its rounds; one JSON line a row and rival.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
ROUNDS = 5
sys.path.insert(0, str(TOP / "examples" / "pytorch"))

from hub import Hub  # noqa: E402


def environment(python_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "KERNELS_CACHE", "PYTHON"))}
    env.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1", HF_HUB_DISABLE_TELEMETRY="1")
    for name in ("HF_ENDPOINT", "HF_HOME", "KERNELS_TRUSTED_ENDPOINTS", "XDG_STATE_HOME"):
        if name in os.environ:
            env[name] = os.environ[name]
    if python_path:
        env["PYTHONPATH"] = python_path
    env.pop("OPENBLAS_CORETYPE", None)
    return env


def run(contestant, *arguments):
    python, path = contestant
    done = subprocess.run([python, str(HERE / "rows.py"), *map(str, arguments)], env=environment(path), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python} rows.py {arguments}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def imports(contestant):
    """import kernels over a bare interpreter, as wall time of processes."""
    python, path = contestant

    def wall(code):
        start = time.perf_counter()
        subprocess.run([python, "-c", code], env=environment(path), check=True)
        return time.perf_counter() - start
    return min(wall("import kernels") for _ in range(5)) - min(wall("pass") for _ in range(5))


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    contestants = {"libkernels": (sys.executable, str(build / "python"))}
    for each in sys.argv[2:]:
        name, _, python = each.partition("=")
        contestants[name] = (python, None)
    os.environ["KERNELS_PROGRAM"] = str(build / "bin" / "kernels")
    hub = Hub()
    hub.add_python(TOP / "examples" / "pytorch" / "document", "kernels-bench/activation")
    hub.start()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HF_HOME"] = cache
        listing = subprocess.run([os.environ["KERNELS_PROGRAM"], "versions", "kernels-bench/activation", "--json"], env=os.environ | {},
                                 capture_output=True, text=True, check=True)
        commit = next(row["commit"] for row in json.loads(listing.stdout)["versions"] if row["ref"] == "main")
        rows = {
            "import": imports,
            "walk_10000_per_module": lambda c: run(c, "walk", 10000),
            "scope_1_over_1000": lambda c: run(c, "scope", 1000),
            "loaded_layer": lambda c: run(c, "loaded", "kernels-bench/activation", commit),
            "cached_kernel_by_commit": lambda c: run(c, "cached", "kernels-bench/activation", commit),
            "memory_per_module_bytes": lambda c: run(c, "memory", 1000),
        }
        for contestant in contestants.values():  # fill the cache
            run(contestant, "cached", "kernels-bench/activation", commit)
        for row, measure in rows.items():
            least = dict.fromkeys(contestants, float("inf"))
            for _ in range(ROUNDS):
                for name, contestant in contestants.items():
                    least[name] = min(least[name], measure(contestant))
            for name, value in least.items():
                line = {"bench": f"python.{row}", "who": name, "value": value}
                if name != "libkernels":
                    line["ratio"] = value / least["libkernels"]
                print(json.dumps(line), flush=True)


main()
