"""The programs of the documentation, and the examples of docstrings.

In README.md, docs/*.md and examples/**/*.md blocks whose first line names a file (`# kernelize.py`) are files in a directory of their
document; a ```python one of them that is in no folder is run there, in order, and the ```text block after it is what it prints
(tests/docs/examples.py says how). Every ```python block has to compile.
"""

import ast
import doctest
import importlib.util
import inspect
import pathlib
import subprocess

import pytest

import kernels

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/**/*.md"))]


def _examples():
    spec = importlib.util.spec_from_file_location("docs_examples", ROOT / "tests" / "docs" / "examples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples = _examples()


def _blocks(document):
    return examples.read_blocks(document.read_text(encoding="utf-8"))


def _has_python(document):
    return any(block.language == "python" for block in _blocks(document))


@pytest.mark.parametrize("document", list(filter(_has_python, DOCUMENTS)), ids=lambda d: str(d.relative_to(ROOT)))
def test_document(document, hub, build, run_python, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "packages").symlink_to(build / "packages")  # of the first party, as built
    blocks = _blocks(document)
    for block in blocks:
        if block.file:
            path = home / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    for block in blocks:
        where = f"{document.name}:{block.line}"
        if block.language == "python":
            ast.parse(block.text, where)
        if not block.is_python:
            continue
        code = f"import runpy, sys; sys.path.insert(0, ''); runpy.run_path({block.file!r}, run_name='__main__')"
        printed = run_python(code, env={"KERNELS_TEST_HUB": hub.url}, home=home).stdout
        if block.expected is not None:
            assert examples.matches(block.expected, printed), f"{where}: prints\n{printed}\nThe document says\n{block.expected}"


# What the examples of docstrings find: a model, and what it takes to kernelize it.
PREPARE = """
import torch
from torch import nn
import kernels
from kernels import *

class SiluAndMul(nn.Module):
    def forward(self, input):
        d = input.shape[-1] // 2
        return nn.functional.silu(input[..., :d]) * input[..., d:]

replace_kernel_forward_from_hub(SiluAndMul, "SiluAndMul")
model = nn.Sequential(nn.Linear(8, 16), SiluAndMul())
inputs = torch.randn(4, 8)
repository = LayerRepository("kernels-community/activation", layer_name="SiluAndMul", version=1)
register_kernel_mapping({"SiluAndMul": {"cpu": repository}})
kernelize(model, mode=Mode.INFERENCE)
"""

# A project whose lock they name.
PROJECT = """
[tool.kernels.dependencies]
"kernels-community/activation" = 1
"""


def _documented():
    """What has examples: public names, and their public methods."""
    yield "kernels", kernels
    yield "kernels.errors", kernels.errors
    for name in kernels.__all__:
        found = getattr(kernels, name)
        yield name, found
        if inspect.isclass(found):
            for method, value in vars(found).items():
                if not method.startswith("_") and (callable(value) or isinstance(value, (property, staticmethod))):
                    yield f"{name}.{method}", getattr(value, "fget", None) or getattr(found, method)


@pytest.mark.parametrize("name, found", [(n, f) for n, f in _documented() if ">>>" in (inspect.getdoc(f) or "")])
def test_docstring(name, found, hub, build, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packages").symlink_to(build / "packages")
    if "kernels.lock" in inspect.getdoc(found):
        (tmp_path / "pyproject.toml").write_text(PROJECT)
        for verb in ("lock", "download"):
            subprocess.run([hub.program, verb, "."], check=True, capture_output=True)
    # What examples register is gone with the scope.
    with kernels.use_kernel_mapping({}, inherit_mapping=False):
        space = {}
        exec(PREPARE, space)
        test = doctest.DocTestParser().get_doctest(inspect.getdoc(found), space, name, None, None)
        printed = []
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        doctest.DocTestRunner(optionflags=flags).run(test, out=printed.append)
    assert not printed, "".join(printed)


def test_documented():
    undocumented = [name for name, found in _documented() if not inspect.getdoc(found) and name != "__version__"]
    assert not undocumented
