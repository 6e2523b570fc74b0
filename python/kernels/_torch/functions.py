"""Functions of use_kernelized_func: there is one object for all models, and the last kernelize wins."""

import logging
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from torch import nn

from kernels import _kernels

# What serves a function, and the models that were kernelized with it.
_users: "WeakKeyDictionary[Any, tuple[Any, WeakSet[nn.Module]]]" = WeakKeyDictionary()


def share(functions: list[Any], model: nn.Module) -> None:
    """Called when a model was kernelized or undone: a change that others notice is told."""
    for function in functions:
        kernel = _kernels.bound(function)
        before, models = _users.get(function) or (None, WeakSet())
        others = len(models - {model})
        if before is not None and kernel is not before and others:
            logging.getLogger("kernels").warning(
                "function `%s` is one for all models: %s serves it now, in place of %s, "
                "also in %d other%s that %s kernelized",
                getattr(function, "__name__", function), _text(kernel), _text(before),
                others, "" if others == 1 else "s", "was" if others == 1 else "were",
            )  # fmt: skip
        if kernel is None:
            models.discard(model)
        else:
            models.add(model)
        _users[function] = kernel, models


def _text(kernel: Any) -> str:
    return "its own code" if kernel is None else kernel.text
