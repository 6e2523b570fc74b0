"""What a model is prepared for."""

from __future__ import annotations

from enum import Flag

from .. import _kernels


class Mode(Flag):
    """What `kernelize` prepares a model for, and what a kernel is registered for.

    `INFERENCE` and `TRAINING` exclude each other; either can be joined with `TORCH_COMPILE` by `|`. `FALLBACK`
    combines with nothing: it is what a kernel is registered for that serves every mode without one of its own, and
    what a kernel without a mode is registered for.

    >>> Mode.INFERENCE | Mode.TORCH_COMPILE
    <Mode.INFERENCE|TORCH_COMPILE: 12>

    Raises ValueError for a union that contradicts itself.
    """

    _NONE = 0
    FALLBACK = 1
    TRAINING = 2
    INFERENCE = 4
    TORCH_COMPILE = 8

    def __or__(self, other: object) -> Mode:
        if not isinstance(other, Mode):
            return NotImplemented
        return Mode(_kernels.mode_union(self._value_, other._value_))

    __ror__ = __or__

    def __invert__(self) -> Mode:  # that of Python 3.10 joins members one by one, some of which exclude each other
        return Mode(_EVERY & ~self._value_)


_EVERY = sum(mode.value for mode in Mode)
