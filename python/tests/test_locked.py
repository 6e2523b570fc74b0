"""Kernels at the commit of a lock file."""

import json
import os
import subprocess

import pytest

import kernels

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
    infos = [loaded.repo_info for loaded in kernels.get_loaded_kernels() if loaded.module is module]
    assert _commit(lock) in [info.revision for info in infos if info]


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


def test_install_kernel(hub, lock, run_python):
    path = kernels.install_kernel(ACTIVATION, "v1")
    assert (path / "metadata.json").is_file() and path == kernels.install_kernel(
        ACTIVATION, revision="v1", local_files_only=True
    )
    assert (
        kernels.install_kernel(
            ACTIVATION, revision="v1", backend="cpu", user_agent={"who": "me"}, validate_dependencies=True
        )
        == path
    )
    with pytest.raises(ValueError, match="Only one of"):
        kernels.install_kernel(ACTIVATION, "v1", version=1)
    missing = run_python(
        f"import kernels; kernels.install_kernel({ACTIVATION!r}, revision='v1', local_files_only=True)", status=1
    )
    assert "Cannot find a local snapshot" in missing.stderr


def test_install_kernel_with_the_hashes_of_a_lock(hub):
    wrong = {"torch-universal": {"hash": "sha256-" + "0" * 64, "hash_type": "git_lfs_concat"}}
    wrong["torch-cpu"] = wrong["torch-universal"]
    with pytest.raises(ValueError, match="hash"):
        kernels.install_kernel("kernels-test/py-silu", "v1", variant_locks=wrong, trust_remote_code=True)
    with pytest.raises((ValueError, FileNotFoundError), match="variant|lock"):
        kernels.install_kernel(
            "kernels-test/py-silu", "v1", variant_locks={"torch-cuda": wrong["torch-cpu"]}, trust_remote_code=True
        )


@pytest.mark.parametrize("load", [kernels.load_kernel, kernels.get_locked_kernel])
def test_a_lock_file_that_is_not_there_is_named(load, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"Lock file {tmp_path}/kernels.lock does not exist"):
        load("kernels-community/activation", lockfile=tmp_path / "kernels.lock")
