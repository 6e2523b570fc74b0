"""A kernel of PyTorch operators: the test's stand-in for packages that are written in Python."""

from . import layers
from .ops import rms_norm, silu_and_mul

__all__ = ["layers", "rms_norm", "silu_and_mul"]
