"""The command line is a program in C: this runs it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def program() -> str:
    """The program's path: KERNELS_CLI, else the one beside this package, else what PATH has.

    Raises FileNotFoundError when there is none.
    """
    import shutil

    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    places = (os.environ.get("KERNELS_CLI"), os.path.join(here, "bin", "kernels"), os.path.join(here, "..", "..", "bin", "kernels"))
    for place in places:
        if place and os.access(place, os.X_OK):
            return os.path.normpath(place)
    found = shutil.which("kernels")
    if not found or os.path.realpath(found) == os.path.realpath(sys.argv[0]):
        raise FileNotFoundError(f"the program `kernels` is missing: looked for {', '.join(p for p in places if p)}, and in PATH")
    return found


def main() -> NoReturn:
    """Console script `kernels`: becomes the program."""
    path = program()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(path, ["kernels", *sys.argv[1:]])
