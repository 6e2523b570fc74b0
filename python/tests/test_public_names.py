"""The names that programs import, and what importing them costs."""

import importlib
import importlib.metadata
import pickle
import sys

import pytest
from conftest import PACKAGE

import kernels

PUBLIC = """
    CUDAProperties Device Mode ROCMProperties KernelizeFallback
    LayerRepository LocalLayerRepository LockedLayerRepository FuncRepository LocalFuncRepository LockedFuncRepository
    use_kernel_forward_from_hub replace_kernel_forward_from_hub use_kernel_func_from_hub use_kernelized_func
    register_kernel_mapping use_kernel_mapping kernelize
    get_kernel get_local_kernel get_locked_kernel load_kernel has_kernel install_kernel get_kernel_dep
    get_kernel_variants VariantAccepted VariantRejected get_loaded_kernels LoadedKernel RepoInfo Metadata
    compare report Report plan Plan load_plan unkernelize forget Benchmark compare
""".split()

LAYER = """
    CUDAProperties Device Mode ROCMProperties KernelizeFallback LayerRepositoryProtocol
    LayerRepository LocalLayerRepository LockedLayerRepository FuncRepository LocalFuncRepository LockedFuncRepository
    use_kernel_forward_from_hub replace_kernel_forward_from_hub use_kernel_func_from_hub use_kernelized_func
    register_kernel_mapping use_kernel_mapping kernelize _KERNEL_MAPPING _validate_layer
""".split()

ELSEWHERE = [
    ("kernels.layer.mode", "Mode"),
    ("kernels.layer.device", "Device CUDAProperties ROCMProperties"),
    ("kernels.layer.repos", "LayerRepository LocalLayerRepository LockedLayerRepository FuncRepository"),
    ("kernels.layer.globals", "_KERNEL_MAPPING"),
    ("kernels.layer.layer", "_KERNEL_MAPPING _validate_layer use_kernel_forward_from_hub"),
    ("kernels.layer.func", "use_kernelized_func use_kernel_func_from_hub"),
    ("kernels.layer.kernelize", "kernelize register_kernel_mapping use_kernel_mapping KernelizeFallback"),
    ("kernels.layer._interval_tree", "IntervalTree _Node"),
    ("kernels._interval_tree", "IntervalTree _Node"),
    ("kernels.utils", "install_kernel _get_privateuse_backend_name get_kernel"),
    ("kernels.install", "install_kernel"),
    ("kernels.load", "get_kernel load_kernel"),
    ("kernels.importer", "_loaded_kernels _import_from_path"),
    ("kernels.errors", "KernelError LayerError"),
]


def test_public_names():
    assert set(PUBLIC) <= set(kernels.__all__)
    for name in kernels.__all__:
        assert getattr(kernels, name) is not None, name
    assert set(kernels.__all__) <= set(dir(kernels))
    names = {}
    exec("from kernels import *", names)
    assert set(kernels.__all__) - {"__version__"} <= names.keys()


def test_documented():
    for name in kernels.__all__:
        found = getattr(kernels, name)
        if name != "__version__":
            assert found.__doc__ and found.__doc__.strip(), name
        if isinstance(found, type) and found.__module__.startswith("kernels"):
            for method, function in vars(found).items():
                if not method.startswith("_") and (callable(function) or isinstance(function, property)):
                    assert function.__doc__, f"{name}.{method}"


def test_without_torch_all_names_are_there(run_python):
    run_python("import sys\nsys.modules['torch'] = None\nfrom kernels import *\nimport kernels.layer\nfrom kernels.layer import *")


def test_type_checkers_see_what_is_there():
    import ast

    stub = ast.parse((PACKAGE / "kernels" / "__init__.pyi").read_text())
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names | {"__version__"} == set(kernels.__all__)


@pytest.mark.parametrize("name", LAYER)
def test_layer_names(name):
    module = importlib.import_module("kernels.layer")
    assert name in module.__all__
    if name in kernels.__all__:
        assert getattr(module, name) is getattr(kernels, name)
    else:
        assert getattr(module, name) is not None


@pytest.mark.parametrize(("module", "names"), ELSEWHERE, ids=[module for module, _ in ELSEWHERE])
def test_names_elsewhere(module, names):
    found = importlib.import_module(module)
    for name in names.split():
        assert getattr(found, name) is not None
        if name in kernels.__all__:
            assert getattr(found, name) is getattr(kernels, name)


def test_names_that_are_not_there():
    for module in (kernels, kernels.layer):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            module.nothing
    with pytest.raises(ImportError):
        from kernels import nothing  # noqa: F401


def test_functions_are_not_hidden_by_modules():
    import kernels.layer.kernelize
    import kernels.plans
    import kernels.reports

    for name in ("kernelize", "report", "plan"):
        assert callable(getattr(kernels, name)), name
    assert callable(kernels.layer.kernelize)


def test_version():
    assert kernels.__version__ == importlib.metadata.version("kernels")
    level, _, ours = kernels.__version__.partition("+")
    assert [part.isdecimal() for part in level.split(".")] == [True] * 3 and ours.startswith("libkernels.")


def test_modules_without_an_import(run_python):
    run_python("import kernels as k\nk.layer.Mode, k.utils.install_kernel, k.errors.KernelError, k.layer.mode")


@pytest.mark.parametrize("name", ["Mode", "Device", "LayerRepository", "use_kernel_mapping", "kernelize", "get_kernel"])
def test_names_are_pickled_by_name(name):
    found = getattr(kernels, name)
    assert pickle.loads(pickle.dumps(found)) is found


SLOW = ("torch", "huggingface_hub", "inspect", "dataclasses", "asyncio", "typing", "pathlib", "re", "logging", "json")
COSTS = [
    ("import kernels", SLOW),
    ("import kernels; dir(kernels); kernels.__all__", SLOW),
    ("from kernels import Mode, Device, LayerRepository, kernelize, use_kernel_mapping", SLOW),
    (
        "from kernels import LayerRepository, register_kernel_mapping as r, Mode\n"
        "one = LayerRepository('a/b', layer_name='L', version='>=1')\n"
        "r({'L': {'cuda': {Mode.INFERENCE | Mode.TORCH_COMPILE: one}}})",
        SLOW,
    ),
    ("from kernels import get_kernel, has_kernel", ("torch", "huggingface_hub", "asyncio")),
]


@pytest.mark.parametrize(("program", "absent"), COSTS, ids=[program[:40] for program, _ in COSTS])
def test_what_is_not_imported(run_python, program, absent):
    run_python(
        f"import sys\nbefore = set(sys.modules)\n{program}\n"
        f"found = set({absent!r}) & set(sys.modules) - before\nassert not found, found"
    )


def test_a_benchmark_says_what_to_do_instead():
    class Mine(kernels.Benchmark):
        def benchmark_forward(self):
            pass

    with pytest.raises(ValueError, match="Mine: this library runs no benchmark files"):
        Mine()


def test_this_process_is_tested():
    assert kernels._kernels is sys.modules["kernels._kernels"]
