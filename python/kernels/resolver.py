"""What a reference means on this system, without loading it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resolved:
    """A build variant of a commit of a repository."""

    repo_id: str
    revision: str
    variant: str


def resolve_kernel(
    repo_id: str,
    *,
    revision: str | None = None,
    version: int | str | None = None,
    backend: str | None = None,
    trust_remote_code: bool | list[str] = False,
) -> Resolved:
    """Which build of which commit `get_kernel` would take; nothing but metadata is downloaded.

    >>> resolve_kernel("kernels-community/activation", version=1).variant
    'torch29-cxx11-cu128-x86_64-linux'

    Raises as `kernels.get_kernel`.
    """
    from kernels import _kernels
    from kernels.backends import device_of
    from kernels.load import source_of

    source = source_of(repo_id, revision, version, trust_remote_code)
    found, commit, variant, _ = _kernels.find_kernel(**source, **device_of(backend))
    return Resolved(found, commit, variant)
