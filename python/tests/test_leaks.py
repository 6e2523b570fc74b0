"""What the extension returns is freed with the last who holds it: calls without end run in constant memory."""

import gc
import pathlib
import resource

import pytest
from torch import nn

import kernels
from kernels import LocalLayerRepository, Mode, _kernels, use_kernel_forward_from_hub, use_kernel_mapping

SOURCE = {"repo_id": "a/b", "version": ">=1", "layer_name": "L", "trust_remote_code": True}


@use_kernel_forward_from_hub("SiluAndMul")
class Layer(nn.Module):
    def forward(self, x):
        return x


def entry(**changes):
    values = {"device": "cuda", "capability": (75, 90), "mode": 4, "source": SOURCE, "object": object()} | changes
    return ("L", *values.values())


def refused():
    for bad in (entry(capability=(7, 1)), entry(capability=(7, "a")), entry(source=SOURCE | {"x": 1}), entry(mode=6), 7):
        with pytest.raises((ValueError, TypeError)):
            _kernels.EMPTY.register([entry(device="cpu", capability=None), bad])
    with pytest.raises(OSError):
        _kernels.Mapping.read("/nowhere")


@pytest.fixture(scope="module")
def calls(build, tmp_path_factory):
    file = str(tmp_path_factory.mktemp("plan") / "plan.json")
    model = nn.Sequential(*(Layer() for _ in range(5)))
    repository = LocalLayerRepository(build / "packages" / "activation", layer_name="SiluAndMul")
    with use_kernel_mapping({"SiluAndMul": {"cpu": repository}}, inherit_mapping=False):
        plan = kernels.plan(model, mode=Mode.INFERENCE, device="cpu")._plan
        mapping = _kernels.EMPTY.register([entry(), entry(device="cpu", capability=None)])
        yield {
            "register": lambda: mapping.register([entry()]),
            "rows": mapping.rows,
            "join": lambda: mapping.join(_kernels.EMPTY),
            "text": mapping.text,
            "parse": lambda: _kernels.Mapping.parse(mapping.text(), "x", None),
            "refused": refused,
            "records": plan.records,
            "trace": lambda: [plan.trace(i) for i in range(len(plan))],
            "plan's texts": lambda: (plan.text(), plan.json(), plan.digest()),
            "plan's mapping": plan.mapping,
            "plan in a file": lambda: (plan.write(file), _kernels.Plan.read(file).records()),
            "plan": lambda: kernels.plan(model, mode=Mode.INFERENCE, device="cpu"),
        }


NAMES = ["register", "rows", "join", "text", "parse", "refused", "records", "trace", "plan's texts", "plan's mapping",
         "plan in a file", "plan"]  # fmt: skip


def resident_kib():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


@pytest.mark.parametrize("name", NAMES)
def test_constant(calls, name):
    """What leaks grows in every round; what else grows the process does not."""
    grown = []
    for _ in range(5):
        before = resident_kib()
        for _ in range(1000):
            calls[name]()
        gc.collect()
        grown.append(resident_kib() - before)
        if len(grown) > 1 and grown[-1] < 30:  # 30 bytes a call: less than the least object
            return
    pytest.fail(f"1000 calls and 1000 more: {grown} KiB")
