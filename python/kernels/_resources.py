"""Files of a kernel for importlib.resources, as they were checked."""

from __future__ import annotations

from io import BytesIO, TextIOWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from kernels import _kernels


class Resource:
    """A file or folder of a kernel, with the methods of importlib.resources.abc.Traversable."""

    def __init__(self, kernel: _kernels.Kernel, path: str) -> None:
        self._kernel = kernel
        self._path = path.strip("/")

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def is_file(self) -> bool:
        return self._path in self._kernel.files

    def is_dir(self) -> bool:
        return not self._path or any(file.startswith(self._path + "/") for file in self._kernel.files)

    def iterdir(self) -> Iterator[Resource]:
        start = f"{self._path}/" if self._path else ""
        below = {file[len(start) :].partition("/")[0] for file in self._kernel.files if file.startswith(start)}
        return (Resource(self._kernel, start + name) for name in sorted(below))

    def joinpath(self, *parts: str) -> Resource:
        path = "/".join((self._path, *parts))
        if ".." in path.split("/"):
            raise ValueError(f"{path!r}: accepted are paths below the kernel's directory, without '..'")
        return Resource(self._kernel, path)

    __truediv__ = joinpath

    def read_bytes(self) -> bytes:
        return self._kernel.read(self._path)

    def read_text(self, encoding: str | None = None) -> str:
        return self.read_bytes().decode(encoding or "utf-8")

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        if mode not in ("r", "rb"):
            raise ValueError(f"mode is {mode!r}: accepted are 'r' and 'rb'")
        stream = BytesIO(self.read_bytes())
        return stream if mode == "rb" else TextIOWrapper(stream, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self._kernel.dir}/{self._path}>"


class Reader:
    """What importlib.resources asks a loader for."""

    def __init__(self, kernel: _kernels.Kernel, path: str) -> None:
        self._root = Resource(kernel, path)

    def files(self) -> Resource:
        return self._root

    def open_resource(self, resource: str) -> IO[bytes]:
        return self._root.joinpath(resource).open("rb")

    def resource_path(self, resource: str) -> str:
        raise FileNotFoundError(resource)  # the checked bytes are what there is: who wants a path gets a copy

    def is_resource(self, path: str) -> bool:
        return self._root.joinpath(path).is_file()

    def contents(self) -> Iterator[str]:
        return (item.name for item in self._root.iterdir())
