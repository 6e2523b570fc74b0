"""Benchmarks of a kernel's repository are Python programs: Python runs them."""

from __future__ import annotations


class Benchmark:
    """The base class that benchmark files of repositories name. Making one raises UnsupportedError."""

    def __init__(self, *args: object, **options: object) -> None:
        from kernels.errors import make

        raise make(
            "unsupported",
            f"{type(self).__name__}: this library runs no benchmark files: call the kernel that kernels.get_kernel "
            "gives in a program of your own, as with torch.utils.benchmark",
        )
