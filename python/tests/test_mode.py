"""kernels.Mode."""

import copy
import pickle

import pytest

import kernels.layer.mode
from kernels import Mode

F, T, I, C, NONE = Mode.FALLBACK, Mode.TRAINING, Mode.INFERENCE, Mode.TORCH_COMPILE, Mode._NONE

UNIONS = [
    (I, C, 12, None),
    (C, I, 12, None),
    (T, C, 10, None),
    (F, F, 1, None),
    (I, I, 4, None),
    (I | C, C, 12, None),
    (NONE, I, 4, None),
    (NONE, NONE, 0, None),
    (I, T, None, "mutually exclusive"),
    (T, I, None, "mutually exclusive"),
    (I | C, T, None, "mutually exclusive"),
    (T | C, I | C, None, "mutually exclusive"),
    (F, I, None, "cannot be combined with other modes"),
    (T, F, None, "cannot be combined with other modes"),
    (C, F, None, "cannot be combined with other modes"),
    (I | C, F, None, "cannot be combined with other modes"),
]


@pytest.mark.parametrize(("a", "b", "value", "text"), UNIONS, ids=str)
def test_union(a, b, value, text):
    if text is None:
        assert (a | b).value == value
        assert a | b is Mode(value)
    else:
        with pytest.raises(ValueError, match=text):
            a | b


def test_only_the_union_is_restricted():
    assert Mode(6) == I ^ T
    assert (I | C) & C == C
    assert ~I & C == C
    assert I in (I | C) and T not in (I | C)
    assert not NONE and I


@pytest.mark.parametrize("other", [4, "INFERENCE", None])
def test_a_union_is_with_a_mode(other):
    with pytest.raises(TypeError):
        I | other
    with pytest.raises(TypeError):
        other | I


def test_a_mode_is_one_object():
    for mode in (F, I | C, NONE):
        assert pickle.loads(pickle.dumps(mode)) is mode
        assert copy.deepcopy(mode) is mode
    assert kernels.layer.mode.Mode is Mode is kernels.layer.Mode
    assert len({I | C, C | I, I}) == 2


def test_text():
    assert {"INFERENCE", "TORCH_COMPILE"} == set(str(C | I).removeprefix("Mode.").split("|"))
    assert str(F) == "Mode.FALLBACK"
