"""Copies of kernelized modules: by the copy module, pickle, torch.save and DataParallel.

A kernelized module is pickled so that the file says nothing of this library but in strings: where it is not loaded, or
not these kernels, the copy has its class's own forward.
"""

import copy
import copyreg
import importlib
import logging
import sys
import weakref
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from kernels import _kernels

_CELLS = ("forward", "_old_forward")  # the second beneath a hook of accelerate

# What is bound: function -> the words that name it in a pickle, the first for people; and back, by class and others.
_words: "weakref.WeakKeyDictionary[FunctionType, tuple[str, ...]]" = weakref.WeakKeyDictionary()
_functions: dict[tuple[type, tuple[str, ...]], FunctionType] = {}
_missed: set[tuple[str, ...]] = set()


def register(cls: type, kernel: "_kernels.HostKernel", function: FunctionType) -> None:
    """Lets copies of the class's modules keep a forward."""
    # The same content, wherever it was loaded from; a repository that loads itself is known by what it is called.
    content = kernel.kernel.id if kernel.kernel is not None else ""
    where = (content,) if content else (kernel.repository, kernel.revision)
    words = (
        kernel.text, *where, kernel.variant, kernel.layer_name, kernel.device, str(kernel.device_index),
        str(kernel.mode), str(kernel.strict),
    )  # fmt: skip
    _words[function] = words
    _functions[cls, words[1:]] = function
    # Classes with a way of their own are copied that way: methods are pickled by name, and mean the class's forward.
    if cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__:
        copyreg.dispatch_table.setdefault(cls, _reduce)  # type: ignore[arg-type]
    # On the class: a second entry in the dictionary of each module would double what it takes.
    if issubclass(cls, nn.Module) and cls._replicate_for_data_parallel is nn.Module._replicate_for_data_parallel:
        cls._replicate_for_data_parallel = _replicate  # type: ignore[method-assign]


def _replicate(self: nn.Module) -> nn.Module:
    """What DataParallel calls for each replica: with forwards of their own, not the original's."""
    replica = nn.Module._replicate_for_data_parallel(self)
    _bind_again(self, replica, vars(replica))
    return replica


def wraps(found: Any, depth: int = 4) -> bool:
    """Does a forward call one of ours? Looked for where functions, methods and partial objects hold what they call."""
    if _is_ours(found):
        return True
    if depth == 0:
        return False
    held = [getattr(found, name, None) for name in ("__wrapped__", "__func__", "__self__", "func")]
    held += [value for value in getattr(found, "args", None) or () if callable(value)]
    for cell in getattr(found, "__closure__", None) or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # empty
            pass
    return any(wraps(one, depth - 1) for one in held if callable(one) and not isinstance(one, (type, nn.Module)))


def _is_ours(value: Any) -> bool:
    return type(value) is MethodType and value.__func__ in _words


def _bind_again(module: nn.Module, twin: nn.Module, entries: dict[str, Any]) -> None:
    for name in _CELLS:
        value = entries.get(name)
        if _is_ours(value) and value.__self__ is module:
            entries[name] = MethodType(value.__func__, twin)


def _reduce(module: nn.Module) -> Any:
    """How a module is copied and pickled: as any other, but for our entries."""
    made = module.__reduce_ex__(4)
    state = made[2] if isinstance(made, tuple) and len(made) > 2 else None
    if not isinstance(state, dict) or not any(_is_ours(state.get(name)) for name in _CELLS):
        return made
    state = state.copy()
    if sys._getframe(1).f_code is copy.copy.__code__:
        # A shallow copy takes values as they are: they have to name it before it is made.
        twin = made[0](*made[1])
        _bind_again(module, twin, state)
        return (lambda: twin), (), state, *made[3:]
    for name in _CELLS:
        if _is_ours(state.get(name)):
            state[name] = _Method(module, state[name].__func__)
    return *made[:2], state, *made[3:]


class _Method:
    """Stands for a method of ours while a module is copied or pickled."""

    def __init__(self, module: nn.Module, function: FunctionType) -> None:
        self.module, self.function = module, function

    def __deepcopy__(self, memo: dict[int, Any]) -> MethodType:
        return MethodType(self.function, copy.deepcopy(self.module, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        # At load: kernels.rebind_saved(module, name, words), or without kernels getattr(module, name, words).
        return _REBIND, (self.module, "forward", _words.get(self.function))


class _Expression:
    """A call of the standard library that a pickle does when it is loaded."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.reduced = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced

    def __call__(self, *args: Any) -> Any:  # pickle wants a callable to call
        raise NotImplementedError


_MODULES = _Expression(getattr, _Expression(importlib.import_module, "sys"), "modules")
_REBIND = _Expression(getattr, _Expression(dict.get, _MODULES, "kernels"), "rebind_saved", getattr)


def rebind_saved(module: nn.Module, name: str, words: tuple[str, ...] | None) -> Any:
    """Called by a pickle that is loaded: the forward of a kernel that this process has, else the class's own."""
    function = _functions.get((type(module), words[1:])) if words else None
    if function is None:
        _say_missed(words or ("",))
        return getattr(module, name)
    return MethodType(function, module)


def _say_missed(words: tuple[str, ...]) -> None:
    if words in _missed:
        return
    _missed.add(words)
    logging.getLogger("kernels").warning(
        "a model was loaded that was saved with kernels of %s, which this process has not loaded: its modules run "
        "their own forward; call kernelize",
        words[0],
    )
