"""Weaknesses of the Hugging Face package that this one must not have: mappings and scopes."""

import threading

import pytest
from conftest import PACKAGE
from mapped import Own, forget, repositories, seen, silu

from kernels import CUDAProperties, Device, Mode, register_kernel_mapping, use_kernel_mapping
from kernels.layer import _KERNEL_MAPPING
from kernels.layer._interval_tree import IntervalTree


@pytest.fixture(autouse=True)
def _clean():
    forget()
    yield
    forget()


class Locked(Own):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def __deepcopy__(self, memo):
        raise AssertionError("a scope copied a repository")


def test_fault_01_deep_copies():
    one = Locked()
    register_kernel_mapping({"L": {"cuda": one}})
    with use_kernel_mapping({"M": {"cuda": Locked()}}), use_kernel_mapping({}):
        assert seen()["L"]["cuda"][Mode.FALLBACK] is one


def test_fault_01_a_scope_costs_what_its_own_entries_cost():
    """In steps of the interpreter, not in time: equal over 10 entries and over 1 000."""
    import sys

    def steps(n):
        register_kernel_mapping({f"L{i}": {"cuda": silu("a/b")} for i in range(n)}, inherit_mapping=False)
        scope, count = use_kernel_mapping({"L1": {"cuda": silu("a/c")}}), [0]

        def trace(frame, event, argument):
            count[0] += 1
            return trace

        sys.settrace(trace)
        try:
            with scope:
                pass
        finally:
            sys.settrace(None)
        return count[0]

    steps(10)
    assert steps(10) == steps(1000)


BAD = [{"foo": silu()}, {"cuda": None}, {"cuda": {Mode.TORCH_COMPILE: silu()}}]


@pytest.mark.parametrize("bad", [{"Z": devices} for devices in BAD], ids=str)
def test_fault_02_registration_is_all_or_nothing(bad):
    register_kernel_mapping({"L": {"cuda": silu("a/before")}})
    mapping = {"L": {"cuda": silu("a/after")}, "M": {"cuda": silu()}} | bad
    with pytest.raises((TypeError, ValueError)):
        register_kernel_mapping(mapping)
    assert list(seen()) == ["L"] and repositories() == {Mode.FALLBACK: "a/before"}
    with pytest.raises((TypeError, ValueError)):
        register_kernel_mapping(mapping, inherit_mapping=False)
    assert list(seen()) == ["L"]


@pytest.mark.parametrize("inherit", [True, False])
def test_fault_02_a_scope_that_is_not_entered_leaves_nothing(inherit):
    register_kernel_mapping({"L": {"cuda": silu("a/before")}})
    scope = use_kernel_mapping({"M": {"cuda": silu()}, "Z": {"foo": silu()}}, inherit_mapping=inherit)
    with pytest.raises(ValueError, match="Unknown device type: foo"):
        scope.__enter__()
    assert list(seen()) == ["L"]
    register_kernel_mapping({"N": {"cuda": silu()}})  # for the process, not for a scope that leaked
    found = []
    thread = threading.Thread(target=lambda: found.append(sorted(seen())))
    thread.start()
    thread.join()
    assert found == [["L", "N"]]


