"""Python packages of kernels: modules of checked bytes, executed once, and nothing left behind by a failure."""

import importlib
import importlib.resources
import inspect
import json
import os
import pickle
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import threading
import time

import pytest
from package_files import write_package

import kernels
from kernels.errors import LoadError, UntrustedError

FILES = {
    "__init__.py": "from . import layers\nfrom .sub.deep import where\nfrom .loose import inner\n",
    "layers.py": "class L:\n    pass\n",
    "late.py": "VALUE = 1\n",
    "sub/__init__.py": "",
    "sub/deep.py": "from ..layers import L\nfrom .. import layers as up\n\n\ndef where():\n    return __name__\n",
    "loose/inner.py": "X = 2\n",
    "data/words.txt": "words\n",
}


@pytest.fixture
def made(tmp_path, request):
    """made(files=FILES, id=…): the module of a package of a name of its own."""

    def make(files=FILES, *, name="package", **metadata):
        metadata.setdefault("id", f"_{request.node.name.partition('[')[0]}_{name}_{os.getpid()}")
        write_package(tmp_path / name, files, **metadata)
        return kernels.get_local_kernel(tmp_path / name)

    return make


def test_a_module_like_others(made, tmp_path):
    module = made()
    variant = tmp_path / "package" / "build" / "torch-universal"
    assert module.__file__ == str(variant / "__init__.py") and module.__path__ == [str(variant)]
    assert module.__spec__.name == module.__name__ and sys.modules[module.__name__] is module
    assert module.where() == f"{module.__name__}.sub.deep"
    assert module.loose.inner.X == 2 and not hasattr(module.loose, "L")
    assert pickle.loads(pickle.dumps(module.layers.L())).__class__ is module.layers.L
    assert kernels.get_local_kernel(variant) is module
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        importlib.import_module(f"{module.__name__}.nothing")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec(f"from {module.__name__} import nothing")


def test_files_of_the_package(made):
    module = made()
    assert (importlib.resources.files(module) / "data" / "words.txt").read_text() == "words\n"
    assert sorted(item.name for item in importlib.resources.files(module).iterdir()) == [
        "__init__.py", "data", "late.py", "layers.py", "loose", "metadata.json", "sub"
    ]  # fmt: skip
    with importlib.resources.as_file(importlib.resources.files(module) / "data" / "words.txt") as path:
        assert path.read_text() == "words\n"
    assert module.__loader__.get_data(f"{module.__path__[0]}/data/words.txt") == b"words\n"
    with pytest.raises(ValueError, match="'..'"):
        importlib.resources.files(module) / "../metadata.json"


def test_source_is_that_of_the_checked_bytes(made):
    module = made()
    before = inspect.getsource(module.where)
    assert before == "def where():\n    return __name__\n"
    with open(inspect.getfile(module.where), "w") as file:
        file.write("other = 1\n" * 20)
    assert inspect.getsource(module.where) == before


def test_old_layout_with_a_folder_of_the_packages_name(made):
    files = {f"made_up/{path}": text for path, text in FILES.items()}
    assert made(files).where().endswith(".sub.deep")


def test_changed_bytes_do_not_run(made):
    module = made()
    canary = f"{module.__path__[0]}/../../ran"
    with open(f"{module.__path__[0]}/late.py", "w") as file:
        file.write(f"open({canary!r}, 'w')\n")
    with pytest.raises(UntrustedError, match="late.py"):
        importlib.import_module(f"{module.__name__}.late")
    assert not os.path.exists(canary)


def test_a_file_that_was_added_is_no_module(made):
    module = made()
    with open(f"{module.__path__[0]}/stray.py", "w") as file:
        file.write("raise SystemExit\n")
    with pytest.raises(ModuleNotFoundError, match="stray"):
        importlib.import_module(f"{module.__name__}.stray")


def test_byte_code_is_neither_read_nor_written(tmp_path):
    variant = write_package(tmp_path / "planted", FILES, id=f"_planted_{os.getpid()}")
    canary = tmp_path / "ran"
    other = tmp_path / "other.py"
    other.write_text(f"open({str(canary)!r}, 'w')\nclass L:\n    pass\n")
    for mode in (py_compile.PycInvalidationMode.UNCHECKED_HASH, py_compile.PycInvalidationMode.TIMESTAMP):
        tag = sys.implementation.cache_tag
        py_compile.compile(str(other), str(variant / "__pycache__" / f"layers.{tag}.pyc"), invalidation_mode=mode)
        py_compile.compile(str(other), str(variant / "__pycache__" / f"__init__.{tag}.pyc"), invalidation_mode=mode)
    before = sorted(str(path) for path in variant.rglob("*"))
    module = kernels.get_local_kernel(tmp_path / "planted")
    assert module.where() and not canary.exists()
    assert sorted(str(path) for path in variant.rglob("*")) == before


