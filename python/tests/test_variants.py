"""What there is to choose from, and why not."""

import pytest
from package_files import write_package

import kernels
from kernels import _kernels
from kernels.variants import VariantAccepted, VariantRejected

NAMES = [
    "torch-universal",
    "torch-cpu",
    "torch-cuda",
    "torch29-cxx11-cu128-x86_64-linux",
    "tvm-ffi01-cpu-s390x-linux",
    "nonsense",
]


@pytest.fixture(scope="module")
def repository(hub):
    repo = hub.repo("kernels-community/many").branch("v1")
    repo.package(hub.build)
    for name in NAMES:
        repo.variant(name, {"__init__.py": ""}, backend={"type": "cuda" if "cu" in name else "cpu"})
    return "kernels-community/many"


def test_accepted_ones_come_first_best_first(repository, build):
    decisions = kernels.get_kernel_variants(repository, version=1)
    accepted = [d.variant.variant_str for d in decisions if isinstance(d, VariantAccepted)]
    rejected = {d.variant.variant_str: d.reason for d in decisions if isinstance(d, VariantRejected)}
    native = next((build / "packages" / "activation" / "build").iterdir()).name
    assert (
        accepted[0] in (native, "torch-cpu")
        and accepted[-1] == "torch-universal"
        and set(accepted) == {native, "torch-cpu", "torch-universal"}
    )
    assert decisions[: len(accepted)] == [d for d in decisions if isinstance(d, VariantAccepted)]
    assert (
        "s390x" in rejected["tvm-ffi01-cpu-s390x-linux"]
        and rejected["torch29-cxx11-cu128-x86_64-linux"]
        and rejected["torch-cuda"]
    )
    assert str(decisions[0]).endswith(" compatible")


def test_what_is_first_is_what_is_loaded(repository):
    first = kernels.get_kernel_variants(repository, version=1)[0].variant.variant_str
    assert _kernels.find_kernel(repo_id=repository, version="1", device="cpu")[2] == first


def test_of_a_directory(tmp_path):
    write_package(tmp_path, {"__init__.py": ""})
    (entry,) = _kernels.choose_variants(path=str(tmp_path), device="cpu")
    assert (entry.subject if hasattr(entry, "subject") else entry[1]) == "torch-universal"


def test_versions(hub):
    from kernels._versions import _get_available_versions, resolve_version_spec_as_ref

    for n in (1, 2, 10):
        hub.repo("kernels-community/ten").branch(f"v{n}").package(hub.build, source=f"https://example.invalid/{n}")
    assert list(_get_available_versions("kernels-community/ten")) == [1, 2, 10]
    assert resolve_version_spec_as_ref("kernels-community/ten", 10).name == "v10"
    assert resolve_version_spec_as_ref("kernels-community/activation", ">=0.0.4,<0.1.0").name == "v0.0.4"
    with pytest.raises(ValueError, match="available versions: 1, 2, 10"):
        kernels.get_kernel("kernels-community/ten", version=3)
