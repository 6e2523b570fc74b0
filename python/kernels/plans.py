"""Deciding without replacing, doing what was decided, and undoing it."""

from __future__ import annotations

import os

from . import _kernels
from .layer.kernelize import KernelizeFallback, host, request
from .layer.mode import Mode
from .reports import Decisions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    M = TypeVar("M")


class Plan(Decisions):
    """What `kernelize` would do with a model. Printing it shows the model's tree."""

    @property
    def mode(self) -> Mode:
        """What the plan prepares a model for."""
        return Mode(self._plan.mode)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits; equal ones mean equal decisions."""
        return self._plan.digest()

    def apply(self, model: M) -> M:
        """Kernelizes a model as the plan says, each kernel at the revision that the plan names; returns the model.

        Raises `kernels.errors.ConflictError` where something else would come out, and what `kernelize` raises. The
        model is then as it was.
        """
        self._plan.apply(model, host())
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan to a file, whole or not at all: `kernels.load_plan` reads it.

        Raises ValueError for a plan with repositories that a file cannot name, OSError when the disk fails.
        """
        self._plan.write(os.fspath(path))


def plan(
    model: Any, *, mode: Mode, device: object = None, use_fallback: bool | KernelizeFallback = True
) -> Plan:
    """What `kernelize` would do with these arguments: decided, loaded and checked, but nothing is replaced.

    >>> print(kernels.plan(model, mode=Mode.INFERENCE))
    1 extensible module for INFERENCE: 1 with a kernel
    1   SiluAndMul on cpu ... kernels-community/activation@..., layer SiluAndMul, ...

    Raises what `kernelize` raises.
    """
    return Plan(request(model, mode, device, use_fallback, True))


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Reads a plan that `Plan.save` wrote. What it says is checked again when it is applied.

    >>> kernels.plan(model, mode=Mode.INFERENCE).save("plan.json")
    >>> model = load_plan("plan.json").apply(model)

    Raises FileNotFoundError, and ValueError for a file that holds no plan.
    """
    return Plan(_kernels.Plan.read(os.fspath(path)))


def unkernelize(model: M) -> M:
    """Gives every layer its own forward again, in place; returns the model. What somebody else set since is left alone.

    >>> model = kernels.unkernelize(model)
    """
    _kernels.unkernelize(model, host())
    return model
