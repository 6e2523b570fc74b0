#!/usr/bin/env python3
"""bench_python.py BUILD [NAME=PYTHON…]: the Python package, beside other releases of `kernels` (PYTHON has one of them, and torch).

Each figure is the least of processes that take turns, rows.py says what is measured; `ratio` is theirs over ours. One JSON line a figure.

  import, import_names     `import kernels`, and the names that a model's code asks for, above a Python that does nothing
  walk, walk_100000        kernelize, per module, of 10 000 and of 100 000 modules, each of which gets another forward each time
  memory                   bytes that kernelize adds to a module
  scope                    entering and leaving a mapping of one entry over 1 000
  loaded, again            load() of a layer and get_kernel of a kernel that the process has
  cached                   the first get_kernel of a process, by commit, from a warm cache
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
ROUNDS = int(os.environ.get("KN_BENCH_ROUNDS", "5"))
REPO = "kernels-bench/activation"
IMPORTS = {"import": "import kernels", "import_names": "from kernels import kernelize, Mode, LayerRepository, use_kernel_mapping"}
UNITS = {"memory": ("bytes", 1), "import": ("ms", 1e3), "import_names": ("ms", 1e3), "cached": ("ms", 1e3)}  # others: us
sys.path.insert(0, str(TOP / "examples" / "pytorch"))

from hub import Hub  # noqa: E402


class Contestant:
    def __init__(self, python, path=None):
        self.python = python
        # Bytecode is kept, as that of an installed package is.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.env |= {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": path} if path else {})

    def run(self, *arguments):
        done = subprocess.run([self.python, str(HERE / "rows.py"), *map(str, arguments)], env=self.env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{self.python} rows.py {arguments}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def imports(self, row):
        """Above a bare interpreter, as processor time of processes that take turns: what else runs is not counted."""
        least = dict.fromkeys(("pass", IMPORTS[row]), float("inf"))
        for _ in range(8):
            for code in least:
                process = subprocess.Popen([self.python, "-c", code], env=self.env)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    sys.exit(f"{self.python} -c '{code}': {process.returncode}")
                least[code] = min(least[code], usage.ru_utime + usage.ru_stime)
        return least[IMPORTS[row]] - least["pass"]


def commit_of(program, repo_id):
    listing = subprocess.run([program, "versions", repo_id, "--json"], capture_output=True, text=True, check=True)
    return next(row["commit"] for row in json.loads(listing.stdout)["refs"] if row["ref"] == "main")


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    program = os.environ["KERNELS_PROGRAM"] = str(build / "bin" / "kernels")
    hub = Hub()
    hub.add_python(TOP / "examples" / "pytorch" / "document", REPO)
    shutil.copytree(hub.tree / "kernels", hub.tree / "models")  # where older releases look
    hub.start()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HF_HOME"] = cache
        commit = commit_of(program, REPO)
        contestants = {"libkernels": Contestant(sys.executable, str(build / "python"))}
        contestants |= {name: Contestant(python) for name, _, python in (each.partition("=") for each in sys.argv[2:])}
        rows = {row: lambda who, row=row: who.imports(row) for row in IMPORTS}
        rows |= {
            "walk": lambda who: who.run("walk", 10_000),
            "walk_100000": lambda who: who.run("walk", 100_000),
            "memory": lambda who: who.run("memory", 1000),
            "scope": lambda who: who.run("scope", 1000),
            "loaded": lambda who: who.run("loaded", REPO, commit),
            "again": lambda who: who.run("again", REPO, commit),
            "cached": lambda who: who.run("cached", REPO, commit),
        }
        for contestant in contestants.values():  # fills the cache
            contestant.run("cached", REPO, commit)
        for row, measure in rows.items():
            least = dict.fromkeys(contestants, float("inf"))
            for _ in range(ROUNDS):
                for name, contestant in contestants.items():
                    least[name] = min(least[name], measure(contestant))
            unit, factor = UNITS.get(row, ("us", 1e6))
            line = {"bench": f"python_{row}", f"libkernels_{unit}": round(least.pop("libkernels") * factor, 3)}
            ours = line[f"libkernels_{unit}"]
            for name, value in least.items():
                line[f"{name}_{unit}"] = round(value * factor, 3)
                line[f"{name}_ratio"] = round(value * factor / ours, 1)
            print(json.dumps(line), flush=True)


main()
