"""The C core as the Python side sees it. Nothing here is public.

Errors: a failure of the core is raised as the exception that `kernels._hooks.error(status, text)` makes. An exception that a hook or a
host raised inside a call of the core passes through as it is when the call fails because of it. A KeyboardInterrupt during a download
cancels it and passes through. The GIL is released around everything that blocks, and held in hooks and host callbacks.
"""

from collections.abc import Callable, Mapping as _Mapping, Sequence
from types import FunctionType
from typing import Any, Protocol

version: str  # of the C library

def mode_union(a: int, b: int, /) -> int: ...
def mode_check(mode: int, /) -> None:
    """What kernelize may be asked for."""

# --- mappings (mapping.c) ---

# layer, device type, (min, max) or None, mode, what is registered, the Python object behind it. The dictionary has the keys of kn_entry
# that say where a kernel comes from: repo_id, path, revision, version, layer_name, lock, sums, label, user_agent
# (str or None), trust_remote_code.
Entry = tuple[str, str, tuple[int, int] | None, int, _Mapping[str, Any], object]

class Mapping:
    """An immutable kn_mapping."""

    def register(self, entries: Sequence[Entry], /) -> Mapping:
        """A new value, all or nothing; the entries of one call form mode tables (kn_mapping_with)."""
    def join(self, over: Mapping, /) -> Mapping: ...
    def rows(self) -> list[Entry]:
        """In order of registration; capability None where every one counts."""
    def text(self) -> str: ...
    def write(self, path: str, /) -> None: ...
    @staticmethod
    def read(path: str, /) -> Mapping: ...
    @staticmethod
    def parse(text: str, name: str, dir: str | None, /) -> Mapping: ...
    def __len__(self) -> int: ...

EMPTY: Mapping

# --- the process's context (context.c); opened at the first use of what follows ---

def is_offline() -> bool: ...
def endpoint() -> str: ...
def cache_dir() -> str: ...
def forget() -> None:
    """What references mean is found out anew from here on."""

# --- kernels (kernel.c, function.c, hub.c) ---

class Layer:
    """A native layer of a package: kn_layer with what the package says of it."""

    name: str
    has_backward: bool
    can_torch_compile: bool
    autocast: str  # "neutral", "lower", "f32"; "" when not declared
    def json(self) -> str:
        """The program as data: docs/layers.md."""
    def inputs(self) -> list[tuple[str, str, bool, Any]]:
        """(name, kind, may be left out, default) of each input; kind is "tensor", "int", "float" or "bool"."""
    def members(self) -> list[tuple[str, str, bool]]: ...
    def tolerance(self, dtype: str, /) -> float:
        """0.0: none is declared."""

class Function:
    """A tvm-ffi function of a kernel. Called with tensors (anything with the DLPack exchange API or __dlpack__), numbers, None."""

    name: str
    def __call__(self, *args: Any) -> Any: ...

class Kernel:
    """A kernel of the process's context: one object for each."""

    repo_id: str  # "" for a directory
    revision: str  # the commit; "" for a directory
    level: str  # "none", "transport", "pinned"
    dir: str
    variant: str
    name: str
    id: str
    version: int  # -1: none
    backend: str
    depends: tuple[str, ...]  # python-depends
    is_hosted: bool
    files: tuple[str, ...]
    layers: tuple[str, ...]  # native ones
    def read(self, file: str, /) -> bytes: ...
    def check_file(self, file: str, /) -> str:
        """The file is what was checked; its path in the package's real directory."""
    def layer(self, name: str, /) -> Layer: ...
    def function(self, name: str, /) -> Function: ...

class TraceEntry(tuple[str, str, str, str, str, bool]):
    """stage, subject, rule, reason, admits, accepted"""

# Keywords of the next six: repo_id or path; revision, version, lock, sums (str or None); device (str or None: the CPU; who means the one
# that PyTorch would use asks kernels.backends), device_index, trust_remote_code, user_agent.
def get_kernel(**options: Any) -> Kernel: ...
def fetch_kernel(**options: Any) -> tuple[str, str, str, str]:
    """Everything but loading: directory of the variant, repository, commit, name of the variant."""
def choose_variants(**options: Any) -> list[TraceEntry]:
    """The variants of a repository or directory, judged by name: accepted ones first, best first."""
def find_kernel(**options: Any) -> tuple[str, str, str, bytes]:
    """What get_kernel would take, by name and metadata: repository, commit, variant, its metadata.json (empty for a directory). Nothing
    else is fetched. LOCAL_KERNELS is not looked at."""
def is_downloaded(**options: Any) -> bool:
    """A variant that fits by name is on this disk. Asks the network only when the cache has none of the commit."""
def resolve(**options: Any) -> tuple[str, str, str, str]:
    """Repository, commit, ref ("" for a commit), where kernel-status.toml says it moved ("")."""
def versions(repo_id: str, revision: str | None = None, version: str | None = None) -> list[tuple[str, str, str, bool, bool, str]]:
    """ref, version, commit, is a branch, is chosen, why."""

# --- kernelize (host.c, walk.c, bind.c, plan.c) ---

