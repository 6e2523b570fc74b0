"""Example kernels in Python."""

from . import layers  # noqa: F401
