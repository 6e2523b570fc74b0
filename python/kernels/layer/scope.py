"""Which mapping counts here: the process's, or that of the innermost scope around the caller.

A mapping is an immutable value of the core. Registering makes a new one that shares what it did not change, so that
entering a scope costs what its own entries cost, and nobody who holds a mapping sees it change.
"""

from __future__ import annotations

import os
from _thread import RLock  # threading itself is slow to import
from collections.abc import Mapping as Dictionary
from contextvars import ContextVar

from .. import _kernels
from .device import Device
from .mode import Mode
from .repos import entry_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


class _Scope:
    """What a context sees; immutable, since tasks and threads share it through copied contexts."""

    __slots__ = ("mapping", "owner", "outer")

    def __init__(self, mapping: _kernels.Mapping, owner: use_kernel_mapping, outer: _Scope | None) -> None:
        self.mapping, self.owner, self.outer = mapping, owner, outer


_scope: ContextVar[_Scope | None] = ContextVar("kernels.scope", default=None)
_base = _kernels.EMPTY  # of every context without a scope
_base_lock = RLock()  # a signal handler may register, too


def current_mapping() -> _kernels.Mapping:
    """The mapping that counts for the caller."""
    scope = _scope.get()
    return _base if scope is None else scope.mapping


def _devices(layer: str, devices: object) -> list[tuple[str, tuple[int, int] | None, object]]:
    if not isinstance(devices, Dictionary):
        raise TypeError(
            f"kernel mapping: `{layer}` is mapped to {devices!r}: accepted is a mapping from devices to repositories"
        )
    found = []
    for device, value in devices.items():
        if isinstance(device, Device):
            ranged = device.properties
            capability = None if ranged is None else (ranged.min_capability, ranged.max_capability)
            kind = device.type
        else:
            kind, capability = device, None
        if not isinstance(kind, str):
            raise TypeError(f"kernel mapping: `{layer}` has the device {device!r}: accepted are a str and a Device")
        found.append((kind, capability, value))
    return found


def _modes(layer: str, device: str, value: object) -> list[tuple[int, object]]:
    if not isinstance(value, Dictionary):
        return [(Mode.FALLBACK.value, value)]
    if not value:
        raise ValueError(
            f"kernel mapping: `{layer}` for {device} has no mode: accepted are a repository and a mapping from modes"
        )
    for mode in value:
        if not isinstance(mode, Mode) or not mode:
            raise TypeError(f"kernel mapping: `{layer}` for {device} has the mode {mode!r}: accepted is a Mode")
    return [(mode.value, repository) for mode, repository in value.items()]


def entries_of(mapping: Dictionary[str, Any]) -> list[_kernels.Entry]:
    """A mapping as programs write it, in the core's entries: nothing of the caller's dictionaries is kept.

    Raises TypeError for keys and values of other kinds; what names and numbers are accepted says the core.
    """
    if not isinstance(mapping, Dictionary):
        raise TypeError(f"kernel mapping: found {mapping!r}: accepted are a mapping from layer names and a file's path")
    entries = []
    for layer, devices in mapping.items():
        if not isinstance(layer, str):
            raise TypeError(f"kernel mapping: found the layer name {layer!r}: accepted is a str")
        for device, capability, value in _devices(layer, devices):
            for mode, repository in _modes(layer, device, value):
                try:
                    entry = entry_of(repository)
                except TypeError as error:
                    raise TypeError(f"kernel mapping: `{layer}` for {device}: {error}") from None
                entries.append((layer, device, capability, mode, entry, repository))
    return entries


class _Registration:
    """What is to be registered, checked and converted before anything is looked at."""

    __slots__ = ("_entries", "_file", "_inherit")

    def __init__(self, mapping: Dictionary[str, Any] | str | os.PathLike[str], inherit: bool) -> None:
        self._file = self._entries = None
        self._inherit = inherit
        if isinstance(mapping, (str, os.PathLike)):
            self._file = _kernels.Mapping.read(os.fspath(mapping))
        else:
            self._entries = entries_of(mapping)

    def over(self, mapping: _kernels.Mapping) -> _kernels.Mapping:
        base = mapping if self._inherit else _kernels.EMPTY
        return base.join(self._file) if self._file is not None else base.register(self._entries)


def register_kernel_mapping(
    mapping: Dictionary[str, Any] | str | os.PathLike[str], inherit_mapping: bool = True
) -> None:
    """Registers kernels for layers: in the scope around the caller, else for the whole process.

    `mapping` says for each layer name and device which repository serves it, or which one in which mode; a path means
    a mapping file (docs/mapping.md). A device (or the same range of capabilities) that is registered again is
    replaced, with all its modes; other devices and layers stay. `inherit_mapping=False` drops everything that was
    registered here before.

    >>> silu = LayerRepository("kernels-community/activation", layer_name="SiluAndMul")
    >>> register_kernel_mapping({"SiluAndMul": {"cuda": silu}})

    Raises TypeError and ValueError for what cannot be registered, by name; nothing has changed then.
    """
    global _base
    registration = _Registration(mapping, inherit_mapping)
    scope = _scope.get()
    if scope is not None:
        _scope.set(_Scope(registration.over(scope.mapping), scope.owner, scope.outer))
        return
    while True:
        seen = _base
        made = registration.over(seen)
        with _base_lock:
            if _base is seen:
                _base = made
                return


class use_kernel_mapping:
    """A scope in which a mapping counts: what was registered around it, and `mapping` over that.

    With `inherit_mapping=False` nothing but `mapping` counts. The mapping is read when the scope is entered; one
    object may be entered several times, nested too, and in several threads. A task or a copied context keeps the
    scope that it was started in.

    >>> with use_kernel_mapping({"SiluAndMul": {"cuda": repository}}):
    ...     model = kernelize(model, mode=Mode.INFERENCE)

    Entering raises as `register_kernel_mapping` does; the scope is not entered then.
    """

    def __init__(
        self, mapping: Dictionary[str, Any] | str | os.PathLike[str], *, inherit_mapping: bool = True
    ) -> None:
        self.mapping = mapping
        self.inherit_mapping = inherit_mapping

    def __enter__(self) -> None:
        made = _Registration(self.mapping, self.inherit_mapping).over(current_mapping())
        _scope.set(_Scope(made, self, _scope.get()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The innermost scope that this object opened. None: a context that never entered it has nothing to undo.
        scope = _scope.get()
        while scope is not None and scope.owner is not self:
            scope = scope.outer
        if scope is not None:
            _scope.set(scope.outer)
