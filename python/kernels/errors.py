"""What can go wrong, as exceptions.

Each is a `KernelError` and, for callers that know Python's own, an instance of those too: a repository that is not there is a
`FileNotFoundError`, an argument that is not accepted a `ValueError`. In a process that has imported huggingface_hub, failures of a hub
are also what that library raises for them, so code written against it catches them as it did:

>>> from kernels.errors import KernelError, NotFoundError
>>> try:
...     raise NotFoundError("kernels-community/none: there is no such repository")
... except FileNotFoundError as error:
...     print(error.status, isinstance(error, KernelError))
not_found True
"""

import sys
from functools import lru_cache
from typing import Any, ClassVar

__all__ = [
    "ArgumentsError", "CallError", "CancelledError", "ConflictError", "DeniedError", "FormatError", "IncompatibleError",
    "InvalidError", "IoError", "KernelError", "LayerError", "LoadError", "NetworkError", "NoKernelError", "NotFoundError",
    "UnsupportedError", "UntrustedError",
]  # fmt: skip


class KernelError(Exception):
    """A failure of this library. `status` is the core's word for it (include/kernels/base.h), in lower case."""

    status: ClassVar[str] = "failed"

    def __init__(self, text: str = "") -> None:
        # Not the next class's: huggingface_hub's errors want the response, which nobody has here.
        BaseException.__init__(self, text)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # By status: the classes that huggingface_hub has a part in exist only where it is imported.
        return make, (self.status, str(self)), self.__dict__ or None


class InvalidError(KernelError, ValueError):
    """An argument, a setting or an environment variable is not accepted."""

    status = "invalid"


class IoError(KernelError, OSError):
    """The disk failed."""

    status = "io"


class NotFoundError(KernelError, FileNotFoundError, ValueError):
    """A repository, revision, version, file, layer or function does not exist, or is not in the cache of an offline process.

    A `ValueError` too: that no version satisfies a specifier, or a lock file has no such kernel, is a matter of the argument.
    """

    status = "not_found"


class FormatError(KernelError, ValueError):
    """A file, or a hub's answer, is malformed."""

    status = "format"


class UnsupportedError(KernelError, ValueError):
    """This version of the library has no such thing."""

    status = "unsupported"


class IncompatibleError(KernelError, FileNotFoundError):
    """No build variant of a kernel can run on this machine; the text says what each one needs."""

    status = "incompatible"


class UntrustedError(KernelError, ValueError):
    """A trust rule refused a publisher, or bytes are not what was promised (docs/trust.md)."""

    status = "untrusted"


class LoadError(KernelError, ImportError):
    """The code of a kernel could not be loaded."""

    status = "load"


class LayerError(KernelError, TypeError, ValueError):
    """A kernel layer contradicts the class that it is to serve (`TypeError`), or the mode that it is registered for (`ValueError`)."""

    status = "layer"


class NoKernelError(KernelError, ValueError):
    """No kernel for a layer, and falling back is not accepted."""

    status = "no_kernel"


class ArgumentsError(KernelError, TypeError, ValueError):
    """Arguments of a call do not fit the signature."""

    status = "arguments"


class CallError(KernelError, RuntimeError):
    """A kernel failed while it ran, or refused its arguments: then also the `TypeError` or `ValueError` that it raised."""

    status = "call"


class ConflictError(KernelError, RuntimeError):
    """Somebody else changed what was to be changed."""

    status = "conflict"


class NetworkError(KernelError, ConnectionError):
    """The hub could not be reached, or failed."""

    status = "network"


class DeniedError(KernelError, PermissionError):
    """The hub denied access: a token is missing, or the repository is gated."""

    status = "denied"


class CancelledError(KernelError, RuntimeError):
    """What was under way was ended from outside."""

    status = "cancelled"


_BY_STATUS: dict[str, type[KernelError]] = {kind.status: kind for kind in KernelError.__subclasses__()}

# What huggingface_hub raises for the same. A "not found" of the core says in its text alone of what; the hub's classes for it have one
# base, which is what callers catch.
_HUB_NAMES = {
    "not_found": ("RepositoryNotFoundError", "RevisionNotFoundError", "LocalEntryNotFoundError"),
    "denied": ("GatedRepoError",),
    "network": ("HfHubHTTPError",),
}


def make(status: str, text: str) -> KernelError:
    """The exception for a status of the core ("not_found") and the text that goes with it."""
    kind = _BY_STATUS.get(status, KernelError)
    # Who has not imported huggingface_hub does not catch its errors: no need to import it for them.
    if status in _HUB_NAMES and "huggingface_hub" in sys.modules:
        kind = _with_hub(kind, _is_offline())
    if status == "call":
        kind = _as_raised(text)
    return kind(text)


def _as_raised(text: str) -> type[KernelError]:
    # The core's text: the function, the kind of error that the kernel raised, its message.
    _, _, raised = text.partition(": ")
    name = raised.partition(":")[0]
    return _call_error(name) if name in ("TypeError", "ValueError") else CallError


@lru_cache(maxsize=None)
def _call_error(name: str) -> type[KernelError]:
    also = TypeError if name == "TypeError" else ValueError
    return type("CallError", (CallError, also), {"__module__": __name__, "__doc__": CallError.__doc__})


def _is_offline() -> bool:
    from kernels import _kernels

    try:
        return _kernels.is_offline()
    except KernelError:
        return False


@lru_cache(maxsize=None)
def _with_hub(kind: type[KernelError], offline: bool) -> type[KernelError]:
    try:
        from huggingface_hub import errors as hub
    except ImportError:
        return kind
    names = _HUB_NAMES[kind.status] + (("OfflineModeIsEnabled",) if offline else ())
    bases = tuple(getattr(hub, name) for name in names if hasattr(hub, name))
    # The hub's classes carry an answer of its HTTP library; there is none.
    empty = {"response": None, "_request": None, "request_id": None, "server_message": None}
    return type(kind.__name__, (kind, *bases), {"__module__": __name__, "__doc__": kind.__doc__, **empty})
