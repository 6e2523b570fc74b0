"""Packages that a test writes."""

import base64
import hashlib
import json
import pathlib


def write_package(directory, files, *, variant="torch-universal", digests=True, **metadata):
    """A package directory with one variant, whose directory it gives.

    files: path -> str or bytes. metadata: changes; None takes a field out.
    """
    root = pathlib.Path(directory) / "build" / variant
    said = {
        "name": "made-up",
        "id": "_made_up",
        "version": 1,
        "license": "Apache-2.0",
        "python-depends": [],
        "backend": {"type": "cpu"},
    }
    content = {path: data if isinstance(data, bytes) else data.encode() for path, data in files.items()}
    for path, data in content.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    if digests:
        sums = {path: base64.b64encode(hashlib.sha256(data).digest()).decode() for path, data in content.items()}
        said["digest"] = {"algorithm": "sha256", "files": sums}
    said = {key: value for key, value in (said | metadata).items() if value is not None}
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.json").write_text(json.dumps(said))
    return root
