"""The folder of a store: the only module that knows its layout.

::

    STORE/
      format                       the version of this layout, "1"
      entries/NAME-VERSION-HASH8/  one unpacked wheel, complete as soon as it is there
                                   (see :mod:`commonwheel.entry_folder`)
      environments/                who uses it, see :mod:`commonwheel.registry`
      runs/KEY/                    an environment made for programs to run in, as a lock
                                   says; its file "used" was touched when it was used last
      unused/ENTRY                 no environment held it when somebody looked; since when
      trash/                       entries that were taken out, being removed
      tmp/                         entries being made
      locks/                       at most 256 lock files, by the hash's first digits, and
                                   as many for runs/; and those of
                                   :mod:`commonwheel.occupancy`
      runtime/HASH.TAG.pyc         bytecode of the file that environments are given
      wheels                       "DEVICE:INODE:SIZE:MTIME:CTIME SHA256" of wheels seen;
                                   in a team's store everybody has their own of these
                                   four files, such as wheels.1000, and believes no other
      origins                      "SHA256 ENTRY": what else than its sha256 says which
                                   wheel an entry is of, such as a commit, hashed
      urls                         "SHA256 URL": where a wheel came from
      sizes                        "ENTRY BYTES/INODES" of what each entry takes
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from commonwheel import custody, entry_folder, files, memory, registry
from commonwheel.custody import Custody
from commonwheel.disposal import Disposal
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.errors import InvalidStore, StoreBusy, explain
from commonwheel.exclusion import Exclusion, Patience, Wait
from commonwheel.memory import Memory
from commonwheel.occupancy import Occupancy
from commonwheel.registry import Registry
from commonwheel.shelf import Shelf

LAYOUT = "1"
_FOLDERS = (
    *("entries", "environments", "runs", "unused", "trash", "tmp", "locks", "runtime"),
)


class StoreFolder:
    """One store: its folders, who may change them, and how an entry gets into them."""

    def __init__(
        self, root: Path, patience: Patience, found: Custody | None = None
    ) -> None:
        """Open the store at ``root``; it is made when the first entry is added.

        ``patience`` is for others who make the same, or are alone in it. ``found`` is
        what is known of it already, by :func:`custody_of`.

        :raises InvalidStore: there is something else, or a store of another layout, or
            one that somebody can write to who should not
        """
        self.root = root
        self.patience = patience
        if "\n" in str(root):
            raise InvalidStore(root, "there is a line break in its path")
        self.custody = found or custody_of(root)
        folders = {name: root / name for name in _FOLDERS}
        self.registry = Registry(folders["environments"], self.custody)
        self.disposal = Disposal(folders["entries"], folders["unused"], folders["trash"])
        self._shelf = Shelf(folders["entries"], self.custody.is_shared)
        self._occupancy = Occupancy(root, folders["locks"], patience)
        notes = {name: root / self.own_name(name) for name in memory.NAMES}
        self._memory = Memory(notes, self._prepare, self.custody.believes)
        try:
            layout = (root / "format").read_text("ascii").strip()
        except FileNotFoundError:
            self._refuse_another_folder()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidStore(root, f"not readable ({error})") from error
        else:
            if layout != LAYOUT:
                reason = f"its layout is {layout}, this commonwheel knows {LAYOUT}"
                raise InvalidStore(root, f"{reason}; upgrade commonwheel")

    def _refuse_another_folder(self) -> None:
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidStore(self.root, explain(error)) from error
        # Another process may be making the store; `format` is the last thing it makes.
        if any(
            n not in _FOLDERS and not n.startswith((".format.", "format")) for n in names
        ):
            raise InvalidStore(self.root, "it holds something else")

    @property
    def is_there(self) -> bool:
        """Whether the store has been made."""
        return (self.root / "format").exists()

    @property
    def can_be_written(self) -> bool:
        """Whether entries can be added to the store, which need not be there yet."""
        return can_be_written(self.root, self.custody)

    @property
    def takes_entries(self) -> bool:
        """Whether the ``root`` is a store already, and one that can be written."""
        return (self.root / "format").is_file() and self.can_be_written

    @property
    def has_locks(self) -> bool:
        """Whether the store can be locked without making something in it."""
        return self.can_be_written or all(each.exists() for each in self._occupancy.files)

    @property
    def runs(self) -> Path:
        """The folder of the environments that programs are run in."""
        return self.root / "runs"

    def own_name(self, name: str) -> str:
        """What a file is called that this user believes, and in a team nobody else's."""
        return f"{name}.{os.geteuid()}" if self.custody.is_shared else name

    def folder_of(self, identifier: str) -> Path:
        """Where the entry named ``identifier`` is, or would be."""
        return self._shelf.folder_of(identifier)

    def get(self, identifier: str) -> Entry | None:
        """The entry named ``identifier``, or None if there is none.

        :raises InvalidStore: it is there but cannot be read
        """
        return self._shelf.get(identifier)

    def identifiers(self) -> list[str]:
        """The names of the entries that there are now, without those of other stores.

        :raises InvalidStore: the store cannot be read
        """
        return self._shelf.identifiers()

    def sizes(
        self, identifiers: Iterable[str], *, noting: bool = True
    ) -> dict[str, tuple[int, int]]:
        """How many bytes the files of entries have, and how many inodes each takes.

        What was not noted is counted, and noted if the store may be changed (``noting``).
        """
        return self._memory.sizes(map(self.folder_of, identifiers), noting=noting)

    @contextmanager
    def alone(self, patience: float) -> Iterator[None]:
        """While this lasts, nobody else uses this store; waits ``patience`` seconds.

        :raises StoreBusy: somebody used it all the time
        :raises InvalidStore: it cannot be locked, or written
        """
        with self._writing():
            self._prepare()
            with self._occupancy.alone(patience):
                yield

    @contextmanager
    def making_run(self, key: str) -> Iterator[Path]:
        """The folder of the run environment ``key``, while nobody else makes it.

        :raises StoreBusy: somebody else makes it, and takes too long
        :raises InvalidStore: the store cannot be written
        """
        with self._writing():
            self._prepare()
            # not one of an entry, which adding an entry meanwhile would wait for
            lock = self._exclusion(key, "run-")
            lock.acquire()
        try:
            yield self.runs / key
        finally:
            lock.release()

    def bury_leftovers(self, before: float) -> None:
        """Take out what processes that were killed have left, if made until ``before``.

        In ``tmp/`` that is what nobody has the lock of, elsewhere what was to take the
        place of a file (:func:`commonwheel.files.write_atomically`); what else is there
        under a hidden name is somebody's. To be called while :meth:`alone`.

        :raises OSError: it cannot be taken out
        """
        for folder in (self.root, *(self.root / n for n in ("environments", "runtime"))):
            for path in folder.glob(".*"):
                if _is_unfinished(path.name) and os.lstat(path).st_mtime <= before:
                    with suppress(PermissionError, IsADirectoryError):
                        path.unlink()  # another's, or nothing of ours
        for path in sorted((self.root / "tmp").iterdir()):
            if os.lstat(path).st_mtime <= before:
                lock = self._exclusion(path.name)
                if lock.try_to_acquire():  # else somebody is at it
                    try:
                        self.disposal.bury(path)
                    except PermissionError:
                        continue  # another's, who takes it out, as the superuser does
                    finally:
                        lock.release()

    def close(self) -> None:
        """Make this store one that is only read: a layer, for chains on other machines.

        What only a store needs that grows is taken out, and nothing can be written.

        :raises InvalidStore: that cannot be done
        """
        kept = ("entries", "runtime")
        with self._writing():
            for name in ("wheels", "sizes"):
                (self.root / name).unlink(missing_ok=True)
            StoreFolder(self.root, self.patience).sizes(
                self.identifiers()
            )  # noted once each, and in order
            for name in _FOLDERS:
                if name not in kept and (self.root / name).is_dir():
                    files.remove_tree(self.root / name)
            for identifier in self.identifiers():
                entry_folder.close(self.folder_of(identifier))
            for path in self.root.iterdir():
                mode = files.READ_ONLY_FOLDER if path.is_dir() else files.READ_ONLY_FILE
                path.chmod(mode)
            self.root.chmod(files.READ_ONLY_FOLDER)

    def tidy_notes(self) -> None:
        """Drop notes of what is not there any more, while :meth:`alone`."""
        self._memory.keep(set(self.identifiers()))

    def _replace(self, made: Path, identifier: str) -> Entry:
        return self._published(self._shelf.replace(made, identifier, self.disposal))

    def _publish(self, made: Path, identifier: str) -> Entry:
        """Make an entry that is complete visible."""
        return self._published(self._shelf.publish(made, identifier))

    def _published(self, root: Path) -> Entry:
        self._memory.note_size(root)
        found = read_entry(root)
        assert found is not None, root
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidStore(self.root, explain(error, self.root)) from error

    def _prepare(self) -> None:
        """Make the store's folders, private to the user, or for a team.

        To be called before anything is written. Permission bits are set one by one,
        whatever the umask and access control lists of the folders above say.

        :raises OSError: they cannot be made, or this user should not
        """
        self._make_root()
        if self.custody.refusal is not None:
            raise PermissionError(errno.EPERM, self.custody.refusal)
        for name in _FOLDERS:
            _make_folder(self.root / name, self.custody.folder_mode)
        custody.mend(self.root, self.custody)
        self.custody = replace(self.custody, unfit=())
        if not self.is_there:
            for path in self._occupancy.files if self.custody.is_shared else ():
                _make_file(path, custody.TEAM_FILE)
            files.write_atomically(self.root / "format", f"{LAYOUT}\n".encode(), 0o644)

    def _make_root(self) -> None:
        if self.root.exists() or self.custody.refusal is not None:
            return
        for each in reversed([each for each in self.root.parents if not each.exists()]):
            each.mkdir(mode=0o755, exist_ok=True)  # whatever the umask allows
        _make_folder(self.root, 0o700)
        # somebody else may have made it a moment ago
        self.custody = custody_of(self.root)

    @contextmanager
    def _lock(self, digest: str) -> Iterator[None]:
        """While this lasts, nobody else makes or changes the entry of a wheel.

        :raises StoreBusy: somebody else does, and takes too long
        """
        with self._exclusion(digest).held():
            yield

    def _exclusion(self, digest: str, of: str = "") -> Exclusion:
        path = self.root / "locks" / f"{of}{digest[:2]}.lock"
        mode = custody.TEAM_FILE if self.custody.is_shared else None
        return Exclusion(path, Wait(StoreBusy, self.root, self.patience), mode)

    @contextmanager
    def _staging(self, digest: str) -> Iterator[Path]:
        """A folder to make something in, while holding the lock of its hash.

        What is there under the same lock was left by a process that was killed.
        """
        parent, prefix = self.root / "tmp", f"{digest[:2]}-"
        for left in parent.glob(f"{prefix}*"):
            if _is_mine(left):
                files.discard(left)
        with files.staging(parent, prefix) as staged:
            yield staged