class Candidate:
    """A kernel layer that the host looks at before it is taken."""

    kernel: Kernel | None  # None: a repository of the host's own
    layer: Layer | None  # None: the host loads layer_name, from the kernel or from `object`
    layer_name: str
    object: Any  # the repository object that was registered, or None
    text: str

class HostKernel:
    """What is to be bound to modules of a class."""

    kernel: Kernel | None
    layer: Layer | None
    hosted: Any
    layer_name: str
    device: str
    device_index: int  # -1: every one of the type
    strict: bool
    mode: int
    repository: str
    revision: str
    variant: str
    text: str
    level: str
    def __init__(self, kernel: Kernel | str, layer_name: str, strict: bool = False, device_index: int = -1) -> None:
        """One layer of a kernel, or of a package directory for the CPU, without a model. Kernelize makes the others."""

class Host(Protocol):
    """kernels._torch.host: what the core asks of PyTorch. `cls` is a module's class; a function of use_kernelized_func has its own."""

    advice: str
    LayerError: type[Exception]  # says that a layer and a class contradict each other
    def describe(self, cls: type) -> tuple[str, str | None, str | None]:
        """Name, extensible layer name (None: not extensible), why its modules are never replaced (None: they are)."""
    def device(self, device: Any) -> tuple[str | None, int]:
        """A torch.device in the core's words; "meta" as it is."""
    def hook_device(self, hook: Any) -> tuple[str | None, int]:
        """Where accelerate's hook runs its module; (None, 0): it does not say."""
    def wraps(self, found: Any) -> bool:
        """Does somebody else's forward call a kernel's?"""
    def foreign(self, found: Any, since: bool) -> str:
        """Why a module is left alone on which somebody else's forward was found; since: it was set over a kernel."""
    def load(self, cls: type, candidate: Candidate) -> tuple[Any, bool, bool, str | None, str | None, str | None]:
        """hosted (None for a native layer), has_backward, can_torch_compile, warning, repository, revision. LayerError says that layer
        and class contradict each other; every other exception that it cannot be loaded."""
    def prepare(self, cls: type, kernel: HostKernel) -> FunctionType:
        """The forward of instances: a function object of its own for each kernel. Asked once for each class, kernel and own forward."""
    def share(self, functions: list[Any], model: Any) -> None:
        """Functions of use_kernelized_func were met by a call that may have swapped their forwards."""
    def capability(self, device: str, index: int) -> int:
        """-1: not known."""

def kernelize(model: Any, host: Host, /, *, mode: int, fallback: int, device: str | None, mapping: Mapping | None, dry_run: bool = False) -> Plan: ...
def unkernelize(model: Any, host: Host, /) -> Plan: ...
def report(model: Any, host: Host, /) -> Plan: ...
def bound(module: Any, /) -> HostKernel | None:
    """What serves this module now."""
def fallback_counts(module: Any, /) -> dict[str, int]:
    """Calls that went to the own forward, by reason."""

class Plan:
    """A kn_plan."""

    mode: int
    def __len__(self) -> int: ...
    def records(self) -> list[dict[str, Any]]:
        """Fields of kn_record; outcome, rule, device, mode, mode_used and level as text; device_index; capability None where unknown.
        fallbacks: of a report, calls that ran the own forward, by reason."""
    def trace(self, index: int, /) -> list[TraceEntry]: ...
    def text(self) -> str: ...
    def json(self) -> str: ...
    def digest(self) -> str: ...
    def mapping(self) -> Mapping: ...
    def write(self, path: str, /) -> None: ...
    @staticmethod
    def read(path: str, /) -> Plan: ...
    def apply(self, model: Any, host: Host, /) -> Plan: ...

# --- the native call (call.c, tensor.c) ---

class Call:
    """A native layer as the forward of a class or function: guard, kernel, own forward."""

    kernel: HostKernel
    own: Callable[..., Any]  # called as own(module, *args)
    # The whole path, as pytorch-notes order it: a builtin that the generated forward calls as function(module, *args).
    function: Callable[..., Any]
    # Set by kernels._torch; called as autograd((module, result), *inputs, *members) when gradients are wanted of what the kernel made,
    # operator(module, *args) when a dispatch mode is active, compiled(module, *args) when torch.export traces with fake tensors.
    # None: own forward.
    autograd: Callable[..., Any] | None
    operator: Callable[..., Any] | None
    compiled: Callable[..., Any] | None
    def __init__(self, kernel: HostKernel, own: Callable[..., Any], /) -> None: ...
    def run(self, module: Any, /, *args: Any) -> Any:
        """Guard and kernel alone: the result, a tuple of results, or NotImplemented when the guard refuses (which is counted)."""
    def run_backward(self, values: Sequence[Any], outputs: Sequence[Any] | None, grads: Sequence[Any], needs: Sequence[bool], /) -> tuple[Any, ...] | None:
        """Gradients in the order of inputs, then members; None where not needed. values: inputs, then members, as they were in forward.
        outputs: the results, or None. grads: in the order of the layer's backward, which they are made dense and cast for; None: zeros.
        needs: for each of the values. None: the guard refuses."""
    def members(self, module: Any, /) -> tuple[Any, ...] | None:
        """The members' values; None when one is missing or no plain one."""
    def count(self, module: Any, reason: str, /) -> None: ...
