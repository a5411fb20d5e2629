"""A change to one environment: how each thing in a plan is put on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from commonwheel import bytecode, manifest, sharing
from commonwheel.errors import NoSymbolicLinks
from commonwheel.installation import Installation, RealFile
from commonwheel.link_mode import LinkMode
from commonwheel.sharing import Sharing
from commonwheel.steps import Steps
from commonwheel.view import KEEPER, Link, Split

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
_ENTRY_POINTS = "entry_points.txt"
"""It says what is run. So it is no file of the store's, and neither is bytecode: whoever
changes the permission bits of an environment (``chmod -R``) would do so for all."""
_NO_RIGHT = 1314
"""``ERROR_PRIVILEGE_NOT_HELD`` of Windows."""


class Change:
    """One change to an environment, made of steps that can be taken back."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._real_folders: set[str] = set()
        self._share: Callable[[Path, Path], object] = os.link
        self._editable = Sharing(sharing.EDITABLE)
        self._sharing: dict[LinkMode, Sharing] = {}
        self._file_mode, self._program_mode = sharing.file_modes()
        self._aside: dict[Path, Path] = {}
        """What was written aside, by the places that it is for."""
        self._trees: dict[Path, Path] = {}
        """Folders that were written aside as a whole, because they are not there yet."""
        self._tops: dict[Path, Path | None] = {}
        self.modes: dict[str, LinkMode] = {}
        """How the distributions were made that are there by now."""

    def prepare(self, site: Path) -> None:
        """Make the folders of ours that site-packages lacks."""
        for folder in (site / manifest.LINKS, site / manifest.VIEW):
            self.steps.make_folder(folder)
        self._mark(site / manifest.VIEW / KEEPER)

    def fallbacks(self) -> tuple[str, ...]:
        """What the filesystem has kept this change from."""
        automatic = self._sharing.get(LinkMode.AUTO)
        if automatic is None or automatic.used is not LinkMode.COPY:
            return ()
        return (f"{automatic.reason}: copying",)

    def write_aside(self, file: RealFile) -> None:
        """Write a file; it is there when it is :meth:`put`."""
        staged = self.steps.new_name(file.path)
        self._write(file, staged, LinkMode.MANIFEST)
        self._aside[file.path] = staged

    def write_files_aside(self, installation: Installation) -> None:
        """Write the real files of a distribution; they are there when they are put.

        A folder that is not there yet will be there as a whole.
        """
        for file in installation.files:
            self._write_into_tree(file, installation.mode)

    def _write_into_tree(self, file: RealFile, mode: LinkMode) -> None:
        top = missing_top(file.path.parent, self._tops)
        if top is None:
            staged = self.steps.new_name(file.path)
        else:
            if top not in self._trees:
                self._trees[top] = self.steps.new_name(top)
            staged = self._trees[top] / os.path.relpath(file.path, top)
            staged.parent.mkdir(parents=True, exist_ok=True)
            if file.path in self._aside:
                staged.unlink()  # two distributions have it; the later one wins
        self._write(file, staged, mode)
        self._aside[file.path] = staged

    def write_metadata_aside(self, installation: Installation) -> None:
        """Write a ``.dist-info`` folder; it is there when it is :meth:`put`."""
        share: Callable[[Path, Path], object] = self._link_or_copy
        if installation.mode is not LinkMode.MANIFEST:
            share = self._shared(installation.mode).place
        staged = self.steps.new_name(installation.dist_info)
        staged.mkdir()
        made = {staged}
        for name, source in installation.metadata:
            path = staged / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            if name == _ENTRY_POINTS:
                self._editable.place(source, path)
            else:
                share(source, path)
        for name, content in installation.written:
            (staged / name).write_bytes(content)
        self._aside[installation.dist_info] = staged

    def aside(self) -> dict[Path, Path]:
        """What was written aside, by the places that it is for."""
        single = {
            path: staged
            for path, staged in self._aside.items()
            if self._tops.get(path.parent) is None
        }
        return {**single, **self._trees}

    def put(self, path: Path) -> None:
        """Put what was written aside for ``path`` there, unless that was done."""
        staged = self._aside.pop(path, None)
        if staged is None:
            return
        top = self._tops.get(path.parent)
        if top is not None:
            if top not in self._trees:
                return
            staged, path = self._trees.pop(top), top
        if not staged.is_dir() and path.is_dir():  # a link to one, too: `lib64`
            raise IsADirectoryError(errno.EISDIR, "a folder is there", str(path))
        self.steps.make_folder(path.parent)
        self.steps.put(staged, path)

    def _write(self, file: RealFile, path: Path, mode: LinkMode) -> None:
        content = file.content
        if file.compiled_from is not None:
            assert file.source is not None
            source = os.stat(self._aside.get(file.compiled_from, file.compiled_from))
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

    def write_split_aside(self, site: Path, split: Split) -> None:
        """Make a real folder of links, which takes the place of a link when it is put."""
        place = site / manifest.VIEW / split.path
        folder = self.steps.new_name(place)
        for link in split.links:
            path = folder / os.path.relpath(link.path, split.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make_link(link, path)
        for marker in split.markers:
            path = folder / os.path.relpath(marker, split.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self._aside[place] = folder

    def write_link_aside(self, site: Path, link: Link) -> None:
        """Write what the view shows as a file of its own: bytecode."""
        if link.is_bytecode:
            path = site / manifest.VIEW / link.path
            staged = self.steps.new_name(path)
            self._editable.place(Path(link.target), staged)
            self._aside[path] = staged

    def split(self, site: Path, split: Split) -> None:
        """Put a real folder of links in the place of a link."""
        self.put(site / manifest.VIEW / split.path)

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
            self._mark(Path(view, marker))
        for link in installation.links:
            self.show(installation.site, link)
        for file in installation.files:
            self.put(file.path)
        if installation.manifest is not None:
            self.put(installation.site / installation.manifest.path)

    def note(self, installation: Installation) -> None:
        """Write the link manifest aside, which says how the files were really made."""
        used = installation.mode
        if used in self._sharing:
            used = self._sharing[used].used
        elif used is LinkMode.AUTO:
            used = LinkMode.COPY  # without a file that could be shared
        self.modes[installation.name] = used
        if installation.manifest is not None:
            content = manifest.encode(replace(installation.manifest, mode=used))
            path = installation.site / installation.manifest.path
            self.write_aside(RealFile(path, content=content))

    def _mark(self, path: Path) -> None:
        """Make an empty file, if it is not there."""
        if not os.path.lexists(path):
            self.steps.will_make(path)
            path.write_bytes(b"")
            path.chmod(self._file_mode)

    def _show(self, path: str, link: Link) -> None:
        if link.is_bytecode:
            self.put(Path(path))
        elif not os.path.lexists(path):
            self.steps.will_make(Path(path))
            self._make_link(link, Path(path))
        elif not os.path.islink(path) or os.readlink(path) != link.target:
            staged = self.steps.new_name(Path(path))
            self._make_link(link, staged)
            self.steps.put(staged, Path(path))

    def _make_link(self, link: Link, path: Path) -> None:
        if link.is_bytecode:
            self._editable.place(Path(link.target), path)
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
            self.steps.move_aside(Path(path))
        self.steps.make_folder(Path(path))
        self._real_folders.add(path)


def missing_top(folder: Path, known: dict[Path, Path | None]) -> Path | None:
    """The outermost folder that has to be made for ``folder``; None if it is there."""
    if folder not in known:
        known[folder] = None
        if not os.path.isdir(folder):
            known[folder] = missing_top(folder.parent, known) or folder
    return known[folder]
