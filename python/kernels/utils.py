"""Names that older programs import from here."""

from kernels.backends import _get_privateuse_backend_name
from kernels.install import install_kernel
from kernels.load import (
    get_kernel,
    get_kernel_variants,
    get_loaded_kernels,
    get_local_kernel,
    get_locked_kernel,
    has_kernel,
    load_kernel,
)

__all__ = [
    "_get_privateuse_backend_name",
    "get_kernel",
    "get_kernel_variants",
    "get_loaded_kernels",
    "get_local_kernel",
    "get_locked_kernel",
    "has_kernel",
    "install_kernel",
    "load_kernel",
]
