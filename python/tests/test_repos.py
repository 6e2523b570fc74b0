"""Repository objects: what they take, what they say, what they are equal to."""

import copy
import http.server
import inspect
import pathlib
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from hub_fixture import server
from mapped import silu

import kernels
from kernels import LayerRepository, LocalLayerRepository, LockedLayerRepository
from kernels.layer.repos import entry_of, repository_of

R = "kernels-community/activation"


TEXTS = [
    (lambda: silu(), "(revision: main), layer `SiluAndMul`"),
    (lambda: silu(revision="v2"), "(revision: v2), layer `SiluAndMul`"),
    (lambda: silu(version=">=0.0.4,<0.1.0"), "(version: >=0.0.4,<0.1.0), layer `SiluAndMul`"),
    (lambda: silu(version=3), "(version: 3), layer `SiluAndMul`"),
    (lambda: LockedLayerRepository(R, lockfile="/x/k.lock", layer_name="L"), "(lock: /x/k.lock), layer `L`"),
]


@pytest.mark.parametrize(("make", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_text_names_the_repository_without_a_look_at_the_network(make, text):
    assert str(make()) == f"`{R}` {text}"


ENTRIES = [
    (silu(), {}),
    (silu(revision="abc"), {"revision": "abc"}),
    (silu(version=1), {"version": "1"}),
    (silu(version="1"), {"version": "1"}),
    (silu(version=">=1"), {"version": ">=1"}),
    (silu(trust_remote_code=True), {"trust_remote_code": True}),
    (silu(trust_remote_code=[R]), {"trust_remote_code": True}),
    (silu(trust_remote_code=["somebody/else"]), {}),
    (silu(user_agent={"framework": "mine", "version": "1.2"}), {"user_agent": "framework/mine; version/1.2"}),
    (silu(user_agent="mine/1; "), {"user_agent": "mine/1"}),
]


@pytest.mark.parametrize(("repository", "said"), ENTRIES, ids=lambda value: repr(value))
def test_what_the_core_is_told(repository, said):
    entry = {name: value for name, value in entry_of(repository).items() if value not in (None, False)}
    assert entry == {"repo_id": R, "layer_name": "SiluAndMul"} | said


REFUSED = [
    ({"revision": "a", "version": 1}, ValueError, "Either a revision or a version must be specified, not both"),
    ({"revision": "a", "version": ">=1"}, ValueError, "Either a revision or a version must be specified, not both"),
    ({"version": True}, TypeError, "version is True"),
    ({"version": 1.0}, TypeError, "version is 1.0"),
    ({"version": -1}, ValueError, "version is -1"),
    ({"revision": 1}, TypeError, "revision is 1"),
    ({"trust_remote_code": "yes"}, TypeError, "trust_remote_code is 'yes'"),
]


@pytest.mark.parametrize(("options", "error", "text"), REFUSED, ids=str)
def test_refused_options(options, error, text):
    with pytest.raises(error, match=text):
        silu(**options)


def test_names_are_by_keyword():
    with pytest.raises(TypeError):
        LayerRepository(R, "SiluAndMul")
    with pytest.raises(TypeError):
        LayerRepository(R)
    with pytest.raises(TypeError, match="layer_name is 3"):
        LayerRepository(R, layer_name=3)
    with pytest.raises(TypeError, match="repo_id is 3"):
        LayerRepository(3, layer_name="L")


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_a_path_is_text_or_an_object(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "kernels" / "activation"
    one = LocalLayerRepository(repo_path=kind(path), package_name="activation", layer_name="L")
    assert str(one) == f"`{path}` (package: activation), layer `L`"
    assert one._repo_path == path and one._package_name == "activation"
    bare = LocalLayerRepository(kind("kernels/activation"), layer_name="L")
    assert entry_of(bare) == {"path": str(path), "layer_name": "L"}
    assert str(bare) == f"`{path}`, layer `L`"
    for bad in (None, 3, b"/x"):
        with pytest.raises(TypeError):
            LocalLayerRepository(bad, layer_name="L")


def locked(lock="/x/kernels.lock", **options):
    return LockedLayerRepository(R, lockfile=lock, layer_name="L", **options)


def local(path="/x", **options):
    return LocalLayerRepository(path, **({"layer_name": "L"} | options))


EQUAL = [
    (silu(), silu()),
    (silu(version=1), silu(version="1")),  # two spellings
    (silu(version=1), silu(version=1, user_agent="a")),  # who asks does not matter
    (local(), local(pathlib.Path("/x"))),
    (local(), local("/y/../x")),
    (locked(), locked(pathlib.Path("/x/kernels.lock"))),
]
DIFFERENT = [
    (silu(), silu(revision="main2")),
    (silu(), silu(version=1)),
    (silu(version="1"), silu(revision="1")),
    (silu(), silu(trust_remote_code=True)),
    (silu(), LayerRepository(R, layer_name="Other")),
    (silu(), LayerRepository("a/b", layer_name="SiluAndMul")),
    (silu(), local()),
    (silu(), None),
    (local(), local(layer_name="M")),
    (local(), local("/y")),
    (local(), local(package_name="p")),
    (locked(), locked("/y/kernels.lock")),
]


@pytest.mark.parametrize(("a", "b"), EQUAL, ids=repr)
def test_equal(a, b):
    assert a == b and hash(a) == hash(b)


@pytest.mark.parametrize(("a", "b"), DIFFERENT, ids=repr)
def test_different(a, b):
    assert a != b and len({a, b}) == 2


@pytest.mark.parametrize("one", [silu(version=">=1"), local(), locked()], ids=repr)
def test_copies_and_rows(one):
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert repository_of(entry_of(one)) == one  # as a mapping file gives it back
    assert type(one).__name__ in repr(one) and one._layer_name in repr(one)


def test_attributes_that_clients_read():
    one = silu(version=2)
    assert (one._repo_id, one.layer_name, one._version, one._revision) == (R, "SiluAndMul", 2, None)


FUNCTIONS = [
    ("FuncRepository", lambda cls: cls(R, func_name="f", version=1)),
    ("LocalFuncRepository", lambda cls: cls("/x", func_name="f")),
    ("LockedFuncRepository", lambda cls: cls(R, lockfile="/x/kernels.lock", func_name="f")),
]


@pytest.mark.parametrize(("name", "make"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions(name, make):
    with pytest.warns(DeprecationWarning, match="kernels 0.17") as warned:
        one = make(getattr(kernels, name))
    assert warned[0].filename == __file__
    assert one.func_name == "f" and str(one).endswith(", function `f`")
    assert entry_of(one)["layer_name"] == "f"
    with pytest.warns(DeprecationWarning, match="kernels 0.17"):
        assert one == make(getattr(kernels, name))


def test_the_warning_comes_before_any_other_check():
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match="not both"):
        kernels.FuncRepository(R, func_name="f", revision="a", version=1)


class Custom:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def load(self):
        raise AssertionError("nothing is loaded here")

    def __str__(self):
        return "my own"


def test_objects_that_load_by_themselves():
    assert entry_of(Custom(layer_name="L")) == {"layer_name": "L", "label": "my own"}
    assert entry_of(Custom(func_name="f")) == {"layer_name": "f", "label": "my own"}

    class Special(LayerRepository):
        def load(self):
            return object

    assert entry_of(Special(R, layer_name="L"))["label"] == f"`{R}` (revision: main), layer `L`"


NO_REPOSITORIES = [None, "a/b", 3, Custom(), Custom(layer_name=3), Custom(layer_name="L", load=None)]


@pytest.mark.parametrize("bad", NO_REPOSITORIES, ids=str)
def test_what_is_no_repository(bad):
    with pytest.raises(TypeError, match="accepted are LayerRepository"):
        entry_of(bad)


def test_a_type_checker_can_name_the_protocol():
    from kernels.layer import LayerRepositoryProtocol

    assert isinstance(silu(), LayerRepositoryProtocol)
    assert not isinstance(3, LayerRepositoryProtocol)


def test_loading(hub):
    layer = silu(version=1).load()
    assert issubclass(layer, torch.nn.Module) and layer.__name__ == "SiluAndMul"
    assert silu(version="1").load() is layer  # one kernel
    assert sys.modules[layer.__module__].SiluAndMul is layer
    assert layer.has_backward in (True, False) and layer.can_torch_compile in (True, False)
    assert next(iter(inspect.signature(layer.forward).parameters)) == "self"
    with pytest.raises(ValueError, match="Layer `None` not found in kernel repo"):
        LayerRepository(R, layer_name="None", version=1).load()


def test_loading_from_a_directory(build):
    path = build / "packages" / "activation"
    for repo_path in (path, str(path), path / "build"):
        layer = LocalLayerRepository(repo_path, package_name="activation", layer_name="SiLU").load()
        assert layer.__name__ == "SiLU"
    with pytest.raises(FileNotFoundError):
        LocalLayerRepository(path / "none", layer_name="SiLU").load()


def test_the_user_agent_is_sent(run_python):
    agents = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            agents.append(self.headers["User-Agent"])
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            run_python(
                "from kernels import LayerRepository\n"
                "agent = {'framework': 'mine', 'version': '1.2'}\n"
                "one = LayerRepository('a/b', layer_name='L', trust_remote_code=True, user_agent=agent)\n"
                "try:\n    one.load()\nexcept FileNotFoundError:\n    pass\n",
                env={"HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}", "HF_HUB_DISABLE_TELEMETRY": None},
            )
        finally:
            server.shutdown()
    assert agents and all("framework/mine; version/1.2" in agent for agent in agents), agents


def test_kernelize_sends_the_user_agent(hub, run_python, tmp_path):
    log = tmp_path / "access.log"
    with server.Server(hub.program, hub.tree, "--access-log", log, "--publisher", "kernels-community") as serving:
        run_python(
            "import sys, torch\n"
            "from kernels import LayerRepository, Mode, kernelize, report, use_kernel_forward_from_hub, use_kernel_mapping\n"
            "Layer = use_kernel_forward_from_hub('SiluAndMul')(type('Layer', (torch.nn.Module,), {'forward': lambda self, x: x}))\n"
            "one = LayerRepository(sys.argv[1], layer_name='SiluAndMul', version=1, user_agent={'framework': 'mine', 'version': '1.2'})\n"
            "with use_kernel_mapping({'SiluAndMul': {'cpu': one}}):\n"
            "    model = kernelize(Layer(), mode=Mode.INFERENCE, device='cpu')\n"
            "assert report(model).replaced\n",
            R,
            env={"HF_ENDPOINT": serving.url, "KERNELS_TRUSTED_ENDPOINTS": serving.url},
        )
    lines = log.read_text().splitlines()
    assert len(lines) >= 5, lines
    assert all(' "framework/mine; version/1.2; ' in line for line in lines), lines


def test_locked_layers(hub, tmp_path):
    (tmp_path / "pyproject.toml").write_text(f'[tool.kernels.dependencies]\n"{R}" = 1\n')
    subprocess.run([hub.program, "lock", tmp_path], check=True, capture_output=True)
    lock = tmp_path / "kernels.lock"
    layer = LockedLayerRepository(R, lockfile=lock, layer_name="SiluAndMul").load()
    assert layer is LockedLayerRepository(R, lockfile=str(lock), layer_name="SiluAndMul").load()
    with pytest.raises(ValueError, match="is not locked"):
        LockedLayerRepository("kernels-community/rotary", lockfile=lock, layer_name="rotary_pos_emb").load()
    with pytest.raises(FileNotFoundError):
        LockedLayerRepository(R, lockfile=tmp_path / "none.lock", layer_name="SiluAndMul").load()


def test_fault_25_the_lock_of_the_callers_distribution(hub, run_python, tmp_path):
    """Found for repositories in mappings too; the caller is who makes the repository, not this library."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.kernels.dependencies]\n"{R}" = 1\n')
    subprocess.run([hub.program, "lock", tmp_path], check=True, capture_output=True)
    package, info = tmp_path / "site" / "theirs", tmp_path / "site" / "theirs-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(
        "from kernels import LockedLayerRepository\n"
        f"repository = LockedLayerRepository({R!r}, layer_name='SiluAndMul')\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("theirs\n")
    (info / "kernels.lock").write_bytes((tmp_path / "kernels.lock").read_bytes())
    run_python(
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import theirs\n"
        f"assert {str(info / 'kernels.lock')!r} in str(theirs.repository), str(theirs.repository)\n"
        "assert theirs.repository.load().__name__ == 'SiluAndMul'\n"
    )


def test_callers_without_a_lock():
    with pytest.raises(ValueError, match=f"Kernel `{R}` is not locked"):
        LockedLayerRepository(R, layer_name="SiluAndMul")
