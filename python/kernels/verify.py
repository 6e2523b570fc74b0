"""Signatures of kernels are checked by the program that made them; contents by `kernels verify`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def verify_signature(repo_id: str, *args: object, **kwargs: object) -> NoReturn:
    """Raises UnsupportedError, which says what to use."""
    from kernels.errors import make

    raise make(
        "unsupported",
        f"{repo_id}: this library checks no sigstore signatures: use `kernels verify {repo_id}` for its contents, "
        "and `kernels lock` to pin them",
    )
