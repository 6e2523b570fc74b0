"""The version of the distribution, for scikit-build-core: the level that is served, and ours as a local label."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent


def _value(file: str, pattern: str) -> str:
    found = re.search(pattern, (TOP / file).read_text(encoding="utf-8"))
    if not found:
        raise RuntimeError(f"{file}: expected {pattern}")
    return found[1]


def dynamic_metadata(settings: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, str]:
    """`0.18.2+libkernels.0.1.0`, from the CMake files and the environment variable KERNELS_LEVEL."""
    level = os.environ.get("KERNELS_LEVEL") or _value("python/CMakeLists.txt", r"\(KN_PYTHON_LEVEL (\S+) CACHE")
    if not re.fullmatch(r"\d+\.\d+\.\d+", level):
        raise RuntimeError(f"KERNELS_LEVEL '{level}': expected a version such as 0.18.2")
    return {"version": f"{level}+libkernels.{_value('CMakeLists.txt', r'project.libkernels VERSION ([0-9.]+)')}"}
