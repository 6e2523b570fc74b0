"""Where `IntervalTree` was before `kernels.layer` was a package."""

from .layer._interval_tree import IntervalTree, _Node

__all__ = ["IntervalTree", "_Node"]
