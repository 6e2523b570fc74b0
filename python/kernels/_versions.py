"""Versions of a kernel's repository."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_told: set[tuple[str, int]] = set()


@dataclass(frozen=True)
class GitRef:
    """A tag or branch of a repository: its name, and the commit it names."""

    name: str
    target_commit: str


def _get_available_versions(repo_id: str) -> dict[int, GitRef]:
    """The version branches v<N> of a repository, by N, in the order of their numbers."""
    from kernels import _kernels

    rows = _kernels.versions(repo_id)
    found = {
        int(version): GitRef(ref, commit)
        for ref, version, commit, is_branch, _, _ in rows
        if is_branch and version.isdecimal()
    }
    return dict(sorted(found.items()))


def resolve_version_spec_as_ref(repo_id: str, version_spec: int | str) -> GitRef:
    """The tag or branch that a version means. Raises ValueError when there is none."""
    from kernels import _kernels
    from kernels.layer.repos import version_text

    _, commit, ref, _ = _kernels.resolve(repo_id=repo_id, version=version_text(version_spec), trust_remote_code=True)
    return GitRef(ref, commit)


def warn_if_older(repo_id: str, version: int) -> None:
    """One warning for each repository and version when there is a newer version branch."""
    from kernels.errors import KernelError

    if (repo_id, version) in _told:
        return
    _told.add((repo_id, version))
    try:
        newest = max(_get_available_versions(repo_id), default=version)
    except KernelError:  # a hint; loading went well
        return
    if newest > version:
        logging.getLogger(__name__).warning(
            "You are using version %d of '%s', but version %d is available.", version, repo_id, newest
        )
