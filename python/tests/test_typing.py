"""What a type checker says of programs that use kernels."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import PACKAGE

HERE = pathlib.Path(__file__).resolve().parent / "typing"


# PyTorch takes a type checker a minute.
@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    pytest.importorskip("mypy", reason="mypy is not installed")
    def run(*files):
        environment = os.environ | {"MYPYPATH": str(PACKAGE)}
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path_factory.mktemp("mypy"), "--no-error-summary"]
        said = subprocess.run([*command, *files], capture_output=True, text=True, env=environment, check=False).stdout
        # As installed: of the package itself a checker says nothing then.
        return "".join(line for line in said.splitlines(True) if re.search(r"/typing/\w+\.py:\d+: error", line))

    return run


@pytest.mark.long
def test_the_documents_programs(mypy):
    assert mypy(HERE / "document.py") == ""


@pytest.mark.long
def test_what_is_refused(mypy):
    found = {}
    for number, kind in re.findall(r"refused\.py:(\d+): error: .*\[([\w-]+)\]", mypy(HERE / "refused.py")):
        found.setdefault(int(number), set()).add(kind)
    expected = {number: set(match[1].split(",")) for number, line in enumerate((HERE / "refused.py").read_text().splitlines(), 1)
                if (match := re.search(r"# E: ([\w,-]+)", line))}  # fmt: skip
    assert set(found) == set(expected), found
    assert all(found[number] & expected[number] for number in expected), found


def test_the_stub_has_the_public_names():
    import kernels

    tree = ast.parse((PACKAGE / "kernels" / "__init__.pyi").read_text())
    names = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names | {"__version__"} == set(kernels.__all__)
