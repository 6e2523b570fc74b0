"""Loading kernels: from the Hub, a directory, a lock file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernels.errors import IncompatibleError, KernelError, NotFoundError, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import Any

    from kernels import _kernels
    from kernels.metadata import Metadata
    from kernels.variants import Decision

# How deep kernels may depend on kernels.
_DEPTH_MAX = 16
_dependencies: dict[tuple[Any, str], ModuleType] = {}  # of a kernel, by repository


@dataclass(frozen=True)
class RepoInfo:
    """Where a kernel came from."""

    repo_id: str
    revision: str


@dataclass(frozen=True)
class LoadedKernel:
    """A kernel of this process; `repo_info` is None for one that did not come from the Hub."""

    metadata: Metadata
    module: ModuleType
    repo_info: RepoInfo | None = None


def source_of(
    repo_id: str, revision: str | None, version: int | str | None, trust_remote_code: bool | list[str]
) -> dict[str, Any]:
    """Which kernel, as the core's options have it.

    Raises ValueError for revision and version together.
    """
    from kernels.layer.repos import consents, version_text

    if not isinstance(repo_id, str):
        raise TypeError(f"repo_id is {repo_id!r}: accepted is a str, as in 'kernels-community/activation'")
    if not repo_id:
        raise ValueError("repo_id is empty: accepted is owner/name, as in 'kernels-community/activation'")
    if revision is not None and version is not None:
        raise ValueError(
            "Either a revision or a version must be specified, not both: Only one of `revision` or `version` counts"
        )
    return {
        "repo_id": repo_id,
        "revision": revision,
        "version": version_text(version),
        "trust_remote_code": consents(repo_id, trust_remote_code),
    }


def agent_text(user_agent: Mapping[str, object] | str | None) -> str | None:
    """The caller's part of the user agent; the caller's mapping stays as it is."""
    if not user_agent:
        return None
    if isinstance(user_agent, str):
        return user_agent.strip().strip(";").strip() or None
    return "; ".join(f"{key}/{value}" for key, value in user_agent.items()) or None


def explain(error: KernelError, what: str, revision: str | None) -> KernelError:
    """The core's error, in the words that callers look for."""
    at = f" (revision: {revision})" if revision else ""
    if isinstance(error, IncompatibleError):
        return make(error.status, f"Cannot find a build variant for this system in {what}{at}: {error}")
    return error


def open_kernel(
    source: dict[str, Any], backend: str | None, user_agent: Mapping[str, object] | str | None = None
) -> _kernels.Kernel:
    """The core's kernel for a source, loaded for a backend."""
    from kernels import _kernels
    from kernels.backends import device_of

    try:
        kernel = _kernels.get_kernel(**source, **device_of(backend), user_agent=agent_text(user_agent))
    except KernelError as error:
        told = explain(error, source.get("repo_id") or source["path"], source.get("revision") or source.get("version"))
        if told is error:
            raise
        raise told from error
    asked = source.get("repo_id")
    if asked and kernel.repo_id and kernel.repo_id != asked:
        import warnings

        warnings.warn(f"'{asked}' redirected to '{kernel.repo_id}'", UserWarning, stacklevel=3)
    return kernel


def module_of(
    kernel: _kernels.Kernel, *, validate: bool = True, package_name: str | None = None, backend: str | None = None
) -> ModuleType:
    """The module of a kernel: its Python package, imported from checked bytes, or its functions and layers as they are.

    validate: are its dependencies to be looked at first, and the kernels among them to be loaded, for the same backend?
    """
    from kernels.importer import _loaded_kernels, _modules, _warn_if_dirty, import_kernel

    known = _modules.get(kernel)
    if known is not None:
        return known
    from kernels.metadata import Metadata, validate_dependencies

    metadata = Metadata.of(kernel)
    _warn_if_dirty(metadata)
    if not kernel.is_hosted:
        from kernels._native import native_module

        module: ModuleType = native_module(kernel)
    else:
        if validate:
            validate_dependencies(metadata.python_name or kernel.repo_id, metadata.python_depends, metadata.backend)
            load_dependencies(kernel, metadata, backend)
        module = import_kernel(kernel, package_name)
    if getattr(getattr(module, "__spec__", None), "_initializing", False):  # its own code asks for it, by way of another kernel
        return module
    info = RepoInfo(kernel.repo_id, kernel.revision) if kernel.repo_id else None
    _loaded_kernels.setdefault(Path(kernel.dir), LoadedKernel(metadata, module, info))
    return _modules.setdefault(kernel, module)


def load_path(path: str | os.PathLike[str], repo_info: RepoInfo | None = None) -> ModuleType:
    """The module of a variant's directory, whatever it depends on."""
    kernel = open_kernel({"path": os.path.abspath(os.fspath(path))}, None)
    return module_of(kernel, validate=False)


