"""The wheel: built from a copy of what the repository has, installed where nothing else is, used as a user would."""

import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

pytestmark = pytest.mark.long

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
LEVEL = re.search(r"KN_PYTHON_LEVEL (\S+) CACHE", (TOP / "python" / "CMakeLists.txt").read_text())[1]
CORE = re.search(r"project\(libkernels VERSION (\S+)", (TOP / "CMakeLists.txt").read_text())[1]


def run(*command, status=0, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert status is None or done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the files that the repository has, or would have."""
    top = tmp_path_factory.mktemp("source")
    names = run("git", "-C", TOP, "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout.split("\0")
    for name in filter(None, names):
        if (TOP / name).is_file():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, top / name)
    return top


def build_wheel(source, directory, **environment):
    """Without an environment of its own, which would come from the network: this one has what the build needs."""
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", directory, source,
        env=os.environ | environment)  # fmt: skip
    (wheel,) = pathlib.Path(directory).glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    pytest.importorskip("scikit_build_core", reason="tools/setup installs scikit-build-core")
    return build_wheel(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel and apache-tvm-ffi: its bin directory."""
    top = tmp_path_factory.mktemp("venv")
    venv.create(top, with_pip=False)
    (site,) = top.glob("lib/python3*/site-packages")
    own = pathlib.Path(__import__("sysconfig").get_path("purelib"))
    for name in ("tvm_ffi", *(path.name for path in own.glob("apache_tvm_ffi-*"))):
        shutil.copytree(own / name, site / name, symlinks=True)
    run(sys.executable, "-m", "pip", "--python", top / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    return top / "bin"


def test_name_and_tags(wheel):
    assert re.fullmatch(rf"kernels-{re.escape(LEVEL)}\+libkernels\.{re.escape(CORE)}-cp310-abi3-linux_\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as files:
        (info,) = {name.split("/")[0] for name in files.namelist() if ".dist-info/" in name}
        tags = email.message_from_bytes(files.read(f"{info}/WHEEL"))
        metadata = email.message_from_bytes(files.read(f"{info}/METADATA"))
    assert tags.get_all("Tag")[0].startswith("cp310-abi3-") and tags["Root-Is-Purelib"] == "false"
    assert (metadata["Name"], metadata["Version"]) == ("kernels", f"{LEVEL}+libkernels.{CORE}")
    assert metadata["Requires-Python"] == ">=3.10" and metadata["License-Expression"] == "Apache-2.0"
    (depends,) = metadata.get_all("Requires-Dist")
    assert depends.startswith("apache-tvm-ffi") and ">=0.1.15" in depends


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        held = {name: files.read(name) for name in names}
    python = {str(p.relative_to(TOP / "python")) for p in (TOP / "python" / "kernels").rglob("*") if p.suffix in (".py", ".pyi", ".typed")}
    inside = {name for name in names if not re.search(r"\.(dist-info|data)/", name)}
    assert inside == python | {"kernels/_kernels.abi3.so", "kernels/py.typed"}
    programs = {name.split(".data/")[1] for name in names if ".data/" in name}
    assert programs <= {"scripts/kernels", "scripts/kernels-serve"} and "scripts/kernels" in programs
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    for name, content in held.items():
        for place in (str(TOP), "pytest-of", "/tmp/", os.environ["HOME"]):
            if place == "/tmp/" and name.endswith((".py", ".pyi", "METADATA")):
                continue
            assert place.encode() not in content, f"{name} has {place}"


def test_objects_are_stripped_and_need_the_system_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as files:
        files.extractall(tmp_path)
    for path in [*tmp_path.rglob("*.so"), *(p for p in tmp_path.rglob("scripts/*"))]:
        sections = run("readelf", "-SW", path).stdout
        assert ".symtab" not in sections and ".debug_info" not in sections, path
        dynamic = run("readelf", "-dW", path).stdout
        assert "RPATH" not in dynamic and "RUNPATH" not in dynamic, path
        needed = set(re.findall(r"NEEDED.*\[(\S+?)\.so", dynamic))
        assert not {name for name in needed if re.match(r"lib(python|torch|tvm|curl|kernels)", name)}, needed


def test_used(installed, tmp_path):
    python = installed / "python"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    code = ("import kernels, importlib.metadata as m, kernels._kernels as k\n"
            "print(kernels.__version__, m.version('kernels'), k.version, kernels.__file__)")  # fmt: skip
    version = f"{LEVEL}+libkernels.{CORE}"
    done = run(python, "-c", code, env=environment, cwd=tmp_path)
    assert done.stdout.split()[:3] == [version, version, CORE] and str(TOP) not in done.stdout
    assert "explain" in run(installed / "kernels", "--help", env=environment, cwd=tmp_path).stdout
    doctor = run(installed / "kernels", "doctor", env=environment, cwd=tmp_path)
    (line,) = [line for line in doctor.stdout.splitlines() if "libtvm_ffi.so" in line]
    assert str(installed.parent) in line, doctor.stdout


def test_in_a_directory(wheel, tmp_path):
    """As by pip install --target: the program's libtvm_ffi is that of the directory."""
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "d", wheel)
    own = pathlib.Path(__import__("sysconfig").get_path("purelib"))
    shutil.copytree(own / "tvm_ffi", tmp_path / "d" / "tvm_ffi", symlinks=True)
    doctor = run(tmp_path / "d" / "bin" / "kernels", "doctor", env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, cwd=tmp_path)
    (line,) = [line for line in doctor.stdout.splitlines() if "libtvm_ffi.so" in line]
    assert str(tmp_path / "d" / "tvm_ffi") in line.replace("bin/../", ""), doctor.stdout


def test_a_kernel_runs_from_the_wheel(installed, tmp_path, build):
    """The first-party package, called by the installed program, whose libtvm_ffi is that of the environment."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = run(installed / "kernels", "check", build / "packages" / "activation", env=environment, cwd=tmp_path)
    assert done.stdout.startswith("runs"), done.stdout


def test_another_level(source, tmp_path):
    pytest.importorskip("scikit_build_core", reason="tools/setup installs scikit-build-core")
    for level, name in (("0.16.2", f"kernels-0.16.2+libkernels.{CORE}"), ("sixteen", None)):
        code = ("import scikit_build_core.build as b, sys; print(b.prepare_metadata_for_build_wheel(sys.argv[1]))")
        done = run(sys.executable, "-c", code, tmp_path, cwd=source, env=os.environ | {"KERNELS_LEVEL": level}, status=None)
        if name:
            assert done.returncode == 0 and name in done.stdout, done
        else:
            assert done.returncode != 0 and "expected a version such as" in done.stderr, done
