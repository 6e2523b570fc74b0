"""Kernelized models among threads, forked workers and interrupts, and in the long run."""

import gc
import importlib.util
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import pytest
import torch
from conftest import PACKAGE, TESTS
from hub_fixture import ROOT, environment
from native_layers import SiluAndMul
from test_call_memory import memory, run_threads
from torch import nn
from torch_models import INFERENCE, TRAINING, Custom, Weighted, Weights

from kernels import (
    LocalLayerRepository,
    kernelize,
    replace_kernel_forward_from_hub,
    report,
    unkernelize,
    use_kernel_mapping,
)


class Act(SiluAndMul):
    pass


replace_kernel_forward_from_hub(Act, "ProcessesAct")


def mapped(build, kind):
    """A native layer, or one of Python."""
    native = LocalLayerRepository(build / "packages" / "activation", layer_name="SiluAndMul")
    entries = {"native": {"ProcessesAct": {"cpu": native}}, "hosted": {"Weighted": {"cpu": Custom(Weights)}}}
    return use_kernel_mapping(entries[kind], inherit_mapping=False)


def model(kind, n=4):
    return nn.Sequential(*(Act() if kind == "native" else Weighted(1.0) for _ in range(n)))


KINDS = ("native", "hosted")


@pytest.mark.parametrize("kind", KINDS)
def test_kernelizing_and_undoing_runs_in_constant_memory(build, kind):
    m, x = model(kind), torch.ones(1, 16)
    with mapped(build, kind), torch.no_grad():

        def rounds(n):
            for turn in range(n):
                kernelize(m, mode=TRAINING if turn % 2 else INFERENCE, device="cpu")
                m[0](x)
                unkernelize(m)

        rounds(5000)
        gc.collect()
        own = [sys.getrefcount(thing) for thing in (m[0], type(m[0]), type(m[0]).forward, x)]
        objects, grown = len(gc.get_objects()), []
        for _ in range(3):  # a leak grows each time, the allocator now and then
            before = memory(1)
            rounds(10_000)
            gc.collect()
            grown.append(memory(1) - before)
            if grown[-1] < 1 << 20:  # 100 bytes a round
                break
        assert min(grown) < 1 << 20
        assert len(gc.get_objects()) - objects < 20
        assert [sys.getrefcount(thing) for thing in (m[0], type(m[0]), type(m[0]).forward, x)] == own
    assert not any("forward" in vars(module) for module in m)


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_are_gone_leave_nothing(build, kind):
    with mapped(build, kind):
        for n in (20, 500):
            for _ in range(n):
                kernelize(model(kind), mode=INFERENCE, device="cpu")
            gc.collect()
            if n == 20:
                before, objects = memory(1), len(gc.get_objects())
        assert memory(1) - before < 1 << 20 and len(gc.get_objects()) - objects < 20


@pytest.mark.parametrize("kind", KINDS)
def test_threads_kernelize_run_and_undo_one_model_at_once(build, kind):
    """Every call is a kernel's or the own forward's: neither half of one, nor an exception."""
    m, x = model(kind, 8), torch.rand(3, 16)
    end, wanted = time.monotonic() + 3, []
    with torch.no_grad():
        wanted.append(m[0](x))
        with mapped(build, kind):
            wanted.append(kernelize(model(kind, 1), mode=INFERENCE, device="cpu")[0](x))
    turns = iter([lambda: unkernelize(m)] * 2 + [None] * 3)

    def work():
        change = next(turns, lambda: kernelize(m, mode=random.choice((INFERENCE, TRAINING)), device="cpu"))
        with mapped(build, kind), torch.no_grad():  # a scope is its thread's
            while time.monotonic() < end:
                if change:
                    change()
                for layer in m if not change else ():
                    y = layer(x)
                    assert any(torch.allclose(y, one, rtol=1e-5, atol=1e-5) for one in wanted)

    run_threads(work, 7)
    with mapped(build, kind), torch.no_grad():
        unkernelize(m)
        torch.testing.assert_close(m[0](x), wanted[0])
        kernelize(m, mode=INFERENCE, device="cpu", use_fallback=False)
        torch.testing.assert_close(m[-1](x), wanted[1])


WORKERS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import torch
from torch.utils.data import DataLoader, Dataset
import pathlib
from test_processes import INFERENCE, kernelize, mapped, model
build, kind = pathlib.Path(sys.argv[2]), sys.argv[3]
m = model(kind, 1)
x = torch.rand(256, 2048)
with mapped(build, kind):
    kernelize(m, mode=INFERENCE, device="cpu", use_fallback=False)
with torch.no_grad():
    wanted = m(x)  # its threads are warm

class Rows(Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, at):
        with torch.no_grad():
            if at % 4 == 0:  # kernelized in the worker
                other = model(kind, 1)
                with mapped(build, kind):
                    return kernelize(other, mode=INFERENCE, device="cpu", use_fallback=False)(x)[at]
            return m(x)[at]

stop = threading.Event()
def busy():  # a fork may come in the middle of a call
    other = model(kind, 1)
    while not stop.is_set():
        with mapped(build, kind), torch.no_grad():
            kernelize(other, mode=INFERENCE, device="cpu")
            other(x[:2])

threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(2):
    for at, row in enumerate(DataLoader(Rows(), batch_size=None, num_workers=2, multiprocessing_context="fork")):
        torch.testing.assert_close(row, wanted[at])
