"""Apply: plan -> files. The only writer into environments.

The order is chosen so that whatever stops it, what an environment's metadata lists can
be imported: links come first, then the manifest, and only then the ``.dist-info``
folder, built aside and renamed into place. What takes the place of something else is
swapped with it in one step. How a step is taken back is noted before the step is taken;
an error or Ctrl-C takes all of them back, in reverse.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from filelock import FileLock

from commonwheel import bytecode, files, manifest, sharing
from commonwheel.environment import Environment
from commonwheel.errors import ApplyFailed, NoSymbolicLinks, explain
from commonwheel.installation import Installation, RealFile
from commonwheel.link_mode import LinkMode
from commonwheel.plan import Plan
from commonwheel.sharing import Sharing
from commonwheel.view import KEEPER, Link, Split

_LOCK = "lock"
_STAGE = "stage-"
_RESCUED = "rescued-"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
_NO_RIGHT = 1314
"""``ERROR_PRIVILEGE_NOT_HELD`` of Windows."""


@contextmanager
def changing(environment: Environment) -> Iterator[None]:
    """While this lasts, nobody else changes ``environment``.

    To be held from planning on: a plan is good for the environment that it has seen.

    :raises ApplyFailed: the environment cannot be read or written
    """
    site = environment.sites[0]
    folder = site / manifest.FOLDER
    lock = FileLock(folder / _LOCK, fallback_to_soft=False)
    missing = [each for each in (site, *site.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
            for each in environment.sites:
                _sweep(each / manifest.FOLDER)
            yield
        finally:
            _leave_nothing(folder, lock, missing)
            lock.release()
    except OSError as error:
        raise ApplyFailed(site, explain(error)) from error


def was_stopped(environment: Environment) -> bool:
    """Whether a process changing ``environment`` was killed, or is still at it."""
    folders = [site / manifest.FOLDER for site in environment.sites]
    return any(True for folder in folders for _ in folder.glob(f"{_STAGE}*"))


def _sweep(folder: Path) -> None:
    """Remove what a process that was stopped has left; the lock says that it is gone."""
    for stage in folder.glob(f"{_STAGE}*"):
        files.remove_tree(stage)


def _leave_nothing(folder: Path, lock: FileLock, made: Iterable[Path]) -> None:
    """Remove our folder if nothing is in it; who waits for the lock makes another.

    So are the folders above it that were ``made``, the innermost first.
    """
    try:
        if lock.is_locked and os.listdir(folder) == [_LOCK]:
            (folder / _LOCK).unlink()
        if not os.listdir(folder):
            for each in (folder, *made):
                each.rmdir()
    except (OSError, KeyboardInterrupt):
        pass  # Ctrl-C is too late: an exception would say that nothing was changed


@dataclass(frozen=True)
class Applied:
    """What carrying out a plan came to."""

    plan: Plan
    modes: Mapping[str, LinkMode]
    """What was really used, by distribution."""
    fallbacks: tuple[str, ...] = ()
    """What was done instead of what was wanted, and why."""

    def remarks(self) -> Iterator[str]:
        """What a person should be told."""
        yield from self.fallbacks
        for each in self.plan.installations:
            if each.reason:
                yield f"{each.name} is installed as real files: {each.reason}"
        for path, earlier, later in self.plan.overridden:
            yield f"{path} is in {earlier} and in {later}; the latter's is used"


def apply(plan: Plan) -> Applied:
    """Carry out ``plan``: completely, or not at all.

    To be called while :func:`changing` its environment.

    :raises LinkModeUnavailable: the only link mode that was allowed does not work
    :raises NoSymbolicLinks: there are none on the environment's filesystem
    :raises ApplyFailed: the environment cannot be written; it is as it was before
    :raises OSError: the same
    """
    touched = (
        *plan.sites,
        *(each.site for each in plan.installations),
        *(each.site for each in plan.removals),
    )
    site = next(iter(touched), None)
    if site is None:
        return Applied(plan, {})
    with _transaction(site) as change:
        _make_importable(plan, change)
        _make_known(plan, change)
        for removal in plan.removals:
            change.remove(removal.paths)
        change.prune()
    return Applied(plan, change.modes, change.fallbacks())


def _make_importable(plan: Plan, change: _Change) -> None:
    for site in plan.sites:
        change.prepare(site)
    for file in plan.runtime:
        change.write(file)
    for record in plan.records:
        change.write(record)
    for site, split in plan.splits:
        change.split(site, split)
    change.remove(plan.dropped)
    for site, link in plan.shown:
        change.show(site, link)
    for installation in plan.installations:
        change.link(installation)


def _make_known(plan: Plan, change: _Change) -> None:
    """From here on the plan's distributions count as installed."""
    renewed = {installation.dist_info for installation in plan.installations}
    for removal in plan.removals:
        if removal.dist_info not in renewed:
            change.move_aside(removal.dist_info)
    for installation in plan.installations:
        change.publish_metadata(installation)


