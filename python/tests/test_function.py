"""Functions and kernels of the extension, with NumPy's tensors: what sanitizers see of them."""

import gc

import pytest

from kernels import _kernels

numpy = pytest.importorskip("numpy")
pytestmark = pytest.mark.extension


@pytest.fixture(scope="module")
def kernel(build):
    return _kernels.get_kernel(path=str(build / "packages" / "activation"))


def _silu_and_mul(x):
    left, right = numpy.split(x, 2, axis=-1)
    return left / (1 + numpy.exp(-left)) * right


@pytest.mark.parametrize("shape", [(4, 16), (1, 2), (0, 8), (2, 3, 4)])
def test_called_with_capsules(kernel, shape):
    x = numpy.random.default_rng(0).standard_normal(shape).astype(numpy.float32)
    y = numpy.full((*shape[:-1], shape[-1] // 2), numpy.nan, numpy.float32)
    assert kernel.function("silu_and_mul")(y, x) is None
    numpy.testing.assert_allclose(y, _silu_and_mul(x), rtol=1e-5, atol=1e-6)


class Producer:
    """Something with __dlpack__ alone; old ones do not know max_version."""

    def __init__(self, array, old=False, error=None):
        self.array, self.old, self.error = array, old, error

    def __dlpack__(self, **options):
        if self.error is not None:
            raise self.error
        if self.old and options:
            raise TypeError("no keywords")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_any_producer(kernel):
    function = kernel.function("silu_and_mul")
    x, y = numpy.ones((2, 4), numpy.float32), numpy.zeros((2, 2), numpy.float32)
    for old in (False, True):
        y[:] = 0
        function(Producer(y, old), Producer(x, old))
        numpy.testing.assert_allclose(y, _silu_and_mul(x), rtol=1e-5)
    with pytest.raises(RuntimeError, match="not today"):
        function(y, Producer(x, error=RuntimeError("not today")))


def test_an_argument_may_move_the_memory_of_another(kernel):
    torch = pytest.importorskip("torch")
    x, y = numpy.ones((2, 4), numpy.float32), torch.zeros(2, 2)
    before = y.detach()  # the old memory stays, so that who writes there is seen

    class Moving(Producer):
        def __dlpack__(self, **options):
            y.set_(torch.zeros(2, 2))
            return super().__dlpack__(**options)

    kernel.function("silu_and_mul")(y, Moving(x))
    numpy.testing.assert_allclose(y.numpy(), _silu_and_mul(x), rtol=1e-5)
    assert not before.any()


@pytest.mark.parametrize("bad", ["text", b"bytes", object(), [1], 1 << 70])
def test_what_is_no_argument(kernel, bad):
    with pytest.raises((TypeError, OverflowError)):
        kernel.function("silu_and_mul")(numpy.zeros((1, 1), numpy.float32), bad)


def test_many_arguments_and_none(kernel):
    with pytest.raises(TypeError, match="takes 2 arguments, got 0"):
        kernel.function("silu_and_mul")()
    with pytest.raises(TypeError, match="takes 2 arguments, got 100"):
        kernel.function("silu_and_mul")(*[None, 1, 1.5, True] * 25)


def test_what_a_kernel_says(kernel):
    assert {"activation.so", "metadata.json"} <= set(kernel.files)
    assert kernel.read("metadata.json").startswith(b"{") and kernel.check_file("activation.so").endswith(
        "/activation.so"
    )
    with pytest.raises(FileNotFoundError, match="nothing"):
        kernel.read("nothing")
    layer = kernel.layer("SiluAndMul")
    assert layer.inputs() == [("x", "tensor", False, None)] and layer.members() == [] and layer.tolerance("f32") > 0
    with pytest.raises(ValueError, match="f33"):
        layer.tolerance("f33")
    for name in ("Kernel", "Layer", "Function"):
        with pytest.raises(TypeError):
            getattr(_kernels, name)()


def test_one_object_for_a_kernel_and_nothing_grows(kernel, build):
    path = str(build / "packages" / "activation")
    x, y = numpy.ones((2, 4), numpy.float32), numpy.zeros((2, 2), numpy.float32)

    def once():
        assert _kernels.get_kernel(path=path) is kernel
        kernel.function("silu_and_mul")(y, x)
        kernel.layer("SiluAndMul").json()
        _kernels.choose_variants(path=path), _kernels.fetch_kernel(path=path), _kernels.find_kernel(path=path)
        with pytest.raises(FileNotFoundError):
            _kernels.find_kernel(path=path + "/nothing")

    once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        once()
    gc.collect()
    assert len(gc.get_objects()) <= before + 50


@pytest.mark.parametrize(
    "options", [{}, {"path": "/x", "repo_id": "a/b"}, {"nonsense": 1}, {"path": 1}, {"path": "relative"}]
)
@pytest.mark.parametrize(
    "ask", [_kernels.get_kernel, _kernels.fetch_kernel, _kernels.choose_variants, _kernels.is_downloaded]
)
def test_options_that_are_refused(ask, options):
    with pytest.raises((TypeError, ValueError, OSError)):
        ask(**options)
