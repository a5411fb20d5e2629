"""Rollback: an environment is made again what a journal says that it was.

Each path is looked at, and what was there is found again by its inode, at its place or in
the stage. So it can be done at any point, and twice. What somebody else has put at a path
since, or into a folder, stays.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from commonwheel import files
from commonwheel.journal import ASIDE, METADATA, Journal, identity, inode

_Kept = dict[int, list[tuple[int, Path]]]


def is_of_now(journal: Journal) -> bool:
    """Whether nobody else has changed since what this is about.

    Of each distribution that is touched the metadata is what was there before, or
    what the change puts there; and neither of them is gone.

    :raises OSError: the stage cannot be read
    """
    if journal.stage_inode not in (0, inode(str(journal.stage))):
        return False  # a copy, whose inodes say nothing
    aside = {each for _, each in _staged(journal)}
    touched = [path for path in journal.was if path.endswith(METADATA)]
    for path in dict.fromkeys((*journal.owners, *touched)):
        was = journal.was[path] if path in journal.was else journal.owners[path]
        put = int(journal.put.get(path, "0").partition(":")[0])
        now = inode(path)
        is_put = identity(path, Path(path)) == journal.put.get(path)
        if now not in (0, was) and not is_put:
            return False
        if not {was, put} <= {0, now} | aside:
            return False
    return True


def has_kept(journal: Journal) -> bool:
    """Whether something lies in the stage that was at a place before.

    :raises OSError: the stage cannot be read
    """
    if journal.stage_inode not in (0, inode(str(journal.stage))):
        return True
    before = {was for was in journal.was.values() if was}
    return any(path.endswith(ASIDE) or each in before for path, each in _staged(journal))


def _staged(journal: Journal) -> Iterator[tuple[str, int]]:
    """What lies in the stage, with its inode.

    A folder may list another one: that of an overlay of several filesystems does.
    """
    for name in os.listdir(journal.stage):
        path = os.path.join(journal.stage, name)
        yield path, inode(path)


def take_back(journal: Journal) -> None:
    """Make everything as it was. Ctrl-C waits.

    :raises OSError: something could not be put back, the first of which this is; what
        could be was, and it can be tried again
    """
    kept: _Kept = {}
    acts: list[Callable[[], object]] = [partial(_find_kept, journal, kept)]
    folders = dict.fromkeys(map(os.path.dirname, journal.was))
    acts += [partial(_remove_copies, journal, folder) for folder in folders]
    acts += [partial(_make_again, *each) for each in sorted(journal.emptied.items())]
    acts += [partial(_restore, journal, path, kept) for path in reversed(journal.was)]
    acts += [partial(_remove_if_empty, folder) for folder in reversed(journal.made)]
    errors = [error for error in map(_persist, acts) if error is not None]
    if errors:
        raise errors[0]


def _find_kept(journal: Journal, kept: _Kept) -> None:
    """What lies in the stage, by the numbers of the paths it is of."""
    for path, now in _staged(journal):
        number, dot, _ = os.path.basename(path).partition(".")
        if dot and number.isdecimal():
            kept.setdefault(int(number), []).append((now, Path(path)))


def _restore(journal: Journal, path: str, kept: _Kept) -> None:
    was, now = journal.was[path], inode(path)
    mine = kept.get(journal.numbers[path], [])
    is_aside = any(each.name.endswith(ASIDE) for _, each in mine)
    if now == was and not (now and is_aside):
        return  # it was not touched
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    # A folder that had to be copied aside may have been removed in part only.
    if now and not (now == was and is_folder) and not _has_put(journal, path):
        return
    if is_folder and not journal.is_ours(path):
        # what is in it may be of somebody else by now
        _remove_made(journal, path)
        if inode(path):
            return
        now = 0
    if not was:
        _take_away(journal, path)
        if not journal.is_ours(path):
            _remove_bytecode(journal, path)
        return
    source = _original(was, mine)
    if source is None:
        return  # it was never put aside; somebody else has taken it away
    if now and files.exchange(source, Path(path)):
        return
    _take_away(journal, path)
    journal.move_out(source, Path(path))


def _remove_copies(journal: Journal, folder: str) -> None:
    for copy in Path(folder).glob(f"{journal.copying}*"):
        files.remove_tree(copy)


def _take_away(journal: Journal, path: str) -> None:
    """In one step, into the stage: else it would seem to be gone by somebody else."""
    if os.path.lexists(path):
        files.move(Path(path), journal.stage / f"gone-{os.urandom(8).hex()}")


def _remove_made(journal: Journal, folder: str) -> None:
    """Remove a folder that was put as a whole, as far as nothing is left in it."""
    begin = os.path.join(folder, "")
    for made in reversed(journal.made):
        if made == folder or made.startswith(begin):
            _remove_if_empty(made)


def _remove_bytecode(journal: Journal, source: str) -> None:
    """Remove what whoever imported a new file meanwhile has compiled of it."""
    folder, name = os.path.split(source)
    if name.endswith(".py"):
        cache = os.path.join(folder, "__pycache__")
        for compiled in Path(cache).glob(f"{glob.escape(name[:-3])}.*.pyc"):
            compiled.unlink(missing_ok=True)
        if cache not in journal.emptied:
            _remove_if_empty(cache)


def _has_put(journal: Journal, path: str) -> bool:
    """Whether what is at a path is there by this change."""
    if path.startswith(tuple(journal.own)):
        return True
    right, found = journal.put.get(path, ""), identity(path, Path(path))
    if right and os.lstat(path).st_dev != os.lstat(journal.stage).st_dev:
        # it had to be copied, and was given another inode there
        right, found = (each.partition(":")[2] for each in (right, found))
    return found == right


def _original(was: int, kept: Iterable[tuple[int, Path]]) -> Path | None:
    """What was at a path, of what lies in the stage under its number.

    It has another inode if it had to be copied there, or came from a lower layer of an
    overlay; then its name tells: nothing else was put aside first.
    """
    found = sorted(kept, key=lambda each: int(each[1].name.split(".")[1]))
    same = [each for now, each in found if now == was]
    aside = [each for _, each in found if each.name.endswith(ASIDE)]
    return next(iter((*same, *aside, *(each for _, each in found))), None)


def _persist(act: Callable[[], object]) -> OSError | None:
    """Do something that can be done twice; why it did not work. Ctrl-C is for later."""
    while True:
        try:
            act()
        except KeyboardInterrupt:
            continue
        except OSError as error:
            return error
        return None


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass


def _make_again(folder: str, mode: int) -> None:
    if not os.path.lexists(folder):
        os.mkdir(folder)
        os.chmod(folder, mode)
