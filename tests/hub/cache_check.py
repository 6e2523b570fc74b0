"""Is a cache directory as huggingface_hub's layout wants it? `python3 cache_check.py DIR` prints what is wrong."""

import hashlib
import os
import pathlib
import re
import stat
import sys
import threading

BLOB = re.compile(r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
COMMIT = re.compile(r"\A[0-9a-f]{40}\Z")
OURS = re.compile(r"\.kn-[0-9a-f]{8}\.incomplete\Z")
FOLDER = re.compile(r"\A(?:kernels|models)--[A-Za-z0-9_.-]+--[A-Za-z0-9_.-]+\Z")


def blob_name(path, like):
    """The name that a blob's content has: git's SHA-1 for 40 digits, SHA-256 for 64."""
    size = os.path.getsize(path)
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def blobs(folder, temporaries, others):
    for entry in sorted(os.scandir(folder / "blobs"), key=lambda e: e.name) if (folder / "blobs").is_dir() else ():
        if OURS.search(entry.name):
            if not temporaries:
                yield f"{entry.path}: a temporary was left"
        elif entry.name.endswith(".incomplete"):
            if not others:
                yield f"{entry.path}: somebody else's temporary"
        elif not BLOB.match(entry.name) or not entry.is_file(follow_symlinks=False):
            yield f"{entry.path}: no blob"
        elif (name := blob_name(entry.path, entry.name)) != entry.name:
            yield f"{entry.path}: hashes to {name}"


def snapshots(folder, copies):
    root = folder / "snapshots"
    for commit in root.iterdir() if root.is_dir() else ():
        if not COMMIT.match(commit.name) or commit.is_symlink() or not commit.is_dir():
            yield f"{commit}: no snapshot"
            continue
        for where, dirs, names in os.walk(commit):
            for name in names + [d for d in dirs if os.path.islink(os.path.join(where, d))]:
                path = pathlib.Path(where, name)
                depth = len(path.relative_to(commit).parts) - 1
                if not path.is_symlink():
                    if not copies:
                        yield f"{path}: no link"
                elif not re.fullmatch(r"(?:\.\./){%d}blobs/(?:[0-9a-f]{40}|[0-9a-f]{64})" % (depth + 2), os.readlink(path)):
                    yield f"{path}: links to {os.readlink(path)!r}"
                elif not path.is_file():
                    yield f"{path}: its blob is missing"


def refs(folder):
    for path in (folder / "refs").rglob("*") if (folder / "refs").is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            continue
        text = path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else "no file"
        if not COMMIT.match(text):
            yield f"{path}: {text!r} is no commit"
        elif not (folder / "snapshots" / text).is_dir():
            yield f"{path}: there is no snapshot {text}"


def complaints(cache, temporaries=False, others=False, copies=False):
    """temporaries: of ours may be there, a run was killed. others: huggingface_hub worked here too (its temporaries, trees/).
    copies: files instead of links may be in snapshots."""
    cache, found = pathlib.Path(cache), []
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        if folder.name in ("CACHEDIR.TAG", ".locks"):
            continue
        if not FOLDER.match(folder.name):
            found.append(f"{folder}: a stranger")
            continue
        known = {"blobs", "snapshots", "refs", ".no_exist"} | ({"trees"} if others else set())
        found += [f"{e}: a stranger" for e in folder.iterdir() if e.name not in known]
        found += [*blobs(folder, temporaries, others), *snapshots(folder, copies), *refs(folder)]
    for path in (cache / ".locks").rglob("*"):
        if not stat.S_ISDIR(path.lstat().st_mode) and (not path.name.endswith(".lock") or path.stat().st_size):
            found.append(f"{path}: no lock")
    return found


class Watch(threading.Thread):
    """While it runs, looks at each blob as soon as it is visible under its name: it must be whole then."""

    def __init__(self, cache):
        super().__init__(daemon=True)
        self.cache, self.stopping, self.seen, self.wrong = pathlib.Path(cache), threading.Event(), {}, []

    def run(self):
        while not self.stopping.wait(0.002):
            self.look()

    def look(self):
        for path in self.cache.glob("*--*/blobs/*"):
            try:
                key = (path.stat().st_ino, path.stat().st_size)
                if BLOB.match(path.name) and self.seen.get(path) != key:
                    self.seen[path] = key
                    if blob_name(path, path.name) != path.name:
                        self.wrong.append(f"{path}: visible before it was whole")
            except FileNotFoundError:  # a temporary that was renamed
                pass
        for path in self.cache.glob("*--*/snapshots/*/build/*/*"):
            if path.is_symlink() and not path.exists() and path.is_symlink() and not path.exists():
                self.wrong.append(f"{path}: linked before its blob was there")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


if __name__ == "__main__":
    lines = complaints(sys.argv[1], others=True)
    print(*lines, sep="\n")
    sys.exit(bool(lines))
