"""Python packages of kernels, imported from the bytes that were checked.

A kernel's package is a module of its own name in `sys.modules`, found by a finder that knows nothing but the kernels
of this process: it gives source code that was read and checked, never what else lies in the directory. Byte code is
neither read nor written. A shared object is opened by its path, and held against what was checked before and after.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock
from types import ModuleType

from kernels.errors import make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from typing import Any

    from kernels import _kernels
    from kernels.load import LoadedKernel, RepoInfo
    from kernels.metadata import Metadata

# What was loaded, in order, by the kernel's directory: kernels.get_loaded_kernels.
_loaded_kernels: dict[Path, LoadedKernel] = {}
_modules: dict[Any, ModuleType] = {}  # the same by kernel

_packages: dict[str, _Package] = {}  # by module name
_owners: dict[str, _kernels.Kernel] = {}  # native ones too
_by_kernel: dict[Any, _Package] = {}
naming = allocate_lock()  # held while a kernel gets its name, never while code of one runs


class _Package:
    """A kernel's Python package: which files are its modules."""

    def __init__(self, kernel: _kernels.Kernel, name: str, root: str) -> None:
        self.kernel = kernel
        self.name = name
        self.root = root  # "" or "activation/"
        self.files = frozenset(file for file in kernel.files if file.startswith(root))
        self.folders = frozenset(file[:at] for file in self.files for at in _slashes(file))

    def place(self, name: str) -> tuple[str, bool] | None:
        """A module's file, and whether it is a package; without __init__.py its folder, with a slash at the end."""
        from importlib.machinery import EXTENSION_SUFFIXES

        path = self.root + "/".join(name.split(".")[1:])
        init = path + "/__init__.py" if name != self.name else self.root + "__init__.py"
        if init in self.files:
            return init, True
        for suffix in (*EXTENSION_SUFFIXES, ".py"):
            if path + suffix in self.files:
                return path + suffix, False
        return (path + "/", True) if path in self.folders else None

    def path(self, file: str) -> str:
        return f"{self.kernel.dir}/{file}".rstrip("/")


def _slashes(file: str) -> Iterator[int]:
    at = file.find("/")
    while at >= 0:
        yield at
        at = file.find("/", at + 1)


class _Loader:
    """Of one module. The import system asks it, and who wants the source or a file of the package."""

    def __init__(self, package: _Package, name: str, file: str) -> None:
        self.package = package
        self.name = name
        self.file = file
        self._extension: Any = None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        if self.file.endswith((".py", "/")):
            return None
        from importlib.machinery import ExtensionFileLoader

        kernel = self.package.kernel
        for file in kernel.files:  # the dynamic linker opens what it needs beside it, whatever that is called
            if not file.endswith(".py"):
                kernel.check_file(file)
        path = kernel.check_file(self.file)
        self._extension = ExtensionFileLoader(spec.name, path)
        module = self._extension.create_module(spec)
        if kernel.check_file(self.file) != path:
            raise make("untrusted", f"{path}: was replaced while it was opened")
        return module

    def exec_module(self, module: ModuleType) -> None:
        if self._extension is not None:
            self._extension.exec_module(module)
        elif not self.file.endswith("/"):
            code = self.get_code(self.name)
            exec(code, module.__dict__)

    def get_code(self, name: str) -> Any:
        source = self.package.kernel.read(self.file)
        path = self.get_filename(name)
        _show_lines(path, source)
        return compile(source, path, "exec", dont_inherit=True)

    def get_filename(self, name: str) -> str:
        return self.package.path(self.file)

    def is_package(self, name: str) -> bool:
        return self.file.endswith(("/__init__.py", "/")) or self.file == "__init__.py"

    def get_source(self, name: str) -> str | None:
        if not self.file.endswith(".py"):
            return None
        from importlib.util import decode_source

        return decode_source(self.package.kernel.read(self.file))

    def get_data(self, path: str) -> bytes:
        """A file of the kernel, by its path, as it was checked."""
        import os

        return self.package.kernel.read(os.path.relpath(path, self.package.kernel.dir))

    def get_resource_reader(self, name: str) -> Any:
        from kernels._resources import Reader

        return Reader(self.package.kernel, self.file[: self.file.rfind("/") + 1]) if self.is_package(name) else None


def _show_lines(path: str, source: bytes) -> None:
    # What inspect.getsource gives may run (Triton compiles it): the lines that were checked, whatever becomes of them.
    import linecache
    from importlib.util import decode_source

    text = decode_source(source)
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)