def get_kernel(
    repo_id: str,
    revision: str | None = None,
    version: int | str | None = None,
    backend: str | None = None,
    user_agent: Mapping[str, object] | str | None = None,
    trust_remote_code: bool | list[str] = False,
    check_arch: bool = True,
) -> ModuleType:
    """Loads a kernel of the Hub and gives its module; what is missing is downloaded.

    version: an int (the branch v<N>), or a specifier over tags (">=0.0.4,<0.1.0"). revision: a branch, tag or
    commit. Neither: `main`. backend: "cpu", or that of the device which PyTorch uses first (None).
    trust_remote_code: consent to a publisher whom the Hub does not call trusted, for this repository or, as a list,
    for those in it. check_arch: builds for other devices are never loaded, whatever it says. LOCAL_KERNELS
    ("owner/name=/path") puts a directory in the place of a repository.

    Loading it again gives the same module; several versions may be loaded side by side.

    >>> activation = get_kernel("kernels-community/activation", version=1)
    >>> y = torch.empty(1, 2)
    >>> activation.silu_and_mul(y, torch.ones(1, 4))
    >>> y
    tensor([[0.7311, 0.7311]])
    >>> activation.layers.SiluAndMul()(torch.ones(1, 4))
    tensor([[0.7311, 0.7311]])

    Raises ValueError (arguments; a version that does not exist; no trust), FileNotFoundError (no repository; no build
    for this system), ImportError (a dependency is missing; it cannot be loaded), ConnectionError: `kernels.errors`.
    """
    if isinstance(backend, dict):  # older callers: (repo_id, revision, version, user_agent)
        backend, user_agent = None, backend
    source = source_of(repo_id, revision, version, trust_remote_code)
    module = module_of(open_kernel(source, backend, user_agent), backend=backend)
    _warn_if_older(source)
    return module


def _warn_if_older(source: dict[str, Any]) -> None:
    if source["version"] and source["version"].isdecimal():
        from kernels._versions import warn_if_older

        warn_if_older(source["repo_id"], int(source["version"]))


def has_kernel(
    repo_id: str,
    revision: str | None = None,
    version: int | str | None = None,
    backend: str | None = None,
    trust_remote_code: bool | list[str] = False,
    check_arch: bool = True,
) -> bool:
    """Would `get_kernel` with the same arguments find a kernel for this system? Nothing but metadata is downloaded.

    >>> has_kernel("kernels-community/activation", version=1)
    True

    Raises what `get_kernel` raises for wrong arguments, and when the Hub cannot be asked.
    """
    from kernels import _kernels
    from kernels.backends import device_of
    from kernels.errors import FormatError, LoadError, UnsupportedError, UntrustedError
    from kernels.metadata import Metadata, validate_dependencies

    source = source_of(repo_id, revision, version, trust_remote_code)
    options = source | device_of(backend)
    try:
        if f"{repo_id}=" in os.environ.get("LOCAL_KERNELS", ""):
            _kernels.fetch_kernel(**options)  # the core reads that variable; of a directory it downloads nothing
            return True
        metadata = Metadata.parse(_kernels.find_kernel(**options)[3])
        if metadata.python_depends:
            validate_dependencies(metadata.python_name, metadata.python_depends, metadata.backend)
    except (NotFoundError, IncompatibleError, UntrustedError, UnsupportedError, FormatError, LoadError):
        return False
    except ImportError:
        return False
    except ValueError as error:
        if isinstance(error, KernelError):
            raise
        return False
    return True


def get_local_kernel(
    repo_path: str | os.PathLike[str],
    package_name: str | None = None,
    backend: str | None = None,
    trust_remote_code: bool | list[str] = False,
) -> ModuleType:
    """Loads a kernel of a directory: a repository, its `build` folder, or one variant.

    The second argument may also be the backend. `package_name` is looked at where the directory does not say the name.

    >>> activation = get_local_kernel("packages/activation")
    >>> activation.layers.SiLU()(torch.zeros(1))
    tensor([0.])

    Raises FileNotFoundError without a build for this system there; else as `get_kernel`.
    """
    from kernels.backends import BACKENDS

    if backend is None and package_name in BACKENDS:
        package_name, backend = None, package_name
    path = os.path.abspath(os.fspath(repo_path))
    try:
        return module_of(open_kernel({"path": path}, backend), package_name=package_name, backend=backend)
    except NotFoundError as error:
        what = f"package '{package_name}' in" if package_name else "kernel in"
        raise make("not_found", f"Could not find {what} {path}: {error}") from error


def _locked_source(
    repo_id: str, lockfile: str | os.PathLike[str] | None, trust_remote_code: bool | list[str] = False
) -> dict[str, Any]:
    from kernels._locks import caller_lock
    from kernels.layer.repos import consents

    lock = os.path.abspath(os.fspath(lockfile)) if lockfile is not None else caller_lock(repo_id)
    if not os.path.exists(lock):
        raise make("not_found", f"Lock file {lock} does not exist: `kernels lock` makes one")
    return {"repo_id": repo_id, "lock": lock, "trust_remote_code": consents(repo_id, trust_remote_code)}


