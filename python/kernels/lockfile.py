"""The setuptools hook that takes a project's kernels.lock into its metadata, where `load_kernel` finds it."""

from __future__ import annotations

import logging
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _has_dependencies(pyproject: Path) -> bool:
    """Does the project have a table [tool.kernels.dependencies]?"""
    try:
        import tomllib
    except ImportError:  # Python 3.10; setuptools reads pyproject.toml itself, with this
        try:
            from setuptools.compat.py310 import tomllib
        except ImportError:
            from setuptools.extern import tomli as tomllib
    table = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    return "dependencies" in table.get("tool", {}).get("kernels", {})


def write_egg_lockfile(cmd: Any, basename: str, filename: str) -> None:
    """Entry point `egg_info.writers`: copies kernels.lock beside the metadata of a project that depends on kernels."""
    pyproject, lock = Path("pyproject.toml"), Path("kernels.lock")
    if not pyproject.is_file() or not _has_dependencies(pyproject):
        return
    if not lock.is_file():
        logging.getLogger("kernels").warning(
            "%s has kernels as dependencies, but there is no %s: run `kernels lock`", pyproject, lock
        )
        if Path(filename).exists():
            cmd.delete_file(filename)
        return
    cmd.write_file(basename, filename, lock.read_text(encoding="utf-8"))
