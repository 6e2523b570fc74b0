"""Which lock file is the caller's: that of the distribution whose code calls."""

from __future__ import annotations

import sys

from kernels.errors import NotFoundError, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def _is_ours(name: str) -> bool:
    return name == "kernels" or name.startswith("kernels.")


def calling_package() -> str:
    """The top-level package of the first caller that is not this library; "" when there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if name and not _is_ours(name):
            return name.partition(".")[0]
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _locks_of(package: str) -> Iterator[str]:
    """The kernels.lock files of the distributions that have a package, in their order."""
    from importlib import metadata

    for name in dict.fromkeys(metadata.packages_distributions().get(package, ())):
        distribution = metadata.distribution(name)
        folder = getattr(distribution, "_path", None)
        if folder is not None and (folder / "kernels.lock").is_file():
            yield str((folder / "kernels.lock").absolute())


def caller_lock(repo_id: str) -> str:
    """The lock file, in the caller's own distribution, that has a repository.

    Raises ValueError (`is not locked`) when there is none.
    """
    from kernels import _kernels

    package = calling_package()
    for path in _locks_of(package):
        try:
            _kernels.resolve(repo_id=repo_id, lock=path, trust_remote_code=True)
        except NotFoundError as error:
            if "is not locked" in str(error):
                continue
        return path
    raise make(
        "not_found",
        f"Kernel `{repo_id}` is not locked. Please lock it with `kernels lock <project>`: "
        f"no distribution of the calling package {package!r} has a kernels.lock with it",
    )
