"""What a mapping points to: layers and functions of kernel repositories.

A repository object says where a kernel lies. Making one, printing one and comparing two touch neither network nor disk.
"""

from __future__ import annotations

import os

from ._value import Keyed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


def version_text(version: object) -> str | None:
    """A version as the core takes it: a specifier over tags, or the number of a version branch in digits."""
    if version is None or isinstance(version, str):
        return version
    if not isinstance(version, int) or isinstance(version, bool):
        raise TypeError(f"version is {version!r}: accepted are an int (branch v<N>) and a str (specifier over tags)")
    if version < 0:
        raise ValueError(f"version is {version}: accepted are numbers from 0, which name the branch v<N>")
    return str(version)


def consents(repo_id: str, trust_remote_code: object) -> bool:
    """`trust_remote_code` as the core takes it: for this repository, yes or no."""
    if isinstance(trust_remote_code, bool):
        return trust_remote_code
    if isinstance(trust_remote_code, (list, tuple, set, frozenset)):
        return repo_id in trust_remote_code
    raise TypeError(f"trust_remote_code is {trust_remote_code!r}: accepted are a bool and a list of repository ids")


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}: accepted is a str")
    return value


class Repository(Keyed):
    """A layer or function of a kernel repository; the classes below say where it lies."""

    _kind = "layer"  # what `_layer_name` names
    _layer_name: str

    @property
    def layer_name(self) -> str:
        """The layer's name in the repository."""
        return self._layer_name

    def _source(self) -> dict[str, Any]:
        """Where the kernel comes from, by the names of the core's options and entries."""
        raise NotImplementedError

    def _text(self) -> str:
        raise NotImplementedError

    def _asking(self) -> dict[str, Any]:
        """Who asks the Hub; no part of what the repository is."""
        return {}

    def _key(self) -> tuple:
        return (self._layer_name, *sorted(self._source().items(), key=lambda item: item[0]))

    def __str__(self) -> str:
        return f"{self._text()}, {self._kind} `{self._layer_name}`"

    def __repr__(self) -> str:
        given = {name: value for name, value in self._source().items() if value not in (None, False)}
        given[f"{self._kind}_name"] = self._layer_name
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def load(self) -> type:
        """The layer's class, a subclass of torch.nn.Module; what is missing is fetched.

        Raises what `kernels.get_kernel` raises, and ValueError when the kernel has no such layer.
        """
        from kernels._torch.layers import load_layer

        return load_layer(self)


class LayerRepository(Repository):
    """A layer of a repository on the Hub.

    `version` is a specifier over the repository's tags (">=0.0.4,<0.1.0"), or an int or its digits: the branch v<N>.
    `revision` is a branch, tag or commit. At most one of them is given; neither means the branch main.
    `trust_remote_code` is the consent to a publisher that nobody vouches for.

    >>> str(LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=1))
    '`kernels-community/activation` (version: 1), layer `SiluAndMul`'

    Raises ValueError for revision and version together.
    """

    _user_agent: Mapping[str, str] | str | None

    def __init__(
        self,
        repo_id: str,
        *,
        layer_name: str,
        revision: str | None = None,
        version: int | str | None = None,
        trust_remote_code: bool | list[str] = False,
        user_agent: Mapping[str, str] | str | None = None,
    ) -> None:
        if revision is not None and version is not None:
            raise ValueError("Either a revision or a version must be specified, not both.")
        self._repo_id = _name(repo_id, "repo_id")
        self._layer_name = _name(layer_name, f"{self._kind}_name")
        self._revision = None if revision is None else _name(revision, "revision")
        self._version = version
        self._version_text = version_text(version)
        self._trust_remote_code = consents(repo_id, trust_remote_code)
        self._user_agent = user_agent if user_agent is None or isinstance(user_agent, str) else dict(user_agent)

    def _source(self) -> dict[str, Any]:
        return {
            "repo_id": self._repo_id,
            "revision": self._revision,
            "version": self._version_text,
            "trust_remote_code": self._trust_remote_code,
        }

    def _asking(self) -> dict[str, Any]:
        if self._user_agent is None:
            return {}
        from kernels.load import agent_text

        return {"user_agent": agent_text(self._user_agent)}

    def _text(self) -> str:
        if self._version_text is not None:
            return f"`{self._repo_id}` (version: {self._version_text})"
        return f"`{self._repo_id}` (revision: {self._revision or 'main'})"


