"""What serves each extensible layer of a model, and why: as text, as a table, as data."""

from __future__ import annotations

from types import SimpleNamespace

from . import _kernels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kernels._torch.compare import Comparison

# Columns of the table in a notebook: a heading, and the record's field.
_COLUMNS = (
    ("Module", "path"),
    ("Layer", "layer"),
    ("Device", "device"),
    ("Outcome", "outcome"),
    ("Repository", "repository"),
    ("Revision", "revision"),
    ("Variant", "variant"),
    ("Rule", "rule"),
    ("Reason", "reason"),
    ("What would admit it", "admits"),
    ("Calls that fell back", "fallbacks"),
)


_SERVED = ("kernel", "reference")  # outcomes


class Record(SimpleNamespace):
    """One decision: `path`, `class_name`, `layer`, `device`, `device_index`, `capability`, `mode`, `mode_used`,
    `repository`, `revision`, `variant`, `layer_name`, `outcome`, `rule`, `reason`, `admits`, `changed`, `level`,
    `fallbacks` (docs/plan.schema.json)."""


def _calls(record: Record) -> str:
    """The calls of a kernel's layer that ran the own forward; "" without any."""
    return ", ".join(f"{count} calls: {reason}" for reason, count in record.fallbacks.items())


class Decisions:
    """Decisions about the extensible layers of a model, one `Record` for each. Immutable."""

    def __init__(self, plan: _kernels.Plan) -> None:
        self._plan = plan
        self._made: tuple[Record, ...] | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """All of them, in the model's order."""
        if self._made is None:
            self._made = tuple(Record(**fields) for fields in self._plan.records())
        return self._made

    @property
    def replaced(self) -> list[Record]:
        """Layers that a kernel serves."""
        return [record for record in self.records if record.outcome in _SERVED]

    @property
    def fallbacks(self) -> list[Record]:
        """Layers that their own forward serves."""
        return [record for record in self.records if record.outcome not in _SERVED]

    def raise_if_fallback(self) -> None:
        """Raises RuntimeError that names every layer which no kernel serves, or did not serve in some call, and why."""
        lines = []
        for record in self.records:
            why = record.reason if record.outcome not in _SERVED else _calls(record)
            if why or record.outcome not in _SERVED:
                lines.append(f"{record.path or '(root)'}: {record.layer}: {why}")
        if lines:
            raise RuntimeError(f"{len(lines)} of {len(self)} layers ran without a kernel:\n" + "\n".join(lines))

    def to_dict(self) -> dict[str, Any]:
        """The same as data (docs/plan.schema.json)."""
        import json

        return json.loads(self._plan.json())

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self._plan)

    def __repr__(self) -> str:
        return self._plan.text().rstrip("\n")

    def _repr_html_(self) -> str:
        from html import escape

        def row(tag: str, cells: Any) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

        head = row("th", (title for title, _ in _COLUMNS))
        shown = (SimpleNamespace(**vars(record) | {"fallbacks": _calls(record)}) for record in self.records)
        body = "".join(row("td", (getattr(record, field) for _, field in _COLUMNS)) for record in shown)
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


class Report(Decisions):
    """What serves the extensible layers of a model now. Printing it shows the model's tree."""


def report(model: Any) -> Report:
    """What serves the extensible layers of a model, a submodule or a copy now, whoever kernelized it.

    Nothing is written on a module that keeps its own forward: its reason is that of the last `kernelize` that met its class
    on its device, be it of another model; "was not kernelized" when there was none, or when that one found a kernel.

    >>> kernels.report(model).raise_if_fallback()
    >>> [(record.path, record.layer, record.outcome) for record in kernels.report(model)]
    [('1', 'SiluAndMul', 'kernel')]
    """
    from .layer.kernelize import host

    return Report(_kernels.report(model, host()))


def compare(model: Any, inputs: Any) -> Comparison:
    """Runs a kernelized model once with its own forwards, and on every call that reaches a kernelized module also the
    kernel, with the same arguments.

    inputs: a tensor, a tuple or list of arguments, a dictionary of keyword arguments, or a function that is called with
    the model and runs it. What is declared for a layer is doubled, since the own forward is not exact either. The model
    keeps its kernels, buffers and modes; gradients are not looked at.

    Raises `kernels.errors.InvalidError` for a model that is no `torch.nn.Module`, and what the model raises.

    >>> result = kernels.compare(model, inputs)
    >>> result.ok
    True
    >>> print(result)
    module  class       kernel...  calls  max abs   max rel   tolerance             where...  outcome
    1       SiluAndMul  `kernels-community/activation` ...  1 ... (2 x declared) ... within
    """
    from kernels._torch.compare import compare as run

    return run(model, inputs)