def test_fault_03_threads_see_a_mapping_that_replaces():
    """And nobody sees half a registration."""
    names = [f"L{i}" for i in range(20)]
    stop, mixed = threading.Event(), []

    def watch():
        while not stop.is_set():
            tables = [table for devices in seen().values() for table in devices.values()]
            found = {repo._repo_id for table in tables for repo in table.values()}
            if len(found) > 1:
                mixed.append(found)

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(200):
        register_kernel_mapping({name: {"cuda": silu(f"a/r{i % 2}")} for name in names}, inherit_mapping=i % 3 > 0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not mixed
    found = []
    thread = threading.Thread(target=lambda: found.append(seen()))
    register_kernel_mapping({"Only": {"cuda": silu()}}, inherit_mapping=False)
    thread.start()
    thread.join()
    assert list(found[0]) == ["Only"]


def test_fault_04_a_scope_object_is_reentrant():
    scope = use_kernel_mapping({"L": {"cuda": silu("a/scoped")}})
    with scope:
        with scope, scope:
            assert repositories() == {Mode.FALLBACK: "a/scoped"}
        assert repositories() == {Mode.FALLBACK: "a/scoped"}
    assert seen() == {}
    with scope:
        assert repositories() == {Mode.FALLBACK: "a/scoped"}
    assert seen() == {}


def test_fault_05_the_callers_dictionaries_are_copied():
    modes = {Mode.INFERENCE: silu("a/i"), Mode.TRAINING: silu("a/t")}
    mapping = {"L": {"cuda": modes}}
    register_kernel_mapping(mapping)
    modes.clear()
    mapping.clear()
    assert repositories() == {Mode.INFERENCE: "a/i", Mode.TRAINING: "a/t"}
    _KERNEL_MAPPING.get().clear()  # a picture
    assert repositories() == {Mode.INFERENCE: "a/i", Mode.TRAINING: "a/t"}


def test_fault_05_keys_that_nothing_selects_are_refused():
    for key in (Mode.TORCH_COMPILE, Mode._NONE, "INFERENCE", 4):
        with pytest.raises((TypeError, ValueError), match="mode"):
            register_kernel_mapping({"L": {"cuda": {key: silu()}}})


def test_fault_06_the_same_interval_replaces():
    def of(start, end):
        return Device("cuda", CUDAProperties(start, end))

    for device in (of(1, 1), of(1, 2), of(1, 3)):
        register_kernel_mapping({"L": {device: silu("a/old")}})
    register_kernel_mapping({"L": {of(1, 1): silu("a/new")}})
    tables = _KERNEL_MAPPING.get()["L"]["cuda"].tables
    assert sorted(tables) == [(1, 1), (1, 2), (1, 3)]
    assert tables[1, 1][Mode.FALLBACK]._repo_id == "a/new"


def _check(node):
    """Heights, balance and order of a tree; its intervals in order."""
    if node is None:
        return 0, []
    (left, before), (right, after) = _check(node.left), _check(node.right)
    assert abs(left - right) <= 1 and node.height == 1 + max(left, right)
    return node.height, [*before, (node.start, node.end), *after]


def test_fault_06_intervals_in_a_tree():
    import random

    pick = random.Random(6)
    for _ in range(50):
        tree, model = IntervalTree[str](), {}
        for rank in range(pick.randrange(1, 60)):
            start = pick.randrange(12)
            key = (start, start + pick.randrange(12))
            tree.insert(*key, rank)
            model[key] = rank
        height, found = _check(tree.root)
        assert found == sorted(model)
        for point in range(-1, 25):
            around = {key: rank for key, rank in model.items() if key[0] <= point <= key[1]}
            assert sorted(tree.search(point)) == sorted(around.values())
            best = min(around.items(), key=lambda item: (item[0][1] - item[0][0], -item[1]), default=(None, None))
            assert tree.find_smallest_interval(point) == best[1]
    with pytest.raises(ValueError, match="2 to 1"):
        tree.insert(2, 1, "empty")


def test_fault_11_what_documents_wrote_works(hub):
    import torch

    from kernels import LocalLayerRepository, kernelize

    path = hub.build / "packages" / "activation"
    for given in ({"repo_path": str(path)}, {"repo_path": path, "package_name": "activation"}):
        assert LocalLayerRepository(**given, layer_name="SiLU").load().__name__ == "SiLU"

    class Loads(Own):
        def load(self):
            return type("Kernel", (torch.nn.Module,), {"forward": lambda self, x: x + 2})

    class Layer(torch.nn.Module):
        kernel_layer_name = "L"

        def forward(self, x):
            return x + 1

    for registered in ("metal", "mps", Device("metal"), Device("mps")):
        register_kernel_mapping({"L": {registered: Loads()}}, inherit_mapping=False)
        for asked in ("metal", "mps"):
            assert kernelize(Layer(), mode=Mode.INFERENCE, device=asked)(0) == 2


DISABLED = """
import torch, kernels
from kernels import Mode, kernelize, use_kernel_forward_from_hub
@use_kernel_forward_from_hub("L")
class L(torch.nn.Module):
    def forward(self, x):
        return x + 1
class Own:
    layer_name = "L"
    def load(self):
        raise SystemExit("loaded")
    __str__ = lambda self: "own"
with kernels.use_kernel_mapping({"L": {"cpu": Own()}}):
    model = kernelize(L(), mode=Mode.INFERENCE, device="cpu", use_fallback=False)
assert model(1) == 2
"""


@pytest.mark.parametrize("value", ["true", "1", "yes", "on"])
def test_fault_40_disabled_in_words(run_python, value):
    pytest.importorskip("torch")
    run_python(DISABLED, env={"DISABLE_KERNEL_MAPPING": value})


def test_fault_40_read_at_each_call(monkeypatch):
    import torch

    import kernels

    calls = []

    class Kernel(torch.nn.Module):
        def forward(self, x):
            return x + 2

    class Loads(Own):
        def load(self):
            calls.append(1)
            return Kernel

    @kernels.use_kernel_forward_from_hub("L")
    class Layer(torch.nn.Module):
        def forward(self, x):
            return x + 1

    with use_kernel_mapping({"L": {"cpu": Loads()}}):
        for value, result in (("1", 2), ("0", 3), ("true", 2), ("", 3)):
            monkeypatch.setenv("DISABLE_KERNEL_MAPPING", value)
            assert kernels.kernelize(Layer(), mode=Mode.INFERENCE, device="cpu")(1) == result
    assert calls


def test_fault_20_a_branch_that_moved_is_loaded_anew(hub):
    """And what runs goes on with what it has."""
    import torch

    import kernels

    @kernels.use_kernel_forward_from_hub("SiLU")
    class SiLU(torch.nn.Module):
        def forward(self, input):
            return torch.nn.functional.silu(input)

    def push(text):
        branch = hub.repo("kernels-test/moving").branch("main")
        branch.package(hub.build, "activation", source=f"https://{text}.invalid/")

    def revision(model):
        (record,) = kernels.report(model)
        assert record.outcome == "kernel", record.reason
        return record.revision

    moving = kernels.LayerRepository("kernels-test/moving", layer_name="SiLU", trust_remote_code=True)
    with use_kernel_mapping({"SiLU": {"cpu": moving}}):
        push("one")
        first = kernels.kernelize(SiLU(), mode=Mode.INFERENCE, device="cpu", use_fallback=False)
        before = revision(first)
        push("two")
        again = kernels.kernelize(SiLU(), mode=Mode.INFERENCE, device="cpu", use_fallback=False)
        assert revision(again) == before  # one answer for a process, until
        kernels.forget()
        second = kernels.kernelize(SiLU(), mode=Mode.INFERENCE, device="cpu", use_fallback=False)
        assert revision(second) != before == revision(first)
        assert revision(kernels.kernelize(first, mode=Mode.INFERENCE, device="cpu")) == revision(second)


def test_fault_20_what_a_repository_of_ones_own_loaded_can_be_dropped():
    import torch

    import kernels

    @kernels.use_kernel_forward_from_hub("L")
    class Layer(torch.nn.Module):
        def forward(self, x):
            return x + 1

    class Newer(Own):
        added = 1

        def load(self):
            Newer.added += 1
            added = Newer.added
            return type("Kernel", (torch.nn.Module,), {"forward": lambda self, x: x + added})

    own = Newer()
    with use_kernel_mapping({"L": {"cpu": own}}):
        assert kernels.kernelize(Layer(), mode=Mode.INFERENCE, device="cpu")(0) == 2
        assert kernels.kernelize(Layer(), mode=Mode.INFERENCE, device="cpu")(0) == 2
        kernels.forget()
        assert kernels.kernelize(Layer(), mode=Mode.INFERENCE, device="cpu")(0) == 3


# What the standard library has since 3.11, by module.
SINCE_3_11 = {
    "typing": {"Self", "Never", "LiteralString", "assert_never", "assert_type", "reveal_type", "Unpack", "override"},
    "enum": {"StrEnum", "verify", "member", "nonmember", "FlagBoundary", "global_enum"},
    "contextlib": {"chdir"},
}


def test_fault_40_every_file_is_of_the_python_that_is_declared():
    import ast

    files = sorted((PACKAGE / "kernels").rglob("*.py"))
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 10))):
            assert not isinstance(node, getattr(ast, "TryStar", ())), file
            if isinstance(node, ast.ImportFrom) and not node.level and node.module in SINCE_3_11:
                newer = SINCE_3_11[node.module] & {alias.name for alias in node.names}
                assert not newer, f"{file}:{node.lineno}: {newer}"
