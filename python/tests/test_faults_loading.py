"""Faults of other implementations that loading here does not have, by the numbers that they go under."""

import json
import os
import pathlib
import pickle
import platform
import subprocess
import sys

import pytest
from conftest import PACKAGE
from package_files import write_package
from test_locked import ACTIVATION, PROJECT, _commit, lock  # noqa: F401

import kernels
from kernels import _kernels
from kernels.lockfile import write_egg_lockfile

PY_SILU = "kernels-test/py-silu"
OBJECTS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "objects"


def _change(cache, name):
    """Another first byte in every cached file of that name."""
    for file in pathlib.Path(cache).rglob(name):
        if "snapshots" in file.parts:
            data = file.read_bytes()
            file.resolve().chmod(0o644)
            file.resolve().write_bytes(b"#" + data[1:])
            yield file


def test_fault_24_what_is_loaded_was_checked(run_python, tmp_path):
    home = tmp_path / "home"
    code = f"import kernels; kernels.get_kernel({PY_SILU!r}, version=1, trust_remote_code=True)"
    run_python(code, home=home)
    assert list(_change(home / "hf", "ops.py"))
    for env in ({}, {"HF_HUB_OFFLINE": "1"}):
        assert "ops.py" in run_python(code, home=home, env=env, status=1).stderr


def test_fault_24_hashes_of_a_lock_count(hub, tmp_path):
    commit = _kernels.resolve(repo_id=PY_SILU, version="1", trust_remote_code=True)[1]
    variants = {
        name: {"hash": "sha256-" + "0" * 64, "hash_type": "git_lfs_concat"} for name in ("torch-cpu", "torch-universal")
    }
    (tmp_path / "kernels.lock").write_text(json.dumps([{"repo_id": PY_SILU, "sha": commit, "variants": variants}]))
    with pytest.raises(ValueError, match="hash"):
        kernels.get_locked_kernel(PY_SILU, lockfile=tmp_path / "kernels.lock", trust_remote_code=True)


CALLER = """
import kernels

def by_load():
    return kernels.load_kernel("kernels-community/activation")

def by_get():
    return kernels.get_locked_kernel("kernels-community/activation")

def by_repository():
    return kernels.LockedLayerRepository("kernels-community/activation", layer_name="SiluAndMul")

def not_locked():
    return kernels.load_kernel("kernels-community/rotary")
"""


def _install(site, name, lock=None):
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text(CALLER)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    if lock is not None:
        (info / "kernels.lock").write_bytes(lock.read_bytes())


def test_fault_25_the_callers_lock_is_found(run_python, lock, tmp_path):
    site = tmp_path / "site"
    _install(site, "has_lock", lock)
    _install(site, "has_none")
    path = {"PYTHONPATH": f"{PACKAGE}:{site}"}
    done = run_python(
        "import has_lock, has_none, kernels\n"
        "module = has_lock.by_get()\n"
        "assert has_lock.by_load() is module\n"
        "print(kernels.get_loaded_kernels()[0].repo_info.revision)\n"
        "print(has_lock.by_repository())\n"
        "for call in (has_none.by_get, has_none.by_load, has_none.by_repository, has_lock.not_locked):\n"
        "    try: call()\n"
        "    except ValueError as error: assert 'is not locked. Please lock it with' in str(error), error\n"
        "    else: raise SystemExit(f'{call} found a lock')\n",
        env=path,
    )
    revision, text = done.stdout.splitlines()
    assert revision == _commit(lock) and "has_lock-1.0.dist-info/kernels.lock" in text


class Command:
    """What setuptools' egg_info command does with metadata files."""

    def __init__(self):
        self.done = []

    def write_file(self, what, filename, data):
        self.done.append(("write", what, filename, data))

    def delete_file(self, filename):
        self.done.append(("delete", filename))


