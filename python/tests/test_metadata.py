"""metadata.json of every era, and what kernels depend on."""

import os

import pytest
from package_files import write_package

import kernels
from kernels.metadata import Metadata, validate_dependencies


@pytest.mark.parametrize("text, field, value", [
    ("{}", "python_depends", ()),
    ('{"version": 3}', "version", 3),
    ('{"name": "flash-attn"}', "python_name", "flash_attn"),
    ('{"backend": {"type": "cuda", "archs": ["9.0"]}}', "backend", "cuda"),
    ('{"backend": {"type": "cuda", "archs": ["9.0"]}}', "archs", ("9.0",)),
    ('{"provenance": {"kernel": {"commit": "0", "dirty": false}, "kernel-builder": {"version": "1"}}}', "dirty", []),
    ('{"provenance": {"kernel": {"commit": "0", "dirty": true}}}', "dirty", ["kernel source"]),
    ('{"provenance": [1]}', "dirty", []),
    ('{"provenance": {"kernel": [1]}}', "dirty", []),
    ('{"future": [1]}', "license", None),
])  # fmt: skip
def test_fields(text, field, value):
    assert getattr(Metadata.parse(text), field) == value


@pytest.mark.parametrize("text", [
    "", "[]", "{", '{"kernel-depends": [{}]}', '{"kernel-depends": [{"repo-id": "a/b", "other": 1}]}',
    '{"kernel-depends": [{"repo-id": "a/b", "version": 1, "revision": "main"}]}',
    '{"kernel-depends": 5}', '{"kernel-depends": {"a/b": 1}}', '{"kernel-depends": [{"repo-id": 5}]}',
    '{"kernel-depends": [{"repo-id": "a/b", "revision": ["main"]}]}', '{"kernel-depends": [{"repo-id": "a/b", "version": {}}]}',
])  # fmt: skip
def test_what_is_none(text):
    with pytest.raises(ValueError, match="Cannot parse metadata"):
        Metadata.parse(text)


@pytest.mark.parametrize("depends, backend, kind, message", [
    (("no-such-thing",), "cpu", ValueError, "Kernel module `m` uses unsupported kernel dependency: no-such-thing"),
    (("torch",), "cpu", ValueError, "unsupported kernel dependency: torch"),
    (("\x1b[2J\n\u202e",), "cpu", ValueError, r"unsupported kernel dependency: '\\x1b\[2J\\n\\u202e', allowed"),
    (("nvidia-cutlass-dsl",), "cpu", ValueError, "unsupported kernel dependency: nvidia-cutlass-dsl"),
    (("nvidia-cutlass-dsl",), "cuda", ImportError, "Kernel module `m` requires Python dependency `nvidia-cutlass-dsl`"),
    (("helion",), "cpu", ImportError, "Kernel module `m` requires Python dependency `helion`"),
    (("onednn",), "xpu", None, ""),
    (("tvm-ffi",), None, None, ""),
])  # fmt: skip
def test_python_dependencies(depends, backend, kind, message):
    if kind is None:
        validate_dependencies("m", depends, backend)
        return
    with pytest.raises(kind, match=message):
        validate_dependencies("m", depends, backend)


def test_a_kernel_whose_dependency_is_missing_does_not_run(tmp_path):
    canary = tmp_path / "ran"
    name = f"_depends_{os.getpid()}"
    write_package(tmp_path, {"__init__.py": f"open({str(canary)!r}, 'w')"}, id=name, **{"python-depends": ["helion"]})
    with pytest.raises(ImportError, match="Kernel module `made_up` requires Python dependency `helion`"):
        kernels.get_local_kernel(tmp_path)
    assert not canary.exists()


def test_kernels_that_kernels_depend_on(hub, tmp_path):
    depends = [{"repo-id": "kernels-community/activation", "version": 1}]
    code = "from kernels import get_kernel_dep\nactivation = get_kernel_dep('kernels-community/activation')\n"
    write_package(tmp_path, {"__init__.py": code}, id=f"_parent_{os.getpid()}", **{"kernel-depends": depends})
    assert kernels.get_local_kernel(tmp_path).activation is kernels.get_kernel(
        "kernels-community/activation", version=1
    )
    with pytest.raises(ValueError, match="is no kernel"):
        kernels.get_kernel_dep("kernels-community/activation")


def test_a_dependency_that_is_not_declared(hub, tmp_path):
    code = "from kernels import get_kernel_dep\nget_kernel_dep('kernels-community/rotary')\n"
    write_package(tmp_path, {"__init__.py": code}, id=f"_undeclared_{os.getpid()}")
    with pytest.raises(ValueError, match="does not depend on 'kernels-community/rotary'"):
        kernels.get_local_kernel(tmp_path)


def test_nobody_consents_for_a_dependency(hub, tmp_path):
    depends = [{"repo-id": "kernels-test/py-silu", "version": 1}]
    write_package(tmp_path, {"__init__.py": ""}, id=f"_untrusted_{os.getpid()}", **{"kernel-depends": depends})
    with pytest.raises(ValueError, match="trusted publisher"):
        kernels.get_local_kernel(tmp_path)


def test_a_circle_of_dependencies_is_refused(hub):
    for one, other in (("round-a", "round-b"), ("round-b", "round-a")):
        ref = hub.repo(f"kernels-community/{one}").branch("v1")
        ref.variant("torch-universal", {"__init__.py": ""}, id=f"_{one.replace('-', '_')}_{os.getpid()}",
                    **{"kernel-depends": [{"repo-id": f"kernels-community/{other}", "version": 1}]})  # fmt: skip
    with pytest.raises(
        ImportError, match="kernels depend on each other: kernels-community/round-a -> kernels-community/round-b"
    ):
        kernels.get_kernel("kernels-community/round-a", version=1)