def _must_be_here(source: dict[str, Any], backend: str | None, text: str) -> None:
    from kernels import _kernels
    from kernels.backends import device_of
    from kernels.errors import NetworkError

    try:
        if _kernels.is_downloaded(**source, **device_of(backend)):
            return
    except NetworkError as error:  # of a commit that the cache has nothing of
        raise make("not_found", f"{text}: {error}") from error
    except NotFoundError as error:
        if "is not locked" in str(error):
            raise
        raise make("not_found", f"{text}: {error}") from error
    raise make("not_found", text)


def load_kernel(
    repo_id: str,
    lockfile: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    trust_remote_code: bool | list[str] = False,
) -> ModuleType:
    """Loads a kernel that was downloaded before (`kernels download`), at the commit of a lock file. Never downloads.

    lockfile: a kernels.lock; None: that of the caller's own distribution.

    >>> activation = load_kernel("kernels-community/activation", "kernels.lock")

    Raises ValueError when the lock has no such kernel, FileNotFoundError when it is not here.
    """
    source = _locked_source(repo_id, lockfile, trust_remote_code)
    _must_be_here(
        source,
        backend,
        f"Locked kernel `{repo_id}` was not downloaded: run `kernels download` with the project of its lock",
    )
    return module_of(open_kernel(source, backend), validate=False)


def get_locked_kernel(
    repo_id: str,
    local_files_only: bool = False,
    lockfile: str | os.PathLike[str] | None = None,
    backend: str | None = None,
    trust_remote_code: bool | list[str] = False,
) -> ModuleType:
    """Loads a kernel at the commit of a lock file, by default the caller's own; downloads what is missing.

    local_files_only: nothing is downloaded.

    >>> activation = get_locked_kernel("kernels-community/activation", lockfile="kernels.lock")

    Raises ValueError when the lock has no such kernel; else as `get_kernel`.
    """
    source = _locked_source(repo_id, lockfile, trust_remote_code)
    if local_files_only:
        _must_be_here(source, backend, f"Locked kernel `{repo_id}` was not downloaded")
    return module_of(open_kernel(source, backend), backend=backend)


def get_kernel_variants(
    repo_id: str,
    *,
    revision: str | None = None,
    version: int | str | None = None,
    backend: str | None = None,
    trust_remote_code: bool | list[str] = False,
) -> list[Decision]:
    """The build variants of a repository, each with whether it fits this system: accepted ones first, best first.

    >>> for decision in get_kernel_variants("kernels-community/activation", version=1):
    ...     print(decision)
    tvm-ffi01-cpu-...-linux compatible
    """
    from kernels import _kernels
    from kernels.backends import device_of
    from kernels.variants import decision_of

    source = source_of(repo_id, revision, version, trust_remote_code)
    return [decision_of(entry) for entry in _kernels.choose_variants(**source, **device_of(backend))]


def get_loaded_kernels() -> list[LoadedKernel]:
    """The kernels of this process in the order they were loaded, as a list of the caller's own.

    >>> activation = get_kernel("kernels-community/activation", version=1)
    >>> activation in [loaded.module for loaded in get_loaded_kernels()]
    True
    """
    from kernels.importer import _loaded_kernels

    return list(_loaded_kernels.values())


def load_dependencies(
    kernel: _kernels.Kernel, metadata: Metadata, backend: str | None, above: tuple[str, ...] = ()
) -> None:
    """Loads the kernels that a kernel depends on, each under the rules of this process: nobody consents for them."""
    who = kernel.repo_id or kernel.dir
    if not metadata.kernel_depends:
        return
    if who in above or len(above) >= _DEPTH_MAX:
        raise make(
            "load",
            f"{who}: kernels depend on each other: {' -> '.join((*above, who))}; accepted are {_DEPTH_MAX} levels",
        )
    from kernels.metadata import Metadata as Parsed

    for wanted in metadata.kernel_depends:
        needed = open_kernel(source_of(wanted.repo_id, wanted.revision, wanted.version, False), backend)
        load_dependencies(needed, Parsed.of(needed), backend, (*above, who))
        _dependencies[kernel, wanted.repo_id] = module_of(needed, backend=backend)


def get_kernel_dep(repo_id: str) -> ModuleType:
    """For a kernel's own code: the kernel that its metadata says it depends on, at the version that it says.

    Raises ValueError when the caller is no kernel, or does not depend on `repo_id`.
    """
    import sys

    from kernels.importer import kernel_of
    from kernels.metadata import Metadata as Parsed

    name = sys._getframe(1).f_globals.get("__name__", "")
    kernel = kernel_of(name)
    if kernel is None:
        raise ValueError(f"get_kernel_dep: the caller {name!r} is no kernel")
    known = _dependencies.get((kernel, repo_id))
    if known is not None:
        return known
    for wanted in Parsed.of(kernel).kernel_depends:
        if wanted.repo_id == repo_id:
            source = source_of(repo_id, wanted.revision, wanted.version, False)
            return module_of(open_kernel(source, None))
    raise ValueError(f"get_kernel_dep: {kernel!r} does not depend on {repo_id!r} (kernel-depends of its metadata.json)")