@pytest.mark.parametrize("project, lock_text, stale, done", [
    (PROJECT, "[]", False, [("write", "kernels.lock", "egg/kernels.lock", "[]")]),
    (PROJECT, None, False, []),
    (PROJECT, None, True, [("delete", "egg/kernels.lock")]),
    ("[project]\n", "[]", False, []),
    (None, "[]", False, []),
])  # fmt: skip
def test_fault_26_the_hook_of_setuptools_imports_and_writes(
    tmp_path, monkeypatch, caplog, project, lock_text, stale, done
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "egg").mkdir()
    for name, text in (
        ("pyproject.toml", project),
        ("kernels.lock", lock_text),
        ("egg/kernels.lock", "old" if stale else None),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
    command = Command()
    write_egg_lockfile(command, "kernels.lock", "egg/kernels.lock")
    assert command.done == done
    assert ("kernels lock" in caplog.text) == (project == PROJECT and lock_text is None)


def test_fault_27_load_kernel_takes_the_lock_positionally_or_finds_it(hub, lock):  # noqa: F811
    assert kernels.get_locked_kernel(ACTIVATION, lockfile=lock) is kernels.load_kernel(ACTIVATION, str(lock))
    with pytest.raises(ValueError, match="is not locked"):
        kernels.load_kernel(ACTIVATION)


def test_fault_28_trust_as_a_list_and_asked_once(hub, run_python):
    repository = kernels.LayerRepository(PY_SILU, layer_name="SiluAndMul", version=1, trust_remote_code=[PY_SILU])
    assert repository in {repository}
    run_python("import kernels, resource\n"
               "first = kernels.get_kernel('kernels-community/activation', version=1)\n"
               "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # neither a socket nor a file\n"
               "assert kernels.get_kernel('kernels-community/activation', version=1) is first\n")  # fmt: skip
    with pytest.raises(ValueError, match="not from a trusted publisher"):
        kernels.get_kernel(PY_SILU, version=1)


def test_fault_29_a_redirect_is_trusted_by_where_it_leads(hub):
    repo = hub.repo("kernels-community/leads-away").branch("main")
    repo.package(hub.build).write(
        "kernel-status.toml", f'kind = "redirect"\ndestination = "{PY_SILU}"\nrevision = "v1"\n'
    )
    with pytest.raises(ValueError, match=PY_SILU):
        kernels.get_kernel("kernels-community/leads-away", revision="main")


def test_fault_30_an_id_replaces_no_module(hub):
    hub.repo("kernels-community/shadow").branch("v1").variant(
        "torch-universal", {"__init__.py": ""}, id="colorsys", backend={"type": "cpu"}
    )
    with pytest.raises(ImportError, match="the id 'colorsys' is the name of another module"):
        kernels.get_kernel("kernels-community/shadow", version=1)
    import colorsys

    assert colorsys.__file__.startswith(sys.base_prefix)


def test_fault_31_executed_once_by_one_name_in_every_process(hub, run_python):
    module = kernels.get_kernel(PY_SILU, version=1, trust_remote_code=True)
    assert kernels.get_kernel(PY_SILU, version=1, trust_remote_code=True) is module
    layer = module.layers.SiluAndMul
    assert pickle.loads(pickle.dumps(layer)) is layer
    code = f"import kernels; print(kernels.get_kernel({PY_SILU!r}, version=1, trust_remote_code=True).__name__)"
    assert {run_python(code, env={"PYTHONHASHSEED": seed}).stdout.strip() for seed in "12"} == {module.__name__}


# An AMD GPU is told by its name, not by a number: gfx908 and gfx90a are both 90.
@pytest.mark.parametrize("device, fits", [("rocm:gfx908", True), ("rocm:gfx90a", False)])
def test_fault_09_code_for_another_gpu_of_the_same_capability_is_not_taken(run_python, tmp_path, device, fits):
    library = OBJECTS / "rocm_gfx908.so"
    files = {"__init__.py": "", "_code.abi3.so": library.read_bytes()}
    write_package(tmp_path / "package", files, variant="torch-rocm", backend={"type": "rocm"})
    code = f"from kernels import _kernels\n_kernels.fetch_kernel(path={str(tmp_path / 'package')!r}, device='rocm')"
    done = run_python(code, env={"KERNELS_DEVICE": device}, status=None)
    assert (done.returncode == 0) is fits and ("gfx90a" in done.stderr) is not fits, done.stderr


@pytest.mark.parametrize("device, fits", [("cuda:9.0", True), ("cuda:7.0", False)])
def test_fault_32_code_for_other_devices_is_not_taken(run_python, build, tmp_path, device, fits):
    library = build / "fixtures" / "packages" / "gpu.so"
    if not library.exists():
        pytest.skip("not built: fixture_gpu")
    files = {"__init__.py": "", "_code.abi3.so": library.read_bytes()}
    write_package(tmp_path / "package", files, variant="torch-cuda", backend={"type": "cuda"})
    code = f"from kernels import _kernels\n_kernels.fetch_kernel(path={str(tmp_path / 'package')!r}, device='cuda')"
    done = run_python(code, env={"KERNELS_DEVICE": device}, status=None)
    assert (done.returncode == 0) is fits and ("IncompatibleError" in done.stderr) is not fits, done.stderr


def test_fault_33_names_that_are_none_are_refused_with_a_reason(hub, run_python):
    bad = ["torch-banana", "torch29-cxx11-cu-x86_64-linux", "tvm-ffi-cpu-x86_64-linux", "nonsense"]
    ref = hub.repo("kernels-community/names").branch("v1").package(hub.build)
    for name in (*bad, "torch-cpu", "torch-universal"):
        ref.variant(name, {"__init__.py": ""}, backend={"type": "cpu"})
    code = "import kernels\nfor d in kernels.get_kernel_variants('kernels-community/names', version=1): print(d)"
    first, second = (run_python(code, env={"PYTHONHASHSEED": seed}).stdout for seed in "12")
    assert first == second
    for name in bad:
        (line,) = [line for line in first.splitlines() if line.startswith(name)]
        assert len(line) > len(name) + 4 and "compatible" not in line.split(":")[0]


@pytest.mark.parametrize("repo_id, arguments", [
    ("kernels-community/activation", {}),
    ("kernels-community/no-builds", {}),
    ("kernels-community/no-such-thing", {}),
    (PY_SILU, {}),
    (PY_SILU, {"trust_remote_code": True}),
    ("kernels-community/wants", {}),
    ("local/one", {}),
    ("local/none", {}),
])  # fmt: skip
def test_fault_34_has_kernel_says_what_get_kernel_does(hub, monkeypatch, tmp_path, repo_id, arguments):
    hub.repo("kernels-community/no-builds").branch("main").write("README.md", "none")
    wants = {"backend": {"type": "cpu"}, "python-depends": ["helion"]}
    hub.repo("kernels-community/wants").branch("main").variant("torch-universal", {"__init__.py": ""}, **wants)
    monkeypatch.setenv("LOCAL_KERNELS", f"local/one={hub.build}/packages/activation:local/none={tmp_path}")
    try:
        kernels.get_kernel(repo_id, revision="main", **arguments)
        loads = True
    except (ValueError, ImportError, FileNotFoundError):
        loads = False
    assert kernels.has_kernel(repo_id, revision="main", **arguments) is loads


@pytest.mark.parametrize(
    "changes", [{"python-depends": None}, {"license": None}, {"id": None, "name": None}, {"version": None}]
)
def test_fault_35_metadata_of_older_builds(tmp_path, changes):
    name = f"_older_{'_'.join(changes)}_{os.getpid()}".replace("-", "_")
    write_package(tmp_path, {"pkg/__init__.py": "X = 1"}, **({"id": name, "name": "pkg"} | changes))
    assert kernels.get_local_kernel(tmp_path, "pkg").X == 1


def test_fault_35_metadata_that_is_missing_or_bad(tmp_path):
    variant = write_package(tmp_path / "bad", {"__init__.py": ""})
    (variant / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match="metadata.json"):
        kernels.get_local_kernel(tmp_path / "bad")
    (variant / "metadata.json").unlink()  # as the oldest builds are
    assert kernels.get_local_kernel(tmp_path / "bad").__name__.startswith("bad_")


def test_fault_36_local_kernels_obeys_the_backend(hub, monkeypatch):
    monkeypatch.setenv("LOCAL_KERNELS", f"local/one={hub.build}/packages/activation")
    kernels.get_kernel("local/one", backend="cpu")
    with pytest.raises(ValueError, match="Invalid backend 'cuda'"):
        kernels.get_kernel("local/one", backend="cuda")


def test_fault_36_one_cached_variant_is_enough_offline(run_python):
    code = f"import kernels; kernels.get_kernel({PY_SILU!r}, version=1, trust_remote_code=True)"
    run_python("import huggingface_hub\n" + code)
    run_python("import huggingface_hub\n" + code, env={"HF_HUB_OFFLINE": "1"})


@pytest.fixture
def lock_program(hub, tmp_path):
    """lock_program(text of pyproject.toml, *options): what `kernels lock` did in a directory with it."""

    def run(text, *options):
        (tmp_path / "pyproject.toml").write_text(text)
        command = [hub.program, "lock", tmp_path, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)

    return run


@pytest.mark.parametrize("text", ["", "[project]\nname = 'p'\n", "[tool.other]\nx = 1\n"])
def test_fault_37_a_project_that_locks_nothing_is_told_what_is_missing(lock_program, tmp_path, text):
    done = lock_program(text)
    assert done.returncode == 2 and "has no table [tool.kernels.dependencies]" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "kernels.lock").exists()


