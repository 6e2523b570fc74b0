"""What a kernel's metadata.json says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kernels import _kernels

# Python packages that a kernel may ask for, and what they are imported as; None: nothing that can be imported.
_GENERAL: dict[str, str | None] = {"einops": "einops", "helion": "helion", "tvm-ffi": "tvm_ffi"}
_BY_BACKEND: dict[str, dict[str, str | None]] = {
    "cuda": {"nvidia-cutlass-dsl": "cutlass"},
    "neuron": {"nki": "nki"},
    "xpu": {"onednn": None},
}


@dataclass(frozen=True)
class KernelDependency:
    """Another kernel that a kernel needs: its repository, and a version branch or a revision."""

    repo_id: str
    version: int | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Metadata:
    """metadata.json, of any era; what it does not say is None or empty.

    `backend` is the type alone ("cuda"); `data` is all of it.
    """

    name: str = ""
    id: str = ""
    version: int | None = None
    license: str | None = None
    upstream: str | None = None
    source: str | None = None
    backend: str | None = None
    archs: tuple[str, ...] = ()
    python_depends: tuple[str, ...] = ()
    kernel_depends: tuple[KernelDependency, ...] = ()
    data: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def parse(text: bytes | str) -> Metadata:
        """Raises ValueError for what is no metadata."""
        import json

        try:
            data = json.loads(text)
        except ValueError as error:
            raise ValueError(f"Cannot parse metadata: {error}") from None
        if not isinstance(data, dict):
            raise ValueError(f"Cannot parse metadata: accepted is an object, not {type(data).__name__}")
        backend = data.get("backend") or {}
        return Metadata(
            name=data.get("name") or "",
            id=data.get("id") or "",
            version=data.get("version"),
            license=data.get("license"),
            upstream=data.get("upstream"),
            source=data.get("source"),
            backend=backend.get("type") if isinstance(backend, dict) else backend,
            archs=tuple(backend.get("archs") or ()) if isinstance(backend, dict) else (),
            python_depends=tuple(data.get("python-depends") or ()),
            kernel_depends=_kernel_dependencies(data.get("kernel-depends") or []),
            data=data,
        )

    @staticmethod
    def of(kernel: _kernels.Kernel) -> Metadata:
        """Of a loaded kernel."""
        if "metadata.json" in kernel.files:
            return Metadata.parse(kernel.read("metadata.json"))
        return Metadata(  # an older build, or one whose files are read by the core alone
            name=kernel.name,
            id=kernel.id,
            version=kernel.version if kernel.version >= 0 else None,
            backend=kernel.backend or None,
            python_depends=kernel.depends,
        )

    @property
    def python_name(self) -> str:
        """The package's name in Python."""
        return self.name.replace("-", "_")

    @property
    def dirty(self) -> list[str]:
        """Which sources had changes that were not committed when the kernel was built."""
        parts = (("kernel", "kernel source"), ("kernel-builder", "kernel-builder"))
        provenance = _table(self.data.get("provenance"))
        return [words for key, words in parts if _table(provenance.get(key)).get("dirty")]


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _kernel_dependencies(entries: Any) -> tuple[KernelDependency, ...]:
    if not isinstance(entries, list):
        raise ValueError(f"Cannot parse metadata: kernel-depends: accepted is an array, not {type(entries).__name__}")
    return tuple(_kernel_dependency(entry) for entry in entries)


def _kernel_dependency(entry: Any) -> KernelDependency:
    kinds = {"repo-id": str, "version": (int, str), "revision": str}
    if (
        not isinstance(entry, dict)
        or not all(isinstance(value, kinds.get(key, ())) for key, value in entry.items())
        or "repo-id" not in entry
        or len(entry) > 2
    ):
        raise ValueError(
            f"Cannot parse metadata: kernel-depends has {entry!r}: accepted are repo-id and one of version and revision"
        )
    return KernelDependency(entry["repo-id"], entry.get("version"), entry.get("revision"))


def validate_dependencies(module_name: str, depends: tuple[str, ...], backend: str | None) -> None:
    """Can what a kernel asks for be imported? Nothing of it is.

    Raises ValueError for a dependency that no kernel of this backend may have, and ImportError for one that is not
    installed.
    """
    from importlib.util import find_spec

    known = _GENERAL | _BY_BACKEND.get(backend or "", {})
    for name in depends:
        if name not in known:
            shown = name if name.isprintable() else repr(name)  # it is the package's, and may go to a terminal
            raise ValueError(
                f"Kernel module `{module_name}` uses unsupported kernel dependency: {shown}, "
                f"allowed dependencies: {', '.join(sorted(known))}"
            )
        package = known[name]
        if package is not None and find_spec(package) is None:
            raise ImportError(f"Kernel module `{module_name}` requires Python dependency `{name}`", name=package)
