"""kernels._kernels.Mapping: what the core keeps of what is registered."""

import gc
import threading
import weakref

import pytest

from kernels import _kernels
from kernels.errors import FormatError, InvalidError, IoError, NotFoundError

pytestmark = pytest.mark.extension

FALLBACK, TRAINING, INFERENCE, COMPILE = 1, 2, 4, 8


class Repository:
    """What an entry carries."""


def source(**values):
    whole = dict.fromkeys(("repo_id", "path", "revision", "version", "layer_name", "lock", "sums", "label", "user_agent"))
    return whole | {"trust_remote_code": False} | values


def entry(layer="L", device="cpu", capability=None, mode=FALLBACK, object_=None, **values):
    return (layer, device, capability, mode, source(**(values or {"repo_id": "a/b"})), object_)


SOURCES = [
    {"repo_id": "a/b"},
    {"repo_id": "a/b", "revision": "main"},
    {"repo_id": "a/b", "version": ">=0.0.4,<0.1.0"},
    {"repo_id": "a/b", "version": "1"},
    {"repo_id": "a/b", "trust_remote_code": True},
    {"repo_id": "a/b", "layer_name": "Other"},
    {"repo_id": "a/b", "lock": "/somewhere/kernels.lock"},
    {"repo_id": "a/b", "sums": "/somewhere/mapping.lock.sums"},
    {"repo_id": "a/b", "user_agent": "mine/1"},
    {"path": "/somewhere/package"},
]


@pytest.mark.parametrize("values", SOURCES, ids=str)
def test_a_row_is_what_was_registered(values):
    (row,) = _kernels.EMPTY.register([entry(**values)]).rows()
    assert row == ("L", "cpu", None, FALLBACK, source(**{"layer_name": "L"} | values), None)
    again = _kernels.EMPTY.register([row])
    assert again.rows() == [row]


@pytest.mark.parametrize("capability", [None, (75, 89), (0, 2**63 - 1), (90, 90)])
def test_capability(capability):
    (row,) = _kernels.EMPTY.register([entry(device="cuda", capability=capability)]).rows()
    assert row[2] == (None if capability == (0, 2**63 - 1) else capability)  # every one, however it is said


def test_a_value_never_changes():
    one = _kernels.EMPTY.register([entry("A")])
    two = one.register([entry("B", repo_id="c/d"), entry("C")])
    over = _kernels.EMPTY.register([entry("A", repo_id="e/f")])
    joined = two.join(over)
    assert [len(m) for m in (_kernels.EMPTY, one, two, over, joined)] == [0, 1, 3, 1, 3]
    assert [row[0] for row in joined.rows()] == ["B", "C", "A"]  # what replaces counts as later
    assert joined.rows()[-1][4]["repo_id"] == "e/f"
    assert one.rows()[0][4]["repo_id"] == "a/b"


def test_one_call_makes_a_table_of_modes():
    one = _kernels.EMPTY.register([entry(mode=INFERENCE), entry(mode=TRAINING | COMPILE)])
    assert [row[3] for row in one.rows()] == [INFERENCE, TRAINING | COMPILE]
    assert [row[3] for row in one.register([entry()]).rows()] == [FALLBACK]


REFUSED = [
    (entry(layer=""), InvalidError, "layer"),
    (entry(layer=None), InvalidError, "layer"),
    (entry(device="cuda:0"), InvalidError, "Unknown device type: cuda:0"),
    (entry(device=None), InvalidError, "device"),
    (entry(capability=(9, 8), device="cuda"), InvalidError, "capability"),
    (entry(capability=(1, 2), device="mps"), InvalidError, "capability"),
    (entry(mode=TRAINING | INFERENCE), InvalidError, "mutually exclusive"),
    (entry(mode=FALLBACK | COMPILE), InvalidError, "cannot be combined with other modes"),
    (entry(mode=64), InvalidError, "mode"),
    (entry(mode=2**40), ValueError, "Unsupported mode"),
    (entry(mode=-1), OverflowError, None),
    (entry(mode="INFERENCE"), TypeError, None),
    (entry(repo_id="a/b", path="/p"), InvalidError, "repo_id, path"),
    (entry(path="relative"), InvalidError, "path"),
    (entry(repo_id="a/b", revision="r", version="1"), InvalidError, "revision"),
    (entry(repo_id=7), TypeError, "repo_id: expected str: found 7"),
    (entry(repo_id="a/\0b"), ValueError, "repo_id: expected text without NUL"),
    (entry(repo_id="a/\ud800"), UnicodeEncodeError, None),
    (entry(repo_id="a/b", unknown=1), TypeError, "unknown"),
    (entry(capability=(1, 2, 3)), TypeError, "capability"),
    (entry(capability=[1, 2]), TypeError, "capability: expected"),
    (entry(capability=(0, 2**70)), OverflowError, None),
    (entry()[:5], TypeError, "entry"),
    (list(entry()), TypeError, "a tuple"),
    (("L", "cpu", None, FALLBACK, None, None), (TypeError, AttributeError), None),
]


