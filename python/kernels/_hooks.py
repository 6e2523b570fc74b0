"""What the C core asks of Python: where lines are logged, which exception an error is, what else is in the process."""

from kernels.errors import KernelError, make

# Of the core's levels: debug, info, warning (include/kernels/base.h).
_LOG_LEVELS = (10, 20, 30)


def log(level: int, text: str) -> None:
    """A line of the core, to the logger "kernels"."""
    import logging

    logging.getLogger("kernels").log(_LOG_LEVELS[level], "%s", text)


def error(status: str, text: str) -> KernelError:
    """The exception for a failure of the core."""
    return make(status, text)


def framework() -> tuple[int, int, str | None] | None:
    """PyTorch's major and minor version and its C++ ABI; None without PyTorch, which is imported by this if it is installed."""
    try:
        import torch
    except ImportError:
        return None
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor), "cxx11" if torch.compiled_with_cxx11_abi() else "cxx98"


def tvm_ffi() -> str | None:
    """The libtvm_ffi.so of the Python package apache-tvm-ffi, which is not imported; None: there is none, or one is loaded already."""
    import importlib.util
    import os

    # Two copies in one process would each hold errors of their own: what is loaded is used.
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        if any(line.rstrip().endswith("/libtvm_ffi.so") for line in maps):
            return None
    spec = importlib.util.find_spec("tvm_ffi")
    for place in spec.submodule_search_locations or () if spec else ():
        path = os.path.join(place, "lib", "libtvm_ffi.so")
        if os.path.isfile(path):
            return path
    return None