def test_a_shared_object_that_was_changed_is_not_opened(tmp_path):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for name, changed in (("good", False), ("bad", True)):
        # Any extension of the interpreter's own will do.
        import _json

        library = open(_json.__file__, "rb").read() if getattr(_json, "__file__", None) else None
        if library is None:
            pytest.skip("this Python has no extension module as a file")
        variant = write_package(
            tmp_path / name, {"__init__.py": "", f"_json{suffix}": library}, id=f"_so_{name}_{os.getpid()}"
        )
        module = kernels.get_local_kernel(tmp_path / name)
        if changed:
            with open(variant / f"_json{suffix}", "ab") as file:
                file.write(b"\0")
            with pytest.raises(UntrustedError, match="_json"):
                importlib.import_module(f"{module.__name__}._json")
            assert str(variant) not in open("/proc/self/maps").read()
        else:
            assert importlib.import_module(f"{module.__name__}._json").make_scanner


EXTENSION = """
#include <Python.h>
int sibling(void);
static PyObject *answer(PyObject *self, PyObject *unused) { return PyLong_FromLong(sibling()); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_ext", NULL, -1, methods};
PyMODINIT_FUNC PyInit__ext(void) { return PyModule_Create(&definition); }
"""


def compiled(tmp_path, name, source, *options):
    compiler, include = shutil.which("cc"), sysconfig.get_path("include")
    if not compiler or not os.path.exists(f"{include}/Python.h"):
        pytest.skip("needs a C compiler and Python.h")
    (tmp_path / f"{name}.c").write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", f"-I{include}", f"{name}.c", "-o", name, *options], check=True, cwd=tmp_path)
    return (tmp_path / name).read_bytes()


def test_an_extension_finds_its_sibling_in_the_cache(hub, run_python, tmp_path):
    """By $ORIGIN, though each file of a cached package is a link to a blob."""
    files = {"__init__.py": b"from ._ext import answer\n"}
    files["libsibling.so"] = compiled(tmp_path, "libsibling.so", "int sibling(void) { return 42; }\n")
    options = ("-L.", "-l:libsibling.so", "-Wl,-rpath,$ORIGIN")
    files["_ext.abi3.so"] = compiled(tmp_path, "_ext.abi3.so", EXTENSION, *options)
    branch = hub.repo("kernels-community/siblings").branch("v1")
    branch.write("build/torch-universal/metadata.json", json.dumps({"name": "siblings", "id": "_siblings", "version": 1}))
    branch.add(files, "torch-universal")
    code = (
        "import kernels, os\n"
        "module = kernels.get_kernel('kernels-community/siblings', version=1)\n"
        "file = module._ext.__file__\n"
        "assert module.answer() == 42 and os.path.islink(file), file\n"
        "assert os.path.dirname(file) == module.__path__[0]\n"
    )
    run_python(code, env={"HF_ENDPOINT": hub.url, "KERNELS_TRUSTED_ENDPOINTS": hub.url})


def test_a_sibling_that_was_changed_is_not_opened(tmp_path):
    sibling = compiled(tmp_path, "libsibling.so", "int sibling(void) { return 42; }\n")
    extension = compiled(tmp_path, "_ext.abi3.so", EXTENSION, "-L.", "-l:libsibling.so", "-Wl,-rpath,$ORIGIN")
    files = {"__init__.py": "", "libsibling.so": sibling, "_ext.abi3.so": extension}
    variant = write_package(tmp_path / "package", files, id=f"_sibling_{os.getpid()}")
    module = kernels.get_local_kernel(tmp_path / "package")
    (variant / "libsibling.so").unlink()
    other = compiled(tmp_path, "libsibling.so", "int sibling(void) { return 7; }\n")
    (variant / "libsibling.so").write_bytes(other)
    with pytest.raises(UntrustedError, match="libsibling.so"):
        importlib.import_module(f"{module.__name__}._ext")
    assert str(variant) not in open("/proc/self/maps").read()
    (variant / "libsibling.so").write_bytes(sibling)
    assert importlib.import_module(f"{module.__name__}._ext").answer() == 42


@pytest.mark.parametrize(
    "name", ["colorsys", "json", "builtins", "torch", "kernels", "pytest", "a-b", "class", "a.b", "1x"]
)
def test_an_id_that_would_shadow_is_refused(tmp_path, name):
    before = sys.modules.get(name)
    write_package(tmp_path, {"__init__.py": ""}, id=name)
    with pytest.raises(LoadError, match=f"the id '{name}' is"):
        kernels.get_local_kernel(tmp_path)
    assert sys.modules.get(name) is before