def test_fault_37_every_variant_is_in_the_sums_in_one_order(lock_program, hub, tmp_path):
    variants = ("torch-universal", "torch-cpu", "tvm-ffi01-cpu-s390x-linux")
    for name, order in (("locked-b", variants), ("locked-a", variants[::-1])):
        branch = hub.repo(f"kernels-test/{name}").branch("v1").package(hub.build)
        for variant in order:
            branch.variant(variant, {"__init__.py": ""}, backend={"type": "cpu"})
    project = '[tool.kernels.dependencies]\n"kernels-test/locked-b" = 1\n"kernels-test/locked-a" = 1\n'
    done = lock_program(project, "--trust-remote-code")
    assert done.returncode == 0, done.stderr
    sums = json.loads((tmp_path / "kernels.lock.sums").read_text())["kernels"]
    assert {kernel["repo_id"] for kernel in sums} == {"kernels-test/locked-a", "kernels-test/locked-b"}
    here = f"tvm-ffi01-cpu-{platform.machine()}-linux"
    for kernel in sums:
        assert list(kernel["variants"]) == sorted({*variants, here})


def _command(*arguments):
    env = dict(os.environ, PYTHONPATH=str(PACKAGE))
    command = [sys.executable, "-X", "importtime", "-m", "kernels.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_fault_38_the_command_line_imports_nothing():
    done = _command("versions", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: kernels versions ")
    assert not [
        line
        for line in done.stderr.splitlines()
        if line.rpartition("|")[2].strip().split(".")[0] in ("torch", "huggingface_hub", "sigstore")
    ]


def test_fault_38_no_verb_starts_python(hub, lock, tmp_path):  # noqa: F811
    """It is no part of the program, and nothing that is found in PATH is started."""
    folder, marker = tmp_path / "bin", tmp_path / "started"
    folder.mkdir()
    for name in ("python", "python3", "sh", "bash", "env"):
        (folder / name).write_text(f"#!/bin/sh\n: > {marker}\n")
        (folder / name).chmod(0o755)
    env = dict(os.environ, PATH=str(folder), LD_DEBUG="files", LD_DEBUG_OUTPUT=str(tmp_path / "files"))
    for arguments in (["lock", lock.parent], ["versions", ACTIVATION], ["info", ACTIVATION], ["--help"]):
        command = [hub.program, *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    assert not marker.exists()
    logs = [log.read_text() for log in tmp_path.glob("files.*")]
    assert len(logs) == 4 and not [log for log in logs if "libpython" in log]


def test_fault_39_no_half_benchmark():
    done = _command("benchmark", ACTIVATION)
    assert done.returncode == 2 and "kernels.get_kernel" in done.stderr
