"""Fixtures of the Python tests. KERNELS_TEST_BUILD is the build tree, by default build/release of this checkout; KERNELS_TEST_PACKAGE the
directory that has the package, by default the build tree's. Where PyTorch is not installed, tests that import it are skipped."""

import importlib.util
import os
import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.setdefault("KERNELS_TEST_BUILD", str(TESTS.parent.parent / "build" / "release")))
PACKAGE = pathlib.Path(os.environ.setdefault("KERNELS_TEST_PACKAGE", str(BUILD / "python")))
PROGRAM = BUILD / "bin" / "kernels"
for place in (str(TESTS), str(PACKAGE)):
    if place not in sys.path:
        sys.path.insert(0, place)

import pytest  # noqa: E402
from hub_fixture import FIRST_PARTY, Hub, environment  # noqa: E402


class _NoTorch:
    """A finder of modules for an environment without PyTorch: a test that imports it is skipped; our own code sees what users see."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            if pathlib.Path(frame.f_code.co_filename).parent == TESTS:
                pytest.skip("PyTorch is not installed", allow_module_level=True)


def pytest_configure(config):
    if importlib.util.find_spec("torch") is None:
        sys.meta_path.append(_NoTorch)
    config.addinivalue_line("markers", "extension: exercises the C code of the extension; all that sanitizer builds run")
    config.addinivalue_line("markers", "long: takes more than a minute")


def _missing():
    wanted = [PROGRAM, *(BUILD / "packages" / name / "CARD.md" for name in FIRST_PARTY)]
    return [str(path) for path in wanted if not path.exists()]


@pytest.fixture(scope="session", autouse=True)
def _process(tmp_path_factory):
    """This process has a home of its own, and the hub below as its only one, before kernels reads the environment."""
    home = tmp_path_factory.mktemp("home")
    hub = None if _missing() else Hub(PROGRAM, BUILD, tmp_path_factory.mktemp("hub"))
    before, own = dict(os.environ), environment(home, hub and hub.url)
    os.environ.clear()
    os.environ.update(own)
    yield hub
    os.environ.clear()
    os.environ.update(before)
    if hub:
        hub.close()


@pytest.fixture(scope="session")
def build():
    """The build tree."""
    return BUILD


@pytest.fixture(scope="session")
def hub(_process):
    """The hub, a hub_fixture.Hub: kernels-community/{activation,normalization,rotary} (native) and kernels-test/py-silu (in Python),
    each with the branches main and v1 and the tags v0.0.3, v0.0.4 and v0.1.0. kernels-community is a trusted publisher."""
    assert _process, f"not built: {', '.join(_missing())}: build kernels_cli, package_activation, package_normalization, package_rotary"
    return _process


@pytest.fixture
def run_python(_process, tmp_path):
    """run_python(code, *arguments, env={}, home=None, status=0, before=()): a Python process of its own, finished, with a cold cache
    that all calls of one test share; home: another one. env: None as a value unsets. status: the exit status that is expected, None: any.
    before: a program that runs it, as in ("strace", "-f", …)."""

    def run(code, *arguments, env=None, home=None, status=0, before=(), timeout=300):
        home = pathlib.Path(home or tmp_path / "home")
        home.mkdir(exist_ok=True)
        wanted = environment(home, _process and _process.url) | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "2"} | (env or {})
        done = subprocess.run(
            [*before, sys.executable, "-c", code, *map(str, arguments)], cwd=home, capture_output=True, text=True, check=False,
            timeout=timeout, stdin=subprocess.DEVNULL, env={k: str(v) for k, v in wanted.items() if v is not None})  # fmt: skip
        assert status is None or done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