@contextmanager
def _transaction(site: Path) -> Iterator[_Change]:
    folder = site / manifest.FOLDER
    stage = Path(tempfile.mkdtemp(dir=folder, prefix=_STAGE))
    change = _Change(stage)
    try:
        yield change
    except BaseException as error:
        if not change.take_back():
            kept = stage.rename(folder / stage.name.replace(_STAGE, _RESCUED))
            raise ApplyFailed(site, str(error) or repr(error), kept) from error
        files.discard(stage)
        raise
    try:
        files.discard(stage)
    except KeyboardInterrupt:
        pass  # too late: an exception would say that nothing was changed


class _Change:
    """Steps of one change to an environment, each of which can be taken back."""

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self._names = 0
        self._undo: list[Callable[[], object]] = []
        self._real_folders: set[str] = set()
        self._folders: set[Path] = set()
        self._emptied: set[Path] = set()
        self._share: Callable[[Path, Path], object] = os.link
        self._editable = Sharing(sharing.EDITABLE)
        self._sharing: dict[LinkMode, Sharing] = {}
        self._file_mode, self._program_mode = sharing.file_modes()
        self.modes: dict[str, LinkMode] = {}
        """How the distributions were made that are there by now."""

    def take_back(self) -> bool:
        """Undo every step, the last one first; whether all of them could be undone."""
        complete = True
        while self._undo:
            try:
                self._undo[-1]()
            except KeyboardInterrupt:
                continue  # not now; a step can be undone twice
            except OSError:
                complete = False
            self._undo.pop()
        return complete

    def prune(self) -> None:
        """Remove the folders that removals have emptied."""
        for folder in sorted(self._emptied, key=lambda path: -len(path.parts)):
            while self._remove_folder(folder):
                folder = folder.parent  # noqa: PLW2901

    def prepare(self, site: Path) -> None:
        """Make the folders of ours that site-packages lacks."""
        for folder in (site / manifest.LINKS, site / manifest.VIEW):
            self._make_folder(folder)
        keeper = site / manifest.VIEW / KEEPER
        if not keeper.exists():
            self.write(RealFile(keeper, content=b""))

    def fallbacks(self) -> tuple[str, ...]:
        """What the filesystem has kept this change from."""
        automatic = self._sharing.get(LinkMode.AUTO)
        if automatic is None or automatic.used is not LinkMode.COPY:
            return ()
        return (f"{automatic.reason}: copying",)

    def write(self, file: RealFile, mode: LinkMode = LinkMode.MANIFEST) -> None:
        """Write a real file; how it may be shared with the store says ``mode``."""
        self._make_folder(file.path.parent)
        if file.shared and not os.path.lexists(file.path):
            # of thousands of files, and nobody looks for them yet
            self._undo.append(partial(_take_away, file.path))
            self._write(file, file.path, mode)
            return
        if file.path.is_dir() and not file.path.is_symlink():
            raise IsADirectoryError(errno.EISDIR, "a folder is there", str(file.path))
        staged = self._new_name()
        self._write(file, staged, mode)
        self._put(staged, file.path)

    def _write(self, file: RealFile, path: Path, mode: LinkMode) -> None:
        content = file.content
        if file.compiled_from is not None:
            assert file.source is not None
            source = os.stat(file.compiled_from)
            content = bytecode.checked(file.source.read_bytes(), source)
        if content is not None:
            path.write_bytes(content)
            path.chmod(self._program_mode if file.executable else self._file_mode)
            return
        assert file.source is not None
        shared = self._shared(mode) if file.shared else self._editable
        shared.place(file.source, path)

    def _shared(self, mode: LinkMode) -> Sharing:
        """One for all files of a link mode: what works is found out once."""
        return self._sharing.setdefault(mode, Sharing(sharing.WAYS[mode]))

    def split(self, site: Path, split: Split) -> None:
        """Put a real folder of links in the place of a link."""
        folder = self._new_name()
        for link in split.links:
            path = folder / os.path.relpath(link.path, split.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make_link(link, path)
        for marker in split.markers:
            path = folder / os.path.relpath(marker, split.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self._put(folder, site / manifest.VIEW / split.path)

    def show(self, site: Path, link: Link) -> None:
        """Make a link of the view."""
        view = str(site / manifest.VIEW)
        self._make_view_folder(view, os.path.dirname(link.path))
        self._show(f"{view}/{link.path}", link)

    def link(self, installation: Installation) -> None:
        """Make a distribution importable."""
        view = str(installation.site / manifest.VIEW)
        for marker in installation.markers:
            self._make_view_folder(view, os.path.dirname(marker))
            path = Path(view, marker)
            if not path.exists():
                self.write(RealFile(path, content=b""))
        for link in installation.links:
            self.show(installation.site, link)
        for file in installation.files:
            self.write(file, installation.mode)
        self._note(installation)

    def _note(self, installation: Installation) -> None:
        """Write the link manifest, which says how the distribution was really made."""
        used = installation.mode
        if used in self._sharing:
            used = self._sharing[used].used
        elif used is LinkMode.AUTO:
            used = LinkMode.COPY  # without a file that could be shared
        self.modes[installation.name] = used
        if installation.manifest is not None:
            content = manifest.encode(replace(installation.manifest, mode=used))
            path = installation.site / installation.manifest.path
            self.write(RealFile(path, content=content))

    def publish_metadata(self, installation: Installation) -> None:
        """Write a ``.dist-info`` folder aside and put it in its place."""
        share: Callable[[Path, Path], object] = self._link_or_copy
        if installation.mode is not LinkMode.MANIFEST:
            share = self._shared(installation.mode).place
        staged = self._new_name()
        staged.mkdir()
        made = {staged}
        for name, source in installation.metadata:
            path = staged / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            share(source, path)
        for name, content in installation.written:
            (staged / name).write_bytes(content)
        self._put(staged, installation.dist_info)

    def remove(self, paths: Iterable[Path]) -> None:
        """Take away files and links, as far as they are there."""
        for path in paths:
            if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
                self.move_aside(path)
                self._emptied.add(path.parent)

    def move_aside(self, path: Path) -> None:
        """Take something away; it is kept until the end."""
        kept = self._new_name()
        self._undo.append(partial(_put_back, kept, path))
        files.move(path, kept)

    def _put(self, staged: Path, path: Path) -> None:
        """Put ``staged`` at ``path``; what was there is kept until the end."""
        if os.path.lexists(path):
            self._undo.append(partial(_swap_back, staged, path, _identity(staged)))
            if files.exchange(staged, path):
                return
            self.move_aside(path)
        self._undo.append(partial(_take_away, path))
        files.move(staged, path)

    def _show(self, path: str, link: Link) -> None:
        if not os.path.lexists(path):
            self._undo.append(partial(_take_away, Path(path)))
            self._make_link(link, Path(path))
        elif not os.path.islink(path) or os.readlink(path) != link.target:
            staged = self._new_name()
            self._make_link(link, staged)
            self._put(staged, Path(path))

    def _make_link(self, link: Link, path: Path) -> None:
        if link.is_bytecode:
            self._link_or_copy(Path(link.target), path)
            return
        try:
            os.symlink(link.target, path)
        except OSError as error:
            # EPERM: of a filesystem that has none; Windows: without the right to it
            if error.errno in _NO_LINKS or getattr(error, "winerror", 0) == _NO_RIGHT:
                raise NoSymbolicLinks(path, error.strerror or str(error)) from error
            raise

    def _link_or_copy(self, source: Path, path: Path) -> None:
        """Share a file that never changes with the store, where that works."""
        try:
            self._share(source, path)
        except OSError:
            # another filesystem, no hard links here, or a store of another user:
            # the same for all that follow
            self._share = shutil.copyfile
            shutil.copyfile(source, path)

    def _make_view_folder(self, view: str, folder: str) -> None:
        """Make a real folder of the view, and those above it.

        Old links in the way are moved aside: what is made must not lie in the store.
        """
        path = f"{view}/{folder}"
        if path in self._real_folders or not folder:
            return
        self._make_view_folder(view, os.path.dirname(folder))
        if os.path.islink(path):
            self.move_aside(Path(path))
        self._make_folder(Path(path))
        self._real_folders.add(path)

    def _make_folder(self, folder: Path) -> None:
        if folder in self._folders:
            return
        if not folder.is_dir():
            self._make_folder(folder.parent)
            self._undo.append(partial(_remove_if_empty, folder))
            folder.mkdir()
        self._folders.add(folder)

    def _remove_folder(self, folder: Path) -> bool:
        """Remove a folder if it is empty, and may be removed."""
        try:
            mode = folder.stat().st_mode
            self._undo.append(partial(_make_again, folder, mode))
            folder.rmdir()
        except OSError:
            return False
        return True

    def _new_name(self) -> Path:
        self._names += 1
        return self._stage / str(self._names)


# How steps are undone. Each works whether the step was taken or not, and twice.


def _take_away(path: Path) -> None:
    if os.path.lexists(path):
        files.remove(path)


def _put_back(kept: Path, path: Path) -> None:
    if os.path.lexists(kept):
        _take_away(path)
        files.move(kept, path)


def _swap_back(staged: Path, path: Path, new: tuple[int, int]) -> None:
    if os.path.lexists(path) and _identity(path) == new:
        files.exchange(staged, path)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass


def _make_again(folder: Path, mode: int) -> None:
    if not folder.exists():
        folder.mkdir()
        folder.chmod(mode)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