@pytest.mark.parametrize("bad, kind, says", REFUSED, ids=lambda value: str(value)[:60])
def test_refused_as_a_whole(bad, kind, says):
    kept = Repository()
    alive = weakref.ref(kept)
    base = _kernels.EMPTY.register([entry("Base")])
    with pytest.raises(kind, match=says):
        base.register([entry("Good", object_=kept), bad])
    assert len(base) == 1
    del kept
    gc.collect()
    assert alive() is None


def test_an_object_lives_as_long_as_a_mapping_that_holds_it():
    repository = Repository()
    alive = weakref.ref(repository)
    one = _kernels.EMPTY.register([entry("A", object_=repository), entry("B", object_=repository)])
    two = one.register([entry("C")])
    over = _kernels.EMPTY.register([entry("A")])
    joined = over.join(one)
    for mapping in (one, two, joined):
        assert [row[5] for row in mapping.rows() if row[0] in "AB"] == [repository] * 2
    del repository, one, mapping
    gc.collect()
    assert alive() is not None
    del joined
    gc.collect()
    assert alive() is not None and two.rows()[0][5] is alive()
    two = two.register([entry("A"), entry("B")])
    gc.collect()
    assert alive() is None
    assert len(two) == 3


def test_a_repository_of_the_hosts_own():
    repository = Repository()
    mapping = _kernels.EMPTY.register([entry(label="mine", object_=repository)])
    (row,) = mapping.rows()
    assert row[4]["label"] == "mine" and row[4]["repo_id"] is None and row[5] is repository
    assert _kernels.EMPTY.register([row]).rows() == [row]
    with pytest.raises(Exception, match="mine"):
        mapping.text()
    with pytest.raises(InvalidError, match="repo_id, path"):
        _kernels.EMPTY.register([entry(label="mine")])


def test_objects_through_many_values_and_threads():
    class Counted:
        living = 0

        def __init__(self):
            Counted.living += 1

        def __del__(self):
            Counted.living -= 1

    shared = _kernels.EMPTY.register([entry(f"S{i}", object_=Counted()) for i in range(100)])

    def work(number):
        mapping = shared
        for i in range(200):
            mapping = mapping.register([entry(f"T{number}", object_=Counted()), entry(f"S{i % 100}", object_=Counted())])
            assert len(mapping) == 101 and len(mapping.rows()) == 101

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counted.living == 100
    del shared
    assert Counted.living == 0


def test_as_a_file(tmp_path):
    mapping = _kernels.EMPTY.register([entry("A", "cuda", (80, 90), INFERENCE, version=">=1", repo_id="a/b"), entry("B")])
    file = tmp_path / "mapping.toml"
    mapping.write(str(file))
    assert file.read_text() == mapping.text()
    assert _kernels.Mapping.read(str(file)).rows() == mapping.rows()
    assert _kernels.Mapping.parse(mapping.text(), "here", None).rows() == mapping.rows()
    text = '[[kernel]]\nlayer = "A"\ndevice = "cpu"\npath = "p"\n'
    assert _kernels.Mapping.parse(text, "here", str(tmp_path)).rows()[0][4]["path"] == str(tmp_path / "p")
    with pytest.raises(FormatError, match="^here:4"):
        _kernels.Mapping.parse(text, "here", None)
    with pytest.raises(NotFoundError, match="none.toml"):
        _kernels.Mapping.read(str(tmp_path / "none.toml"))
    with pytest.raises((NotFoundError, IoError), match="none"):
        mapping.write(str(tmp_path / "none" / "mapping.toml"))


def test_no_mapping_is_made_or_changed_by_hand():
    with pytest.raises(TypeError):
        _kernels.Mapping()
    with pytest.raises(TypeError, match="expected a Mapping: found 7"):
        _kernels.EMPTY.join(7)
    with pytest.raises((TypeError, AttributeError)):
        _kernels.EMPTY.more = 1


UNIONS = [
    (INFERENCE, COMPILE, INFERENCE | COMPILE),
    (TRAINING, 0, TRAINING),
    (FALLBACK, FALLBACK, FALLBACK),
    (0, 0, 0),
    (INFERENCE, TRAINING, "mutually exclusive"),
    (INFERENCE | COMPILE, TRAINING, "mutually exclusive"),
    (FALLBACK, COMPILE, "cannot be combined with other modes"),
    (64, 0, "accepted"),
]


@pytest.mark.parametrize("a, b, union", UNIONS)
def test_mode_union(a, b, union):
    for one, other in ((a, b), (b, a)):
        if isinstance(union, int):
            assert _kernels.mode_union(one, other) == union
        else:
            with pytest.raises(ValueError, match=union):
                _kernels.mode_union(one, other)


REQUESTS = [
    (INFERENCE, None),
    (TRAINING, None),
    (INFERENCE | COMPILE, None),
    (TRAINING | COMPILE, None),
    (FALLBACK, "can only be used to register kernel mappings"),
    (0, "mode must contain"),
    (COMPILE, "mode must contain"),
    (TRAINING | INFERENCE, "Unsupported mode:"),
    (INFERENCE | 64, "Unsupported mode:"),
]


@pytest.mark.parametrize("mode, says", REQUESTS)
def test_mode_check(mode, says):
    if says is None:
        assert _kernels.mode_check(mode) is None
    else:
        with pytest.raises(ValueError, match=says):
            _kernels.mode_check(mode)
