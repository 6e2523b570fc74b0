"""Where a repository says that it moved (kernel-status.toml at its root)."""

from __future__ import annotations


def redirect_of(repo_id: str, revision: str | None = None) -> str | None:
    """The repository that serves in the place of `repo_id`; None when it serves itself.

    Raises what `kernels.get_kernel` raises when the repository cannot be looked at, or its status file is malformed.
    """
    from kernels import _kernels

    served, _, _, moved_to = _kernels.resolve(repo_id=repo_id, revision=revision, trust_remote_code=True)
    return moved_to or (served if served != repo_id else None)
