"""get_kernel and has_kernel, against a real hub."""

import pickle
import sys
import warnings

import pytest
import torch

import kernels
from kernels.errors import KernelError

ACTIVATION, PY_SILU = "kernels-community/activation", "kernels-test/py-silu"


def _expected(x):
    d = x.shape[-1] // 2
    return torch.nn.functional.silu(x[..., :d]) * x[..., d:]


def test_native_functions_write_into_what_they_are_given(hub):
    others = "tvm_ffi" in sys.modules  # another test's
    module = kernels.get_kernel(ACTIVATION, version=1)
    x, y = torch.randn(4, 16), torch.empty(4, 8)
    assert module.silu_and_mul(y, x) is None
    torch.testing.assert_close(y, _expected(x))
    assert sys.modules[module.__name__] is module
    assert others or "tvm_ffi" not in sys.modules  # neither it nor the package's own Python is imported
    with pytest.raises(AttributeError, match="has no function 'nothing'"):
        module.nothing  # noqa: B018


def test_native_layers_are_classes(hub):
    module = kernels.get_kernel(ACTIVATION, version=1)
    layer = module.layers.SiluAndMul
    assert issubclass(layer, torch.nn.Module) and layer.__module__ in sys.modules
    assert "SiluAndMul" in dir(module.layers)
    assert layer.has_backward and layer.can_torch_compile


@pytest.mark.parametrize("arguments, message", [
    (("a",), "argument 1 is <class 'str'>; accepted are tensors, numbers and None"),
    ((object(),), "argument 1 is <class 'object'>"),
    ((), "takes 2 arguments, got 1"),
    ((torch.empty(4, 8, dtype=torch.float64),), "x has data type f64; accepted here: f32, f16, bf16"),
    ((torch._neg_view(torch.ones(4, 8)),), "resolve_neg"),
    ((torch.empty(4, 8, device="meta"),), "meta"),
])  # fmt: skip
def test_arguments_that_a_function_refuses(hub, arguments, message):
    module = kernels.get_kernel(ACTIVATION, version=1)
    with pytest.raises((TypeError, ValueError, RuntimeError, BufferError), match=message):
        module.silu_and_mul(torch.empty(4, 4), *arguments)
    with pytest.raises(TypeError, match="x has data type f64") as raised:
        module.silu_and_mul(torch.empty(4, 4), torch.empty(4, 8, dtype=torch.float64))
    assert isinstance(raised.value, RuntimeError) and pickle.loads(pickle.dumps(raised.value)).status == "call"
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        module.silu_and_mul(out=1)


def test_tensors_of_other_frameworks(hub):
    numpy = pytest.importorskip("numpy")
    module = kernels.get_kernel(ACTIVATION, version=1)
    x, y = numpy.random.rand(4, 16).astype(numpy.float32), numpy.zeros((4, 8), numpy.float32)
    module.silu_and_mul(y, x)
    torch.testing.assert_close(torch.from_numpy(y), _expected(torch.from_numpy(x)))
    for _ in range(1000):  # the capsules are given back
        module.silu_and_mul(y, x)


@pytest.mark.parametrize("form", [
    lambda: kernels.get_kernel(ACTIVATION, "v1"),
    lambda: kernels.get_kernel(ACTIVATION, revision="v1"),
    lambda: kernels.get_kernel(ACTIVATION, version="1"),
    lambda: kernels.get_kernel(ACTIVATION, None, 1, {"who": "me"}),
    lambda: kernels.get_kernel(ACTIVATION, None, 1, "cpu", "who/me", False),
    lambda: kernels.get_kernel(ACTIVATION, version=1, backend="cpu", user_agent="me/1", trust_remote_code=[ACTIVATION]),
])  # fmt: skip
def test_call_forms_of_both_eras(hub, form):
    assert form() is kernels.get_kernel(ACTIVATION, version=1)


def test_versions_side_by_side(hub):
    old, new = (kernels.get_kernel(ACTIVATION, version=version) for version in ("==0.0.3", ">=0.0.4"))
    infos = {loaded.module: loaded.repo_info for loaded in kernels.get_loaded_kernels()}
    assert infos[old].revision != infos[new].revision and infos[old].repo_id == ACTIVATION
    assert kernels.get_kernel(ACTIVATION, version="==0.0.3") is old
    assert old is not new


@pytest.mark.parametrize("arguments, kinds, message", [
    (dict(repo_id="", version=1), ValueError, "repo_id is empty"),
    (dict(revision="main", version=1), ValueError, "Either a revision or a version must be specified, not both"),
    (dict(revision="main", version=1), ValueError, "Only one of `revision` or `version`"),
    (dict(version=7), ValueError, "7"),
    (dict(version=">=9"), ValueError, "satisfies"),
    (dict(version=True), TypeError, "version is True"),
    (dict(revision="nothing"), FileNotFoundError, "nothing"),
    (dict(version=1, backend="cuda"), ValueError, "Invalid backend 'cuda', system supported backends: cpu"),
])  # fmt: skip
def test_arguments_that_are_refused(hub, arguments, kinds, message):
    with pytest.raises(kinds, match=message):
        kernels.get_kernel(**{"repo_id": ACTIVATION} | arguments)


def test_a_repository_that_is_not_there(hub):
    errors = pytest.importorskip("huggingface_hub.errors")
    with pytest.raises(errors.HfHubHTTPError):
        kernels.get_kernel("kernels-community/no-such-thing", version=1)
    assert not kernels.has_kernel("kernels-community/no-such-thing", version=1)