def _is_unfinished(name: str) -> bool:
    """Whether a file of a store, or its registry, was to get another name."""
    return files.is_unfinished(name) or registry.is_unfinished(name)


def is_store(path: Path) -> bool:
    """Whether there is a store at ``path``."""
    return (path / "format").is_file() and (path / "entries").is_dir()


def custody_of(root: Path) -> Custody:
    """Whose the store at ``root`` is, which need not be there yet.

    :raises InvalidStore: somebody can write to it who should not
    """
    return custody.examine(root, _FOLDERS)


def can_be_written(root: Path, found: Custody) -> bool:
    """Whether entries can be added to a store, which need not be there yet."""
    if found.refusal is not None:
        return False
    for folder in (root / "entries", root, *root.parents):
        if os.path.exists(folder):
            return os.access(folder, os.W_OK)
    return False


def _make_folder(path: Path, mode: int) -> None:
    """Make a folder with the permission bits ``mode``, unless there is one.

    :raises OSError: it cannot be made
    """
    if path.is_dir():
        return
    try:
        path.mkdir(mode=stat.S_IRWXU)
    except FileExistsError:
        return  # somebody made it meanwhile
    path.chmod(mode)


def _make_file(path: Path, mode: int) -> None:
    """Make an empty file with the permission bits ``mode``, unless there is something.

    :raises OSError: it cannot be made
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _is_mine(path: Path) -> bool:
    """Whether something belongs to this user, who need not be in a store alone."""
    if sys.platform == "win32":
        return True
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except FileNotFoundError:
        return False
