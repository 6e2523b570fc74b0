"""The command line is a program in C: this runs it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def program() -> str:
    """The program's path: where this Python has its scripts, else beside the build tree of this package, else in PATH.

    Raises FileNotFoundError when there is none.
    """
    import shutil
    import sysconfig

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (sysconfig.get_path("scripts"), os.path.join(here, os.pardir, os.pardir, "bin")):
        place = os.path.normpath(os.path.join(folder, "kernels"))
        if os.access(place, os.X_OK):
            return place
    found = shutil.which("kernels")
    if not found:
        raise FileNotFoundError(
            "the program `kernels` is missing: it is neither among this Python's scripts nor in PATH"
        )
    return found


def main() -> NoReturn:
    """Console script `kernels`: becomes the program."""
    path = program()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(path, ["kernels", *sys.argv[1:]])