def test_publisher(hub):
    with pytest.raises(ValueError, match="trusted publisher"):
        kernels.get_kernel(PY_SILU, version=1)
    with pytest.raises(ValueError, match="trusted publisher"):
        kernels.get_kernel(PY_SILU, version=1, trust_remote_code=["kernels-test/other"])
    kernels.get_kernel(PY_SILU, version=1, trust_remote_code=[PY_SILU])


def test_hosted_package(hub):
    module = kernels.get_kernel(PY_SILU, version=1, trust_remote_code=True)
    x = torch.randn(4, 16)
    torch.testing.assert_close(module.silu_and_mul(x), _expected(x))
    assert sys.modules[module.__name__] is module and module.layers.SiluAndMul.__module__ == f"{module.__name__}.layers"
    assert kernels.get_kernel(PY_SILU, "v1", trust_remote_code=True) is module


def test_no_build_for_this_system(hub):
    hub.repo("kernels-community/elsewhere").branch("main").variant("torch29-cxx11-cu128-x86_64-linux", {"a.so": "x"})
    with pytest.raises(
        FileNotFoundError,
        match=r"Cannot find a build variant for this system in kernels-community/elsewhere \(revision: main\)",
    ):
        kernels.get_kernel("kernels-community/elsewhere", revision="main")
    assert not kernels.has_kernel("kernels-community/elsewhere", revision="main")


def test_redirect(hub):
    repo = hub.repo("kernels-community/moved").branch("main")
    repo.package(hub.build).write(
        "kernel-status.toml", f'kind = "redirect"\ndestination = "{ACTIVATION}"\nrevision = "v1"\n'
    )
    with pytest.warns(UserWarning, match=f"'kernels-community/moved' redirected to '{ACTIVATION}'"):
        module = kernels.get_kernel("kernels-community/moved", revision="main")
    infos = [loaded.repo_info for loaded in kernels.get_loaded_kernels() if loaded.module is module]
    assert ACTIVATION in [info.repo_id for info in infos if info]


def test_older_than_newest_is_said_once(hub, caplog):
    for version in (1, 2):
        hub.repo("kernels-community/two").branch(f"v{version}").package(
            hub.build, source=f"https://example.invalid/two/{version}"
        )
    text = "You are using version 1 of 'kernels-community/two', but version 2 is available."
    for _ in range(2):
        kernels.get_kernel("kernels-community/two", version=1)
    kernels.get_kernel("kernels-community/two", version=2)
    assert [(record.name, record.getMessage()) for record in caplog.records if "available" in record.getMessage()] == [
        ("kernels._versions", text)
    ]


def test_the_users_agent_reaches_the_hub_and_stays_as_it_is(hub):
    agent = {"who": "me"}
    kernels.get_kernel(ACTIVATION, version=1, user_agent=agent)
    assert agent == {"who": "me"}
    from kernels.load import agent_text

    assert [agent_text(given) for given in (None, "", {}, "a/1; ", {"a": 1, "b": 2})] == [
        None,
        None,
        None,
        "a/1",
        "a/1; b/2",
    ]


def test_has_kernel_downloads_metadata_alone(run_python):
    run_python(
        "import kernels, os, pathlib\n"
        "assert kernels.has_kernel('kernels-community/activation', version=1)\n"
        "home = pathlib.Path(os.environ['HF_HOME'])\n"
        "blobs = [p for p in home.rglob('*') if p.parent.name == 'blobs']\n"
        "assert len(blobs) == 1 and blobs[0].read_bytes().startswith(b'{'), blobs\n"
        "assert not kernels.has_kernel('kernels-community/activation', version='>=9')\n"
    )


def test_offline_from_a_warm_cache(run_python):
    code = "import kernels; print(kernels.get_kernel('kernels-community/activation', version=1).__name__)"
    first = run_python(code).stdout
    assert run_python(code, env={"HF_HUB_OFFLINE": "1"}).stdout == first
    code = (
        "import kernels\n"
        "try: kernels.get_kernel('kernels-community/rotary', version=1)\n"
        "except ValueError as error: print('offline' in str(error), error)\n"
    )
    cold = run_python(code, env={"HF_HUB_OFFLINE": "1"})
    assert cold.stdout.startswith("True"), cold.stdout


def test_local_kernels_takes_the_place_of_a_repository(hub, build, monkeypatch):
    monkeypatch.setenv("LOCAL_KERNELS", f"nobody/nothing={build}/packages/activation")
    module = kernels.get_kernel("nobody/nothing", version=99)
    assert module is kernels.get_local_kernel(build / "packages" / "activation")
    assert kernels.has_kernel("nobody/nothing", version=99)
    monkeypatch.setenv("LOCAL_KERNELS", "nonsense")
    with pytest.raises(ValueError, match="Invalid LOCAL_KERNELS entry"):
        kernels.get_kernel("nobody/nothing")


def test_get_loaded_kernels_is_a_list_of_the_callers_own(hub):
    kernels.get_kernel(ACTIVATION, version=1)
    kernels.get_loaded_kernels().clear()
    assert any(loaded.metadata.name == "activation" for loaded in kernels.get_loaded_kernels())


def test_errors_are_of_this_library(hub):
    with warnings.catch_warnings(), pytest.raises(KernelError):
        kernels.get_kernel("kernels-community/no-such-thing")
