"""Kernels at the commit of a lock file."""

import json
import os
import subprocess

import pytest

import kernels
from kernels.lockfile import write_egg_lockfile

ACTIVATION = "kernels-community/activation"
PROJECT = f'[tool.kernels.dependencies]\n"{ACTIVATION}" = 1\n'


@pytest.fixture
def lock(hub, tmp_path):
    """A kernels.lock that the program wrote."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    subprocess.run([hub.program, "lock", tmp_path], check=True, env=os.environ, capture_output=True)
    return tmp_path / "kernels.lock"


def _commit(lock):
    (entry,) = json.loads(lock.read_text())
    return entry.get("sha") or entry["lock"]["commit"]


def test_get_locked_kernel(hub, lock):
    module = kernels.get_locked_kernel(ACTIVATION, lockfile=lock)
    (loaded,) = [loaded for loaded in kernels.get_loaded_kernels() if loaded.module is module]
    assert loaded.repo_info.revision == _commit(lock)


@pytest.mark.parametrize("load", [kernels.load_kernel, kernels.get_locked_kernel])
def test_not_in_the_lock(hub, lock, load):
    with pytest.raises(ValueError, match="is not locked"):
        load("kernels-community/rotary", lockfile=lock)
    with pytest.raises(ValueError, match=r"is not locked\. Please lock it with"):
        load("kernels-community/rotary")


def test_load_kernel_never_downloads(run_python, lock):
    load = f"import kernels; kernels.load_kernel({ACTIVATION!r}, {str(lock)!r})"  # positionally, as SGLang does
    refused = run_python(load, status=1)
    assert "FileNotFoundError" not in refused.stdout and "was not downloaded" in refused.stderr
    offline = run_python(load, env={"HF_HUB_OFFLINE": "1"}, status=1)
    assert "was not downloaded" in offline.stderr
    local = f"import kernels; kernels.get_locked_kernel({ACTIVATION!r}, local_files_only=True, lockfile={str(lock)!r})"
    assert "was not downloaded" in run_python(local, status=1).stderr
    run_python(f"import kernels; kernels.get_locked_kernel({ACTIVATION!r}, lockfile={str(lock)!r})")
    for code in (load, local):
        run_python(code)
        run_python(code, env={"HF_HUB_OFFLINE": "1"})


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


def test_the_callers_own_lock(run_python, lock, tmp_path, build):
    site = tmp_path / "site"
    _install(site, "has_lock", lock)
    _install(site, "has_none")
    path = {"PYTHONPATH": f"{build / 'python'}:{site}"}
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
def test_the_hook_of_setuptools(tmp_path, monkeypatch, caplog, project, lock_text, stale, done):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "egg").mkdir()
    for name, text in (("pyproject.toml", project), ("kernels.lock", lock_text), ("egg/kernels.lock", "old" if stale else None)):
        if text is not None:
            (tmp_path / name).write_text(text)
    command = Command()
    write_egg_lockfile(command, "kernels.lock", "egg/kernels.lock")
    assert command.done == done
    assert ("kernels lock" in caplog.text) == (project == PROJECT and lock_text is None)


def test_install_kernel(hub, lock, run_python):
    path = kernels.install_kernel(ACTIVATION, "v1")
    assert (path / "metadata.json").is_file() and path == kernels.install_kernel(ACTIVATION, revision="v1", local_files_only=True)
    assert kernels.install_kernel(ACTIVATION, revision="v1", backend="cpu", user_agent={"who": "me"}, validate_dependencies=True) == path
    with pytest.raises(ValueError, match="Only one of"):
        kernels.install_kernel(ACTIVATION, "v1", version=1)
    missing = run_python(f"import kernels; kernels.install_kernel({ACTIVATION!r}, revision='v1', local_files_only=True)", status=1)
    assert "Cannot find a local snapshot" in missing.stderr


def test_install_kernel_with_the_hashes_of_a_lock(hub):
    wrong = {"torch-universal": {"hash": "sha256-" + "0" * 64, "hash_type": "git_lfs_concat"}}
    wrong["torch-cpu"] = wrong["torch-universal"]
    with pytest.raises(ValueError, match="hash"):
        kernels.install_kernel("kernels-test/py-silu", "v1", variant_locks=wrong, trust_remote_code=True)
    with pytest.raises((ValueError, FileNotFoundError), match="variant|lock"):
        kernels.install_kernel("kernels-test/py-silu", "v1", variant_locks={"torch-cuda": wrong["torch-cpu"]}, trust_remote_code=True)