def test_a_module_may_put_an_object_in_its_place(made):
    module = made({"__init__.py": "import sys\n\n\nclass P:\n    x = 1\n\n\nsys.modules[__name__] = P()\n"})
    assert module.x == 1 and type(module).__name__ == "P"


def test_what_fails_leaves_nothing(tmp_path):
    name = f"_fails_{os.getpid()}"
    code = "from . import layers\nfrom .sub import deep\nraise OSError('no')\n"
    variant = write_package(tmp_path, {"__init__.py": code, "layers.py": "", "sub/deep.py": ""}, id=name)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            kernels.get_local_kernel(tmp_path)
        assert not [module for module in sys.modules if module.startswith(name)]
    places = [str(place) for loaded in kernels.get_loaded_kernels() for place in getattr(loaded.module, "__path__", ())]
    assert str(variant) not in places


def test_threads_execute_once(tmp_path):
    count = tmp_path / "count"
    code = f"import time\nopen({str(count)!r}, 'a').write('x')\ntime.sleep(0.2)\nDONE = 1\n"
    write_package(tmp_path, {"__init__.py": code}, id=f"_threads_{os.getpid()}")
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(kernels.get_local_kernel(tmp_path).DONE)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 16 and count.read_text() == "x"


def test_kernels_that_import_each_other_do_not_wait_for_ever(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        place = str(tmp_path / other)
        code = f"import time, kernels\ntime.sleep(0.2)\nother = kernels.get_local_kernel({place!r})\nDONE = 1\n"
        write_package(tmp_path / one, {"__init__.py": code}, id=f"_circle_{one}_{os.getpid()}")
    done = []
    threads = [
        threading.Thread(target=lambda n=n: done.append(kernels.get_local_kernel(tmp_path / n)), daemon=True)
        for n in "ab"
    ]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2 and time.monotonic() - begin < 60
    one, other = (kernels.get_local_kernel(tmp_path / name) for name in "ab")
    assert one.other is other and other.other is one and one.DONE and other.DONE


def test_one_id_twice(made):
    first = made(name="first", id=f"_twice_{os.getpid()}")
    other = made(FILES | {"late.py": "VALUE = 2\n"}, name="other", id=first.__name__)
    same = made(name="same", id=first.__name__)
    assert same is first
    assert other is not first and sys.modules[first.__name__] is first and sys.modules[other.__name__] is other
    assert other.where() == f"{other.__name__}.sub.deep"
    assert [importlib.import_module(f"{module.__name__}.late").VALUE for module in (first, other)] == [1, 2]


def test_one_id_for_a_native_and_a_python_build(tmp_path, build):
    native = kernels.get_local_kernel(build / "packages" / "activation")
    write_package(tmp_path, {"__init__.py": "X = 1"}, id=native.__name__)
    module = kernels.get_local_kernel(tmp_path)
    assert module.X == 1 and module.__name__ != native.__name__ and sys.modules[native.__name__] is native
    shutil.copytree(build / "packages" / "activation", tmp_path / "copy")
    assert kernels.get_local_kernel(tmp_path / "copy") is native


def test_without_an_id_the_name_is_that_of_the_content(run_python, tmp_path):
    write_package(tmp_path, {"__init__.py": ""}, id=None)
    code = f"import kernels; print(kernels.get_local_kernel({str(tmp_path)!r}).__name__)"
    names = {run_python(code, env={"PYTHONHASHSEED": seed}).stdout for seed in "12"}
    assert len(names) == 1 and names.pop().startswith("made_up_")


def test_a_dirty_build_is_told(tmp_path):
    provenance = {
        "kernel": {"commit": "0" * 40, "dirty": True},
        "kernel-builder": {"version": "1", "commit": "1" * 40, "dirty": True},
    }
    write_package(tmp_path, {"__init__.py": ""}, id=f"_dirty_{os.getpid()}", provenance=provenance)
    with pytest.warns(UserWarning, match="dirty git tree.*kernel source and kernel-builder"):
        kernels.get_local_kernel(tmp_path)


def test_no_module_in_the_package(tmp_path):
    write_package(tmp_path, {"other.txt": ""}, id=f"_none_{os.getpid()}")
    with pytest.raises(FileNotFoundError, match="No kernel module found at"):
        kernels.get_local_kernel(tmp_path)


def test_other_imports_are_left_alone():
    from kernels.importer import _Finder

    assert _Finder.find_spec("json") is None and _Finder.find_spec("json.decoder", []) is None