class _Finder:
    """Knows the modules of kernels, and no others."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package = _packages.get(name.partition(".")[0])
        if package is None:
            return None
        place = package.place(name)
        if place is None:  # no other finder may look: it would find what nobody checked
            raise ModuleNotFoundError(f"No module named {name!r} in {package.kernel!r}", name=name)
        from importlib.machinery import ModuleSpec

        file, is_package = place
        origin = package.path(file)
        loader: Any = _Loader(package, name, file)
        spec = ModuleSpec(name, loader, origin=origin, is_package=is_package)
        spec.has_location = not file.endswith("/")
        if is_package:
            spec.submodule_search_locations = [origin.removesuffix("/__init__.py")]
        return spec

    @staticmethod
    def invalidate_caches() -> None:
        pass


def _come_first() -> None:
    if not sys.meta_path or sys.meta_path[0] is not _Finder:
        finder: Any = _Finder
        sys.meta_path[:] = [finder, *(other for other in sys.meta_path if other is not finder)]


def _content(kernel: _kernels.Kernel) -> str:
    """A name for all of a kernel's files together."""
    from hashlib import sha256

    whole = sha256()
    for file in kernel.files:
        data = kernel.read(file)
        whole.update(f"{len(file.encode())} {len(data)} {file}".encode() + data)
    return whole.hexdigest()[:16]


def _check_name(name: str) -> None:
    """Refuses a module name that is none, or that something else in this process goes by."""
    from importlib.util import find_spec
    from keyword import iskeyword

    if not name.isidentifier() or iskeyword(name):
        raise make("load", f"the id {name!r} is no module name: accepted is an identifier of Python")
    if name in sys.modules or name in sys.stdlib_module_names or find_spec(name) is not None:
        raise make("load", f"the id {name!r} is the name of another module, which it would shadow")


def claim_name(kernel: _kernels.Kernel, package_name: str) -> tuple[str, _kernels.Kernel]:
    """What a kernel's module is called: its id; without one, or where another kernel has it, a name by its content.

    Gives the kernel too that has the name: the same files are the same module, wherever they lie. Raises LoadError for
    an id that is no module name, or that of a foreign module.
    """
    name = kernel.id
    if name and name not in _owners:
        _check_name(name)
    owner = _owners.get(name, kernel)
    if not name or (owner is not kernel and _content(owner) != _content(kernel)):
        first = name or (package_name if package_name.isidentifier() else "kernel")
        name = f"{first}_{_content(kernel)}"
    return name, _owners.setdefault(name, kernel)


def _root(kernel: _kernels.Kernel, package_name: str | None) -> str:
    """Where the package begins: the variant itself, or, in older builds, a folder of it by the package's name."""
    if "__init__.py" in kernel.files:
        return ""
    names = [package_name, kernel.name, kernel.repo_id.rpartition("/")[2]]
    for name in names:
        if name and f"{name.replace('-', '_')}/__init__.py" in kernel.files:
            return f"{name.replace('-', '_')}/"
    inits = [file for file in kernel.files if file.count("/") == 1 and file.endswith("/__init__.py")]
    if len(inits) == 1 and not package_name:
        return inits[0].removesuffix("__init__.py")
    raise make(
        "not_found",
        f"No kernel module found at {kernel.dir}: no __init__.py, nor one in a folder of the package's name",
    )


def _name(kernel: _kernels.Kernel, package_name: str | None) -> _Package:
    root = _root(kernel, package_name)
    name, owner = claim_name(kernel, root.rstrip("/") or kernel.name.replace("-", "_") or package_name or "")
    package = _packages.setdefault(name, _Package(owner, name, root))
    return _by_kernel.setdefault(kernel, package)


def import_kernel(kernel: _kernels.Kernel, package_name: str | None = None) -> ModuleType:
    """The module of a kernel that is imported, executed once in this process.

    Threads that ask at once wait for the one that executes it. Within a circle of kernels that import each other a
    module may be half executed, as everywhere in Python. What raises meanwhile leaves nothing in `sys.modules`.

    Raises what the package raises; LoadError for an id that cannot be its module's name; NotFoundError without an
    `__init__.py`.
    """
    from importlib import import_module
    from importlib._bootstrap import _DeadlockError  # type: ignore[attr-defined]

    with naming:
        package = _by_kernel.get(kernel) or _name(kernel, package_name)
    _come_first()
    try:
        return import_module(package.name)
    except _DeadlockError:  # kernels that import each other, each begun by a thread of its own
        if package.name not in sys.modules:
            raise
        return sys.modules[package.name]
    except BaseException:
        _forget(package.name)
        raise


def _forget(name: str) -> None:
    """Takes what is left of a module that failed out of sys.modules; another thread's whole one stays."""
    if name in sys.modules:
        return
    for other in [other for other in sys.modules if other.startswith(name + ".")]:
        sys.modules.pop(other, None)


def kernel_of(name: str) -> _kernels.Kernel | None:
    """The kernel that a module, by its name, belongs to."""
    package = _packages.get(name.partition(".")[0])
    return package.kernel if package else None


def _import_from_path(variant_path: Path, repo_info: RepoInfo | None = None) -> ModuleType:
    """The module of the build variant in a directory; dependencies are not looked at."""
    from kernels.load import load_path

    return load_path(variant_path, repo_info)


def _warn_if_dirty(metadata: Metadata) -> None:
    """Warns of a build from sources that nobody can look up."""
    import warnings

    dirty = metadata.dirty
    if dirty:
        warnings.warn(
            f"Kernel `{metadata.name}` was built from a dirty git tree: {' and '.join(dirty)}",
            UserWarning,
            stacklevel=3,
        )
