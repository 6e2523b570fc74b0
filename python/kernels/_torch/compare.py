"""Does every kernel of a model give what the forward that it replaced gives?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from kernels import _kernels
from kernels.errors import InvalidError

# Where no tolerance is declared: of a sum in another order, and then the last bit or two.
_DEFAULTS = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
_NAMES = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}


@dataclass
class LayerComparison:
    """One kernelized module: what its kernel and its own forward gave for the same inputs, over all its calls.

    A difference is relative to the largest element of the same row (last dimension) of the own forward's result.
    """

    path: str
    class_name: str
    kernel: str
    calls: int = 0
    compared: int = 0  # without those that fell back to the own forward
    fallbacks: dict[str, int] = field(default_factory=dict)  # their reasons
    max_abs: float = 0.0
    max_rel: float = 0.0
    tolerance: float = 0.0  # for max_rel, of the result where it is largest
    declared: bool = False  # the tolerance is twice what the layer declares; else the dtype's default
    output: int = 0  # where max_rel is: which result ...
    element: tuple[int, ...] = ()  # ... and which of its elements
    problem: str = ""  # what else differs: dtype, shape, NaN, an exception of the kernel
    within: bool | None = None  # None: nothing was compared

    @property
    def outcome(self) -> str:
        """In a word or two."""
        if self.problem:
            return self.problem
        if self.within is None:
            return "fell back" if self.calls else "not called"
        return "within" if self.within else "differs"


class Comparison:
    """The kernelized modules of a model, in its order. `ok`: something was compared, and nothing differs."""

    def __init__(self, layers: list[LayerComparison]) -> None:
        self.layers = tuple(layers)

    @property
    def ok(self) -> bool:
        """At least one kernel was compared, and each one that was is within its tolerance."""
        verdicts = [layer.within for layer in self.layers if layer.within is not None]
        return bool(verdicts) and all(verdicts)

    def to_dict(self) -> dict[str, Any]:
        """The same as data."""
        return {"ok": self.ok, "layers": [asdict(layer) | {"outcome": layer.outcome} for layer in self.layers]}

    def __iter__(self) -> Iterator[LayerComparison]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        if not self.layers:
            return "No module of the model is kernelized."
        rows = [_HEADINGS, *map(_cells, self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        def row(tag: str, cells: tuple[str, ...]) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row("td", _cells(layer)) for layer in self.layers)
        return f"<table><thead>{row('th', _HEADINGS)}</thead><tbody>{body}</tbody></table>"


_HEADINGS = ("module", "class", "kernel", "calls", "max abs", "max rel", "tolerance", "where", "outcome")


def _cells(layer: LayerComparison) -> tuple[str, ...]:
    calls = str(layer.calls)
    if layer.fallbacks:
        calls += f" ({', '.join(f'{n} own: {reason}' for reason, n in layer.fallbacks.items())})"
    numbers = ("", "", "", "")
    if layer.compared:
        where = f"result {layer.output} {list(layer.element)}" if layer.max_rel else ""
        tolerance = f"{layer.tolerance:.3g} ({'2 x declared' if layer.declared else 'default of the dtype'})"
        numbers = (f"{layer.max_abs:.3g}", f"{layer.max_rel:.3g}", tolerance, where)
    return (layer.path or "(root)", layer.class_name, layer.kernel, calls, *numbers, layer.outcome)


def compare(model: torch.nn.Module, inputs: Any) -> Comparison:
    """kernels.compare."""
    if not isinstance(model, torch.nn.Module):
        raise InvalidError(f"compare: model is a {type(model).__name__}, accepted is a torch.nn.Module")
    layers = []
    devices = {tensor.device.index for tensor in model.parameters() if tensor.device.type == "cuda"}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if model.training else []
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.random.fork_rng(devices=sorted(devices)))
        if hasattr(torch.compiler, "set_stance"):  # what is compiled has the kernels inside
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for path, module in _walk(model):
            kernel = _kernels.bound(module)
            if kernel is not None:
                layers.append(LayerComparison(path, type(module).__name__, kernel.text))
                stack.enter_context(_watch(module, kernel, layers[-1]))
        try:
            _run(model, inputs)
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)
    return Comparison(layers)


def _walk(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Modules, and the functions that they call by name (`use_kernelized_func`), each once."""
    seen = set()
    for path, module in model.named_modules():
        yield path, module
        for name, function in module.__dict__.get("_kernel_funcs", {}).items():
            if id(function) not in seen:
                seen.add(id(function))
                yield f"{path}.{name}" if path else name, function


def _run(model: torch.nn.Module, inputs: Any) -> None:
    if isinstance(inputs, Mapping):
        model(**inputs)
    elif isinstance(inputs, (tuple, list)):
        model(*inputs)
    elif callable(inputs) and not isinstance(inputs, torch.Tensor):
        inputs(model)
    else:
        model(inputs)