class LocalLayerRepository(Repository):
    """A layer of a kernel in a local directory: a repository, its `build` folder, or one variant.

    `repo_path` is a str or os.PathLike. `package_name` is accepted for programs that give it: the directory says the
    name.

    >>> LocalLayerRepository("/opt/kernels/activation", layer_name="SiluAndMul")
    LocalLayerRepository(path='/opt/kernels/activation', layer_name='SiluAndMul')
    """

    def __init__(self, repo_path: str | os.PathLike[str], *, layer_name: str, package_name: str | None = None) -> None:
        self._path = os.path.abspath(_name(os.fspath(repo_path), "repo_path"))
        self._package_name = package_name
        self._layer_name = _name(layer_name, f"{self._kind}_name")

    @property
    def _repo_path(self) -> Path:
        from pathlib import Path

        return Path(self._path)

    def _source(self) -> dict[str, Any]:
        return {"path": self._path}

    def _key(self) -> tuple:
        return (self._layer_name, self._path, self._package_name)

    def _text(self) -> str:
        package = f" (package: {self._package_name})" if self._package_name is not None else ""
        return f"`{self._path}`{package}"


class LockedLayerRepository(Repository):
    """A layer of a repository on the Hub, at the commit that a lock file names.

    `lockfile` is the path of a kernels.lock; without one, the lock file in the caller's own distribution that names
    the repository. The file is read when the layer is used. Raises ValueError when no distribution of the caller
    locks the repository.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        lockfile: str | os.PathLike[str] | None = None,
        layer_name: str,
        trust_remote_code: bool | list[str] = False,
    ) -> None:
        self._repo_id = _name(repo_id, "repo_id")
        self._layer_name = _name(layer_name, f"{self._kind}_name")
        self._trust_remote_code = consents(repo_id, trust_remote_code)
        if lockfile is None:
            from kernels._locks import caller_lock

            lockfile = caller_lock(repo_id)
        self._lockfile = os.path.abspath(_name(os.fspath(lockfile), "lockfile"))

    def _source(self) -> dict[str, Any]:
        return {"repo_id": self._repo_id, "lock": self._lockfile, "trust_remote_code": self._trust_remote_code}

    def _text(self) -> str:
        return f"`{self._repo_id}` (lock: {self._lockfile})"


class _Function(Repository):
    _kind = "function"

    @property
    def func_name(self) -> str:
        """The function's name in the repository."""
        return self._layer_name


def _deprecate(name: str) -> None:
    import warnings

    warnings.warn(
        f"{name} is deprecated since kernels 0.17: map the name to a layer repository instead",
        DeprecationWarning,
        stacklevel=3,
    )


class FuncRepository(_Function, LayerRepository):
    """A function of a repository on the Hub, as `LayerRepository`. Deprecated: a layer serves functions too."""

    def __init__(self, repo_id: str, *, func_name: str, **options: Any) -> None:
        _deprecate("FuncRepository")
        super().__init__(repo_id, layer_name=func_name, **options)


class LocalFuncRepository(_Function, LocalLayerRepository):
    """A function of a kernel in a local directory, as `LocalLayerRepository`. Deprecated: a layer serves functions
    too."""

    def __init__(self, repo_path: str | os.PathLike[str], *, func_name: str, package_name: str | None = None) -> None:
        _deprecate("LocalFuncRepository")
        super().__init__(repo_path, layer_name=func_name, package_name=package_name)


class LockedFuncRepository(_Function, LockedLayerRepository):
    """A function at the commit that a lock file names, as `LockedLayerRepository`. Deprecated: a layer serves
    functions too."""

    def __init__(self, repo_id: str, *, func_name: str, **options: Any) -> None:
        _deprecate("LockedFuncRepository")
        super().__init__(repo_id, layer_name=func_name, **options)


def entry_of(repository: object) -> dict[str, Any]:
    """What the core holds of a repository object: where the kernel comes from, or what to call an object that loads
    by itself.

    Raises TypeError for an object that is no repository.
    """
    own = isinstance(repository, Repository)
    if own and type(repository).load is Repository.load:  # a subclass with a load() of its own loads by itself
        return repository._source() | repository._asking() | {"layer_name": repository._layer_name}
    name = getattr(repository, "layer_name", None)
    if name is None:
        name = getattr(repository, "func_name", None)
    if not isinstance(name, str) or not callable(getattr(repository, "load", None)):
        raise TypeError(
            f"{repository!r}: accepted are LayerRepository, LocalLayerRepository, LockedLayerRepository, and "
            "objects with layer_name (or func_name) and load()"
        )
    return {"layer_name": name, "label": str(repository)}


def repository_of(entry: Mapping[str, Any]) -> Repository:
    """The repository that an entry without an object of ours says: of a mapping file."""
    name, trust = entry["layer_name"], bool(entry.get("trust_remote_code"))
    if entry.get("path"):
        return LocalLayerRepository(entry["path"], layer_name=name)
    if entry.get("lock"):
        return LockedLayerRepository(entry["repo_id"], lockfile=entry["lock"], layer_name=name, trust_remote_code=trust)
    return LayerRepository(
        entry["repo_id"],
        layer_name=name,
        revision=entry.get("revision"),
        version=entry.get("version"),
        trust_remote_code=trust,
        user_agent=entry.get("user_agent"),
    )
