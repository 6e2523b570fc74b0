"""Kernels of directories."""

import os
import pathlib

import pytest
from package_files import write_package

import kernels


@pytest.fixture(scope="module")
def activation(build):
    return build / "packages" / "activation"


@pytest.mark.parametrize("form", [
    lambda path: kernels.get_local_kernel(path),
    lambda path: kernels.get_local_kernel(str(path)),
    lambda path: kernels.get_local_kernel(os.path.relpath(path)),
    lambda path: kernels.get_local_kernel(path / "build"),
    lambda path: kernels.get_local_kernel(next((path / "build").iterdir())),
    lambda path: kernels.get_local_kernel(path, "activation"),
    lambda path: kernels.get_local_kernel(path, "cpu"),
    lambda path: kernels.get_local_kernel(path, package_name="activation"),
    lambda path: kernels.get_local_kernel(repo_path=path, backend="cpu"),
    lambda path: kernels.get_local_kernel(path / ".." / "activation"),
])  # fmt: skip
def test_call_forms_and_places(activation, form):
    assert form(activation) is kernels.get_local_kernel(activation)


def test_what_is_loaded_says_no_repository(activation):
    module = kernels.get_local_kernel(activation)
    loaded = [loaded for loaded in kernels.get_loaded_kernels() if loaded.module is module and loaded.repo_info is None]
    assert loaded[0].metadata.name == "activation" and loaded[0].metadata.version == 1


@pytest.mark.parametrize("arguments, message", [
    ((), "Could not find kernel in "),
    (("relu",), "Could not find package 'relu' in "),
])  # fmt: skip
def test_nothing_there(tmp_path, arguments, message):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"{message}{path}"):
            kernels.get_local_kernel(path, *arguments)


def test_no_variant_for_this_system(tmp_path):
    write_package(tmp_path, {"__init__.py": ""}, variant="torch29-cxx11-cu128-x86_64-linux", backend={"type": "cuda"})
    with pytest.raises(FileNotFoundError, match="Cannot find a build variant for this system in"):
        kernels.get_local_kernel(tmp_path)


def test_best_variant_of_a_directory(tmp_path):
    for variant in ("torch-universal", "torch-cpu"):
        name = f"_best_{variant.replace('-', '_')}_{os.getpid()}"
        write_package(tmp_path, {"__init__.py": f"VARIANT = {variant!r}"}, variant=variant, id=name)
    assert kernels.get_local_kernel(tmp_path).VARIANT == "torch-cpu"


@pytest.mark.parametrize("path", [None, 1])
def test_what_is_no_path(path):
    with pytest.raises(TypeError):
        kernels.get_local_kernel(path)


def test_import_from_path(tmp_path):
    from kernels.importer import _import_from_path

    # Resolvers look at no dependencies.
    variant = write_package(
        tmp_path, {"__init__.py": "X = 1"}, id=f"_from_path_{os.getpid()}", **{"python-depends": ["torch"]}
    )
    assert _import_from_path(pathlib.Path(variant)).X == 1
