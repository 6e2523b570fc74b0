"""Downloading kernels without importing them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from kernels.load import _must_be_here, agent_text, explain, source_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def install_kernel(
    repo_id: str,
    revision: str | None = None,
    local_files_only: bool = False,
    variant_locks: Mapping[str, Any] | None = None,
    user_agent: Mapping[str, object] | str | None = None,
    *,
    version: int | str | None = None,
    backend: str | None = None,
    validate_dependencies: bool = False,
    trust_remote_code: bool | list[str] = False,
) -> Path:
    """Downloads and checks the variant that fits this system, and gives its directory. Nothing of it is run.

    local_files_only: it must be here. variant_locks: the hashes of a kernels.lock, by variant; others are refused.
    validate_dependencies: raise when what it needs cannot be imported.

    >>> directory = install_kernel("kernels-community/activation", revision="v1")
    >>> (directory / "metadata.json").is_file()
    True

    Raises as `kernels.get_kernel`; FileNotFoundError `Cannot find a local snapshot` with local_files_only.
    """
    from kernels import _kernels
    from kernels.backends import device_of
    from kernels.errors import KernelError

    source = source_of(repo_id, revision, version, trust_remote_code)
    options = device_of(backend)
    lock = None
    try:
        if variant_locks is not None:
            lock = _write_lock(source, variant_locks)
            source = {"repo_id": repo_id, "lock": lock, "trust_remote_code": source["trust_remote_code"]}
        if local_files_only:
            _must_be_here(source, backend, f"Cannot find a local snapshot of {repo_id} for this system")
        path = Path(_kernels.fetch_kernel(**source, **options, user_agent=agent_text(user_agent))[0])
    except KernelError as error:
        told = explain(error, repo_id, revision)
        if told is error:
            raise
        raise told from error
    finally:
        if lock is not None:
            os.unlink(lock)
    if validate_dependencies:
        _validate(path)
    return path


def _validate(path: Path) -> None:
    from kernels.metadata import Metadata, validate_dependencies

    metadata = Metadata.parse((path / "metadata.json").read_bytes())
    validate_dependencies(metadata.python_name, metadata.python_depends, metadata.backend)


def _write_lock(source: dict[str, Any], variant_locks: Mapping[str, Any]) -> str:
    """A kernels.lock of this one kernel: the core has the rule for its hashes."""
    from kernels import _kernels

    commit = _kernels.resolve(**source)[1]
    variants = {
        name: {"hash": getattr(lock, "hash", lock), "hash_type": getattr(lock, "hash_type", "git_lfs_concat")}
        for name, lock in variant_locks.items()
    }
    file, path = tempfile.mkstemp(suffix=".lock")
    with os.fdopen(file, "w") as out:
        json.dump([{"repo_id": source["repo_id"], "sha": commit, "variants": variants}], out)
    return path
