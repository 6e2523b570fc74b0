"""Fast kernels for the layers of PyTorch models, from the Hugging Face Hub, checked before they run.

>>> from kernels import LayerRepository, Mode, kernelize, use_kernel_mapping
>>> silu = LayerRepository("kernels-community/activation", layer_name="SiluAndMul")
>>> with use_kernel_mapping({"SiluAndMul": {"cuda": silu}}):
...     model = kernelize(model, mode=Mode.INFERENCE)

Importing this touches no network, no GPU and no PyTorch; what a name needs is imported with the name.
"""

# The public names, by the module that has them.
_HOMES = {
    ".layer": (
        "CUDAProperties",
        "Device",
        "FuncRepository",
        "KernelizeFallback",
        "LayerRepository",
        "LocalFuncRepository",
        "LocalLayerRepository",
        "LockedFuncRepository",
        "LockedLayerRepository",
        "Mode",
        "ROCMProperties",
        "forget",
        "kernelize",
        "register_kernel_mapping",
        "replace_kernel_forward_from_hub",
        "use_kernel_forward_from_hub",
        "use_kernel_func_from_hub",
        "use_kernel_mapping",
        "use_kernelized_func",
    ),
    ".load": (
        "LoadedKernel",
        "RepoInfo",
        "get_kernel",
        "get_kernel_dep",
        "get_kernel_variants",
        "get_loaded_kernels",
        "get_local_kernel",
        "get_locked_kernel",
        "has_kernel",
        "load_kernel",
    ),
    ".install": ("install_kernel",),
    ".benchmark": ("Benchmark",),
    ".metadata": ("Metadata",),
    ".variants": ("VariantAccepted", "VariantRejected"),
    ".plans": ("Plan", "load_plan", "plan", "unkernelize"),
    ".reports": ("Report", "compare", "report"),
}
_home_of = {name: home for home, names in _HOMES.items() for name in names}
# Modules that are there without an import of their own.
_MODULES = frozenset(
    {"backends", "cli", "errors", "hf_hub", "importer", "install", "layer", "load", "lockfile", "metadata", "utils"}
    | {"variants", "verify"}
)

__all__ = ["__version__", *sorted(_home_of)]
_home_of["rebind_saved"] = "._torch.copies"  # no public name: a saved model asks for it where it is loaded


def _version() -> str:
    from importlib import metadata

    return metadata.version("kernels")


def __getattr__(name: str) -> object:
    if name == "__version__":
        found: object = _version()
    elif name in _home_of or name in _MODULES:
        from importlib import import_module

        found = import_module(_home_of.get(name, f".{name}"), __name__)
        if name in _home_of:
            found = getattr(found, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
