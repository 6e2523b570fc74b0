"""register_kernel_mapping and use_kernel_mapping: which mapping counts where."""

import asyncio
import contextvars
import threading
import types

import pytest
from mapped import Own, forget, repositories, seen, silu

from kernels import CUDAProperties, Device, Mode, register_kernel_mapping, use_kernel_mapping
from kernels.layer import _KERNEL_MAPPING


@pytest.fixture(autouse=True)
def _clean():
    forget()
    yield
    forget()


def in_thread(function):
    """What a new thread sees."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def ids(layer="L", device="cuda"):
    return sorted(set(repositories(layer, device).values()))


def test_registering():
    assert seen() == {}
    one = silu("a/one")
    assert register_kernel_mapping({"L": {"cuda": one, Device("rocm"): {Mode.INFERENCE: one}}}) is None
    assert seen() == {"L": {"cuda": {Mode.FALLBACK: one}, "rocm": {Mode.INFERENCE: one}}}
    assert _KERNEL_MAPPING.get()["L"]["cuda"].repos[Mode.FALLBACK] is one
    assert _KERNEL_MAPPING.get()["L"]["cuda"].repos[Mode.FALLBACK]._repo_id == "a/one"


def test_a_device_that_is_registered_again_is_replaced_with_all_its_modes():
    modes = {Mode.INFERENCE: silu("a/i"), Mode.TRAINING: silu("a/t")}
    register_kernel_mapping({"L": {"cuda": modes, "cpu": silu("a/cpu")}})
    register_kernel_mapping({"L": {"cuda": {Mode.TRAINING: silu("b/t")}}, "M": {"cuda": silu("b/m")}})
    assert repositories() == {Mode.TRAINING: "b/t"}
    assert ids(device="cpu") == ["a/cpu"] and ids("M") == ["b/m"]


def test_without_inheritance_the_rest_is_dropped():
    register_kernel_mapping({"L": {"cuda": silu("a/one")}})
    register_kernel_mapping({"M": {"cuda": silu("b/m")}}, inherit_mapping=False)
    assert list(seen()) == ["M"]


def test_ranges_of_capabilities():
    wide, narrow = Device("cuda", CUDAProperties(75, 89)), Device("cuda", CUDAProperties(90, 90))
    devices = {wide: silu("a/wide"), narrow: {Mode.INFERENCE: silu("a/narrow")}, "cuda": silu("a/all")}
    register_kernel_mapping({"L": devices})
    register_kernel_mapping({"L": {wide: silu("b/wide")}})
    tables = _KERNEL_MAPPING.get()["L"]["cuda"].tables
    assert {range_: [r._repo_id for r in table.values()] for range_, table in tables.items()} == {
        (90, 90): ["a/narrow"],
        None: ["a/all"],
        (75, 89): ["b/wide"],
    }
    assert _KERNEL_MAPPING.get()["L"]["cuda"].repos[Mode.FALLBACK]._repo_id == "a/all"


def test_metal_is_mps():
    register_kernel_mapping({"L": {"metal": silu("a/metal")}})
    assert ids(device="mps") == ["a/metal"]


def test_a_mapping_file(tmp_path):
    register_kernel_mapping({"L": {"cuda": silu("a/one", version=">=1")}, "M": {"cpu": silu("a/m")}})
    file = tmp_path / "kernels.toml"
    from kernels.layer.scope import current_mapping

    current_mapping().write(str(file))
    forget()
    with use_kernel_mapping(file):
        assert ids() == ["a/one"] and ids("M", "cpu") == ["a/m"]
        assert _KERNEL_MAPPING.get()["L"]["cuda"].repos[Mode.FALLBACK] == silu("a/one", version=">=1")
    with use_kernel_mapping({"N": {"cuda": silu("a/n")}}), use_kernel_mapping(str(file), inherit_mapping=False):
        assert sorted(seen()) == ["L", "M"]
    with pytest.raises(FileNotFoundError), use_kernel_mapping(tmp_path / "none.toml"):
        pass


def test_nested_scopes():
    register_kernel_mapping({"L": {"cuda": silu("a/base")}})
    with use_kernel_mapping({"M": {"cuda": silu("a/m")}}) as bound:
        assert bound is None
        assert ids() == ["a/base"] and ids("M") == ["a/m"]
        with use_kernel_mapping({"L": {"cuda": silu("a/inner")}}, inherit_mapping=False):
            assert ids() == ["a/inner"] and ids("M") == []
            with use_kernel_mapping({"M": {"cuda": silu("a/innermost")}}):
                assert ids() == ["a/inner"] and ids("M") == ["a/innermost"]
        assert ids() == ["a/base"] and ids("M") == ["a/m"]
    assert ids() == ["a/base"] and ids("M") == []


def test_registering_in_a_scope_ends_with_it():
    with use_kernel_mapping({"L": {"cuda": silu("a/scoped")}}):
        register_kernel_mapping({"M": {"cuda": silu("a/m")}})
        assert ids() == ["a/scoped"] and ids("M") == ["a/m"]
        with use_kernel_mapping({}):
            assert ids("M") == ["a/m"]
        register_kernel_mapping({"N": {"cuda": silu("a/n")}}, inherit_mapping=False)
        assert list(seen()) == ["N"]
        assert in_thread(seen) == {}
    assert seen() == {}


def test_a_scope_reads_its_mapping_on_entry():
    mapping = {"L": {"foo": silu()}}
    scope = use_kernel_mapping(mapping)
    with pytest.raises(ValueError, match="Unknown device type: foo"), scope:
        pass
    mapping["L"] = {"cuda": silu("a/late")}
    with scope:
        assert ids() == ["a/late"]


def test_a_scope_ends_with_an_exception():
    with pytest.raises(KeyError), use_kernel_mapping({"L": {"cuda": silu()}}):
        raise KeyError("x")
    assert seen() == {}


def test_scopes_left_out_of_order():
    outer = use_kernel_mapping({"L": {"cuda": silu("a/outer")}})
    inner = use_kernel_mapping({"L": {"cuda": silu("a/inner")}})
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)  # with everything inside it
    assert seen() == {}
    inner.__exit__(None, None, None)
    assert seen() == {}


def test_a_scope_left_in_another_context_changes_nothing_there():
    register_kernel_mapping({"L": {"cuda": silu("a/base")}})
    scope = use_kernel_mapping({"L": {"cuda": silu("a/scoped")}})
    contextvars.copy_context().run(scope.__enter__)
    assert ids() == ["a/base"]
    scope.__exit__(None, None, None)
    assert ids() == ["a/base"]


def test_threads_see_the_process_and_not_the_scope():
    register_kernel_mapping({"L": {"cuda": silu("a/base")}})
    with use_kernel_mapping({"L": {"cuda": silu("a/scoped")}}):
        assert in_thread(ids) == ["a/base"]
        in_thread(lambda: register_kernel_mapping({"L": {"cuda": silu("a/of-a-thread")}}))
        assert ids() == ["a/scoped"]  # as it was entered
    assert ids() == ["a/of-a-thread"]


def test_a_running_thread_sees_what_is_registered_later():
    asked, answered = threading.Event(), threading.Event()
    found = []

    def run():
        found.append(ids())
        answered.set()
        asked.wait()
        found.append(ids())

    thread = threading.Thread(target=run)
    thread.start()
    answered.wait()
    register_kernel_mapping({"L": {"cuda": silu("a/later")}})
    asked.set()
    thread.join()
    assert found == [[], ["a/later"]]


def test_threads_that_register_at_once_lose_nothing():
    n, each = 8, 50
    start = threading.Barrier(n)

    def run(number):
        start.wait()
        for i in range(each):
            register_kernel_mapping({f"L{number}.{i}": {"cuda": silu("a/b")}})

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen()) == n * each


def test_one_scope_object_in_several_threads():
    scope = use_kernel_mapping({"L": {"cuda": silu("a/scoped")}})
    inside = threading.Barrier(4)
    found = []

    def run():
        with scope:
            inside.wait()
            found.append(ids())
        found.append(ids())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [[]] * 4 + [["a/scoped"]] * 4


def test_tasks_have_scopes_of_their_own():
    async def task(name, entered, go):
        with use_kernel_mapping({"L": {"cuda": silu(f"a/{name}")}}):
            entered.set()
            await go.wait()
            await asyncio.sleep(0)
            return ids()

    async def main():
        go, entered = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
        with use_kernel_mapping({"M": {"cuda": silu("a/m")}}):
            tasks = [asyncio.create_task(task(str(i), entered[i], go)) for i in range(2)]
            inherited = asyncio.create_task(asyncio.to_thread(ids, "M"))  # a copy of this context
            for event in entered:
                await event.wait()
            assert ids() == []
            go.set()
            return [*await asyncio.gather(*tasks), await inherited]

    assert asyncio.run(main()) == [["a/0"], ["a/1"], ["a/m"]]
    assert seen() == {}


def test_generators_that_leave_a_scope_late():
    def generate():
        with use_kernel_mapping({"L": {"cuda": silu("a/generated")}}):
            yield ids()

    generator = generate()
    assert next(generator) == ["a/generated"]
    with use_kernel_mapping({"L": {"cuda": silu("a/outside")}}):
        generator.close()
    assert seen() == {}


WRONG = [
    ([], "accepted are a mapping from layer names and a file's path"),
    ({1: {}}, "found the layer name 1: accepted is a str"),
    ({"L": silu()}, "`L` is mapped to .*accepted is a mapping from devices to repositories"),
    ({"L": {1: silu()}}, "`L` has the device 1: accepted are a str and a Device"),
    ({"L": {Device(1): silu()}}, r"`L` has the device Device\(type=1"),
    ({"L": {"cuda": {1: silu()}}}, "`L` for cuda has the mode 1: accepted is a Mode"),
    ({"L": {"cuda": {"INFERENCE": silu()}}}, "has the mode 'INFERENCE'"),
    ({"L": {"cuda": {Mode._NONE: silu()}}}, "accepted is a Mode"),
    ({"L": {"cuda": None}}, "`L` for cuda: None: accepted are LayerRepository"),
    ({"L": {"cuda": {Mode.INFERENCE: "a/b"}}}, "`L` for cuda: 'a/b': accepted are LayerRepository"),
]
REFUSED = [
    ({"L": {"cuda": {}}}, "`L` for cuda has no mode"),
    ({"": {"cuda": silu()}}, "layer: is empty"),
    ({"L": {"cuda": {Mode.TORCH_COMPILE: silu()}}}, "mode must contain INFERENCE or TRAINING, or be FALLBACK"),
    ({"L": {"cuda": {Mode(6): silu()}}}, "mutually exclusive"),
    ({"L": {"cuda": silu("nobody")}}, "accepted is owner/name"),
    ({"L": {"cuda": silu(), Device("cuda"): silu("a/b")}}, "cuda"),
    ({"L": {Device("cuda", CUDAProperties(-1, 2)): silu()}}, "accepted are numbers from 0"),
    ({"L": {"cuda": Own(text="two\nlines")}}, "control character"),
]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(("mapping", "text"), WRONG + REFUSED, ids=lambda value: repr(value)[:60])
def test_what_cannot_be_registered(mapping, text, inside):
    error = TypeError if any(mapping is wrong for wrong, _ in WRONG) else ValueError
    register_kernel_mapping({"L": {"cuda": silu("a/before")}})
    with use_kernel_mapping({"L": {"cuda": silu("a/inside")}} if inside else {}):
        before = seen()
        with pytest.raises(error, match=text):
            register_kernel_mapping({"First": {"cpu": silu()}} | mapping if isinstance(mapping, dict) else mapping)
        assert seen() == before
    assert ids() == ["a/before"]


def test_any_kind_of_mapping():
    frozen = types.MappingProxyType
    one = silu("a/one")
    register_kernel_mapping(frozen({"L": frozen({"cuda": frozen({Mode.INFERENCE: one})})}))
    assert seen() == {"L": {"cuda": {Mode.INFERENCE: one}}}