stop.set()
for thread in threads:
    thread.join()
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_forked_workers_of_a_loader_run_kernels(build, run_python, kind):
    run_python(WORKERS, TESTS, build, kind, timeout=120)


# --- interrupts ---

SLOW = "kernels-test/slow"
CALLS = {
    "get_kernel": f"import kernels; kernels.get_kernel({SLOW!r}, revision='main', trust_remote_code=True)",
    "kernelize": f"""
import kernels, torch
class L(torch.nn.Module):
    kernel_layer_name = "SiluAndMul"
    def forward(self, x):
        return x
slow = kernels.LayerRepository({SLOW!r}, layer_name="SiluAndMul", revision="main", trust_remote_code=True)
with kernels.use_kernel_mapping({{"SiluAndMul": {{"cpu": slow}}}}):
    m = kernels.kernelize(L(), mode=kernels.Mode.INFERENCE, device="cpu", use_fallback=kernels.KernelizeFallback.ALL)
kernels.report(m).raise_if_fallback()
""",
}


@pytest.fixture
def slow_hub(hub):
    """The hub behind a slow line: what is downloaded takes some ten seconds."""
    source = random.Random(1)
    files = {f"data/{i}.bin": source.randbytes(1 << 20) for i in range(4)}
    hub.repo(SLOW).branch("main").package(hub.build).add(files)
    proxy = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "hub" / "proxy.py", str(urllib.parse.urlsplit(hub.url).port),
         "--bytes-per-second", "400000"], stdout=subprocess.PIPE, text=True)  # fmt: skip
    yield proxy.stdout.readline().strip()
    proxy.terminate()
    proxy.communicate()


def complaints(cache):
    spec = importlib.util.spec_from_file_location("cache_check", ROOT / "tests" / "hub" / "cache_check.py")
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    return check.complaints(cache)


@pytest.mark.parametrize("call", CALLS)
def test_an_interrupt_ends_a_download(hub, slow_hub, run_python, tmp_path, call):
    home = tmp_path / "home"
    home.mkdir()
    cache = home / "hf" / "hub"
    env = environment(home, slow_hub) | {"PYTHONPATH": str(PACKAGE)}
    child = subprocess.Popen([sys.executable, "-c", CALLS[call]], env=env, stderr=subprocess.PIPE, text=True, cwd=home)
    try:
        end = time.monotonic() + 60
        while not any(part.stat().st_size for part in cache.glob("*/blobs/*.incomplete")):
            assert child.poll() is None and time.monotonic() < end, "nothing is downloaded"
            time.sleep(0.01)
        asked = time.monotonic()
        child.send_signal(signal.SIGINT)
        stderr = child.communicate(timeout=60)[1]
    finally:
        child.kill()
    assert time.monotonic() - asked < 5
    assert child.returncode == -signal.SIGINT and stderr.rstrip().endswith("KeyboardInterrupt"), stderr
    assert complaints(cache) == [] and not list(cache.glob("*/blobs/*.incomplete"))
    run_python(CALLS[call], home=home)
    assert complaints(cache) == []
    run_python(CALLS[call], home=home, env={"HF_HUB_OFFLINE": "1"})


SILENT = {
    "get_kernel": "kernels.get_kernel('a/b', version='>=1')",
    "revision": "kernels.get_kernel('a/b', revision='main', trust_remote_code=True)",
    "has_kernel": "kernels.has_kernel('a/b', revision='main', trust_remote_code=True)",
    "variants": "kernels.get_kernel_variants('a/b', revision='main')",
    "kernelize": """
class L(torch.nn.Module):
    def forward(self, x):
        return x
class One(L):
    kernel_layer_name = "One"
class Two(L):
    kernel_layer_name = "Two"
of = lambda name: {"cpu": kernels.LayerRepository(f"a/{name}", layer_name=name, version=1, trust_remote_code=True)}
with kernels.use_kernel_mapping({"One": of("One"), "Two": of("Two")}):
    kernels.kernelize(torch.nn.Sequential(One(), Two()), mode=kernels.Mode.INFERENCE, device="cpu",
                      use_fallback=kernels.KernelizeFallback.ALL)
""",
}


@pytest.mark.parametrize("call", SILENT)
def test_an_interrupt_ends_the_wait_for_a_server_that_says_nothing(tmp_path, call):
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = environment(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}") | {"PYTHONPATH": str(PACKAGE)}
        code = "import kernels, torch\n" + SILENT[call] + "\nprint('went on')"
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        try:
            server.settimeout(60)
            held = server.accept()
            time.sleep(0.5)
            asked = time.monotonic()
            child.send_signal(signal.SIGINT)
            stdout, stderr = child.communicate(timeout=60)
        finally:
            child.kill()
        held[0].close()
    assert time.monotonic() - asked < 1.5
    assert child.returncode == -signal.SIGINT and stderr.rstrip().endswith("KeyboardInterrupt") and not stdout, stderr


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_what_a_log_handler_raises_to_end_it_comes_after_the_call(build, raised):
    class Handler(logging.Handler):
        def emit(self, record):
            raise raised(record.levelname)

    m, logger, handler = nn.Sequential(nn.Linear(2, 2), Act()), logging.getLogger("kernels"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with mapped(build, "native"), pytest.raises(raised):
            kernelize(m, mode=INFERENCE, device="cpu")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert report(m).replaced
