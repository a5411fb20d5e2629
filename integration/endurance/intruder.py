"""What somebody tries on what is another's: run as them, with nothing but Python.

``python intruder.py STORE VICTIM`` tries all it knows on what the user with the number
VICTIM has in STORE, and tells in a line of JSON each: what was tried, on what, and what
the system said; nothing, if it was possible.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Attempt = Callable[[Path], object]
_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def write(file: Path) -> None:
    with open(file, "r+b") as opened:
        opened.write(b"#")


def append(file: Path) -> None:
    with open(file, "ab") as opened:
        opened.write(b"\nimport evil\n")


def truncate(file: Path) -> None:
    os.truncate(file, 0)


def open_to_all(path: Path) -> None:
    os.chmod(path, 0o777)


def take(path: Path) -> None:
    os.chown(path, os.geteuid(), -1, follow_symlinks=False)


def set_back(path: Path) -> None:
    os.utime(path, (0, 0))


def label(path: Path) -> None:
    os.setxattr(path, "user.evil", b"1")


def remove(file: Path) -> None:
    os.unlink(file)


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def move_away(path: Path) -> None:
    os.rename(path, path.with_name(f"{path.name}-away"))


def put_over(path: Path) -> None:
    """Something of one's own in its place, by a rename."""
    with _own(path) as mine:
        os.rename(mine, path)


def swap(path: Path) -> None:
    """Something of one's own in its place, in one step."""
    with _own(path) as mine:
        names = os.fsencode(mine), os.fsencode(path)
        if _libc.renameat2(-100, names[0], -100, names[1], _EXCHANGE) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def link_in(folder: Path) -> None:
    """A name for one's own file among those of another."""
    with _own(folder) as mine:
        os.symlink(mine, folder / "evil.py")


def link_out(file: Path) -> None:
    """A second name for another's file, where one may do as one likes."""
    with _own(file) as mine:
        os.link(file, f"{mine}-link")
        with open(f"{mine}-link", "ab") as opened:
            opened.write(b"#")


def add(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import evil\n")


def look(folder: Path) -> None:
    os.listdir(folder)


class _own:  # noqa: N801  a context, used as a function
    """Something of one's own, of the same kind as ``path``."""

    def __init__(self, path: Path) -> None:
        self.folder = tempfile.mkdtemp(dir=os.environ["HOME"])
        self.path = Path(self.folder, "mine")
        if path.is_dir() and not path.is_symlink():
            self.path.mkdir()
            (self.path / "evil.py").touch()
        else:
            self.path.write_text("import evil\n")
        # on the same filesystem, where it is allowed: renames do not leave one
        for parent in (path.parent, path.parents[1] / "tmp"):
            try:
                named = parent / f"mine-{os.getpid()}-{os.urandom(4).hex()}"
                os.rename(self.path, named)
            except OSError:
                continue
            self.path = named
            break

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


ON_FILES: tuple[Attempt, ...] = (
    *(write, append, truncate, open_to_all, take, set_back, label),
    *(remove, move_away, put_over, swap, link_out),
)
ON_FOLDERS: tuple[Attempt, ...] = (
    *(add, link_in, open_to_all, take, set_back, label),
    *(remove_all, move_away, put_over, swap),
)
ON_STORE_FOLDERS: tuple[Attempt, ...] = (open_to_all, take, label, move_away, swap)
"""A member may add to them, and so set their times."""
ON_PRIVATE_FOLDERS: tuple[Attempt, ...] = (*ON_FOLDERS, look)


def attempts(store: Path, victim: int) -> Iterator[tuple[Attempt, Path]]:
    """All that is tried, and on what."""
    for path in (store, *sorted(store.iterdir())):
        if path.is_dir():
            yield from ((act, path) for act in ON_STORE_FOLDERS)
    for path in _of(victim, store):
        if not path.is_dir():
            yield from ((act, path) for act in ON_FILES)
    for folder in ("environments", "locks", "runtime", "unused"):
        for path in _of(victim, store / folder):
            acts = ON_FILES if folder != "locks" else (remove, move_away, put_over, swap)
            yield from ((act, path) for act in acts)
    yield from _inside(store, victim)


def _inside(store: Path, victim: int) -> Iterator[tuple[Attempt, Path]]:
    """What is tried on entries, and on what is to become one or was one."""
    for folder in ("tmp", "trash", "runs", "entries"):
        for path in _of(victim, store / folder):
            is_private = not path.stat().st_mode & stat.S_IROTH
            acts = ON_PRIVATE_FOLDERS if is_private else ON_FOLDERS
            yield from ((act, path) for act in acts)
    for entry in _of(victim, store / "entries"):
        for path in sorted(entry.rglob("*")):
            acts = ON_FOLDERS if path.is_dir() else ON_FILES
            yield from ((act, path) for act in acts)


def _of(victim: int, folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    return [each for each in found if each.lstat().st_uid == victim]


def main(store: Path, victim: int) -> None:
    for act, path in list(attempts(store, victim)):
        try:
            act(path)
            said = ""
        except FileNotFoundError as error:
            said = f"gone: {error}"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error))
        except shutil.Error as error:
            said = str(error)
        print(json.dumps({"what": act.__name__, "on": str(path), "said": said}))


if __name__ == "__main__":
    os.umask(0)
    main(Path(sys.argv[1]), int(sys.argv[2]))