@contextlib.contextmanager
def _watch(module: torch.nn.Module, kernel: _kernels.HostKernel, into: LayerComparison) -> Iterator[None]:
    """While it lasts, the module's own forward serves it, and its calls are compared."""
    place = "_old_forward" if "_old_forward" in module.__dict__ else "forward"  # beneath a hook of accelerate
    bound, own = module.__dict__[place], type(module).forward
    counted = module.__dict__.get(_COUNTS)

    def forward(*args: Any, **kwargs: Any) -> Any:
        same_args, same_kwargs = tree_map(_copy, (args, kwargs))
        wanted = own(module, *args, **kwargs)
        kept = tree_map(_copy, wanted)  # what follows may write into it
        _judge(module, kernel, into, lambda: bound(*same_args, **same_kwargs), kept)
        return wanted

    module.__dict__[place] = forward
    try:
        yield
    finally:
        module.__dict__[place] = bound
        module.__dict__.pop(_COUNTS, None)
        if counted is not None:
            module.__dict__[_COUNTS] = counted


_COUNTS = "_kernel_fallbacks"  # where the core counts: calls of a comparison are none of the model's


def _copy(value: Any) -> Any:
    """With memory of its own, and the strides of the original: the kernel shall see what it would have seen."""
    if not isinstance(value, torch.Tensor):
        return value
    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout != torch.strided or not value.numel():
        return value.clone()
    span = 1 + sum((extent - 1) * stride for extent, stride in zip(value.shape, value.stride()))
    return value.as_strided((span,), (1,)).clone().as_strided(value.shape, value.stride())


def _judge(
    module: torch.nn.Module, kernel: _kernels.HostKernel, into: LayerComparison, run: Callable[[], Any], wanted: Any
) -> None:
    into.calls += 1
    module.__dict__.pop(_COUNTS, None)
    try:
        given = run()
    except Exception as error:
        into.within, into.problem = False, f"{type(error).__name__}: {error}"
        return
    fell_back = _kernels.fallback_counts(module)
    if fell_back:
        for reason, n in fell_back.items():
            into.fallbacks[reason] = into.fallbacks.get(reason, 0) + n
        return
    into.compared += 1
    into.within = into.within is not False
    results, structure = tree_flatten(given)
    own_results, own_structure = tree_flatten(wanted)
    if structure != own_structure:
        into.within, into.problem = False, f"gives {structure}, the own forward {own_structure}"
        return
    for index, (result, own) in enumerate(zip(results, own_results)):
        if isinstance(result, torch.Tensor) and isinstance(own, torch.Tensor):
            _compare(kernel, into, index, result, own)
        elif result is not own and result != own:
            into.within, into.problem = False, f"result {index}: {result!r}, the own forward's {own!r}"


def _tolerance(kernel: _kernels.HostKernel, dtype: torch.dtype) -> tuple[float, bool]:
    declared = kernel.layer.tolerance(_NAMES.get(dtype, "")) if kernel.layer and dtype in _NAMES else 0.0
    return (2 * declared, True) if declared else (_DEFAULTS.get(dtype, 0.0), False)


def _compare(
    kernel: _kernels.HostKernel, into: LayerComparison, index: int, result: torch.Tensor, own: torch.Tensor
) -> None:
    for name in ("dtype", "shape", "device"):
        if getattr(result, name) != getattr(own, name):
            problem = f"result {index}: {name} {getattr(result, name)}, the own forward's {getattr(own, name)}"
            into.within, into.problem = False, problem
            return
    tolerance, declared = _tolerance(kernel, own.dtype)
    if into.compared == 1 and index == 0:
        into.tolerance, into.declared = tolerance, declared
    if not own.numel():
        return
    a, b = (_as_rows(tensor) for tensor in (result, own))
    finite = a.isfinite() & b.isfinite()
    if not ((a == b) | (a.isnan() & b.isnan()))[~finite].all():
        into.within, into.problem = False, f"result {index}: NaN or infinities stand in other places"
    difference = torch.where(finite, (a - b).abs(), 0.0)
    row, column = difference.max(-1)
    largest = torch.where(finite, b.abs(), 0.0).amax(-1)
    relative = torch.where(row == 0, 0.0, row / largest)  # of a row of zeros: infinite
    worst = int(relative.argmax())
    max_rel = float(relative[worst])
    into.max_abs = max(into.max_abs, float(row.max()))
    if not max_rel <= tolerance:
        into.within = False
    if max_rel > into.max_rel:
        element = torch.unravel_index(torch.tensor(worst * a.shape[-1] + int(column[worst])), own.shape)
        into.max_rel, into.output, into.element = max_rel, index, tuple(int(i) for i in element)
        into.tolerance, into.declared = tolerance, declared


def _as_rows(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.device.type == "mps":  # has no f64
        tensor = tensor.cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor).flatten(-2)
    return tensor.double().reshape(-1, tensor.shape[-1] if tensor.dim() else 1)
