"""What __init__.py gives, for type checkers: there, each name is imported when it is first asked for."""

from .benchmark import (
    Benchmark as Benchmark,
)
from .install import (
    install_kernel as install_kernel,
)
from .layer import (
    CUDAProperties as CUDAProperties,
    Device as Device,
    FuncRepository as FuncRepository,
    KernelizeFallback as KernelizeFallback,
    LayerRepository as LayerRepository,
    LocalFuncRepository as LocalFuncRepository,
    LocalLayerRepository as LocalLayerRepository,
    LockedFuncRepository as LockedFuncRepository,
    LockedLayerRepository as LockedLayerRepository,
    Mode as Mode,
    ROCMProperties as ROCMProperties,
    forget as forget,
    kernelize as kernelize,
    register_kernel_mapping as register_kernel_mapping,
    replace_kernel_forward_from_hub as replace_kernel_forward_from_hub,
    use_kernel_forward_from_hub as use_kernel_forward_from_hub,
    use_kernel_func_from_hub as use_kernel_func_from_hub,
    use_kernel_mapping as use_kernel_mapping,
    use_kernelized_func as use_kernelized_func,
)
from .load import (
    LoadedKernel as LoadedKernel,
    RepoInfo as RepoInfo,
    get_kernel as get_kernel,
    get_kernel_dep as get_kernel_dep,
    get_kernel_variants as get_kernel_variants,
    get_loaded_kernels as get_loaded_kernels,
    get_local_kernel as get_local_kernel,
    get_locked_kernel as get_locked_kernel,
    has_kernel as has_kernel,
    load_kernel as load_kernel,
)
from .metadata import (
    Metadata as Metadata,
)
from .plans import (
    Plan as Plan,
    load_plan as load_plan,
    plan as plan,
    unkernelize as unkernelize,
)
from .reports import (
    Report as Report,
    compare as compare,
    report as report,
)
from .variants import (
    VariantAccepted as VariantAccepted,
    VariantRejected as VariantRejected,
)

__version__: str
