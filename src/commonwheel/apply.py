"""Apply: plan -> files. The only writer into environments.

The order is chosen so that whatever stops it, what an environment's metadata lists can
be imported: links come first, then the manifest, and only then the ``.dist-info``
folder, built aside and renamed into place. Every step notes how it is taken back; an
error or Ctrl-C takes all of them back, in reverse.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from filelock import FileLock

from commonwheel import files, manifest
from commonwheel.errors import ApplyFailed
from commonwheel.plan import Installation, Plan, RealFile, Removal
from commonwheel.view import KEEPER, Link, Split

RUNTIME = "_commonwheel.py"
START_UP = "00_commonwheel.pth"
START_UP_ENTRY = "00_commonwheel_rt.start"

# The first line may never fail nor print: it runs at every start of the interpreter,
# even if somebody removed or damaged the runtime. `sitedir` is a variable of the
# function of `site` that executes the line. The second line is for tools that read
# .pth files and do not execute them, and for imports without the runtime.
_START_UP_LINES = (
    r"""import sys; exec("try:\n import _commonwheel\n"""
    r""" _commonwheel.install(locals().get('sitedir'))\nexcept Exception:\n pass")"""
    f"\n{manifest.VIEW}\n"
)
RUNTIME_FILES = {
    RUNTIME: resources.files("commonwheel.runtime").joinpath(RUNTIME).read_bytes(),
    # `site` runs .pth files in the order of their names; for .start files (:pep:`829`)
    # a same-stem .pth would not be executed at all, hence the other stem.
    START_UP: _START_UP_LINES.encode("ascii"),
    START_UP_ENTRY: b"_commonwheel:install\n",
}


def apply(plan: Plan) -> None:
    """Carry out ``plan``: completely, or not at all.

    :raises ApplyFailed: the environment cannot be written; it is as it was before
    """
    sites = dict.fromkeys((*plan.sites, *(removal.site for removal in plan.removals)))
    site = next(iter(sites), None)
    if site is None:
        return
    try:
        with _locked(site), _transaction(site) as change:
            for each in plan.sites:
                change.write_runtime(each)
            for record in plan.records:
                change.write(record)
            for each, split in plan.splits:
                change.split(each, split)
            for installation in plan.installations:
                change.link(installation)
            for removal in plan.removals:
                change.set_metadata_aside(removal)
            for installation in plan.installations:
                change.publish_metadata(installation)
            for removal in plan.removals:
                change.remove(removal)
    except OSError as error:
        about = f" ({error.filename})" if error.filename else ""
        reason = f"{error.strerror or error}{about}"
        raise ApplyFailed(site, reason) from error


@contextmanager
def _locked(site: Path) -> Iterator[None]:
    """One writer at a time in a site-packages folder."""
    folder = site / manifest.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", fallback_to_soft=False):
        yield


@contextmanager
def _transaction(site: Path) -> Iterator[_Change]:
    with files.staging(site / manifest.FOLDER, "stage-") as stage:
        change = _Change(stage)
        try:
            yield change
        except BaseException:
            change.take_back()
            raise
    change.prune()


class _Change:
    """Steps of one change to an environment, each of which can be taken back."""

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self._set_aside = 0
        self._undo: list[Callable[[], object]] = []
        self._emptied: set[Path] = set()
        self._linking = os.link
        umask = os.umask(0o022)
        os.umask(umask)
        self._file_mode, self._program_mode = 0o666 & ~umask, 0o777 & ~umask

    def take_back(self) -> None:
        """Undo every step, the last one first."""
        while self._undo:
            self._undo.pop()()

    def prune(self) -> None:
        """Remove the folders that removals have emptied."""
        for folder in sorted(self._emptied, key=lambda path: -len(path.parts)):
            while True:
                try:
                    folder.rmdir()
                except OSError:
                    break  # not empty, or not there
                folder = folder.parent

    def write_runtime(self, site: Path) -> None:
        """Make sure that site-packages has the current runtime and its start-up files."""
        for name, content in RUNTIME_FILES.items():
            path = site / name
            if not path.is_file() or path.read_bytes() != content:
                self.write(RealFile(path, content=content))
        for folder in (site / manifest.LINKS, site / manifest.VIEW):
            self._make_folder(folder)
        keeper = site / manifest.VIEW / KEEPER
        if not keeper.exists():
            self.write(RealFile(keeper, content=b""))

    def write(self, file: RealFile) -> None:
        """Write a real file; what was there is kept until the end."""
        self._make_folder(file.path.parent)
        mode = self._program_mode if file.executable else self._file_mode
        staged = self._stage / f"new-{self._next()}"
        if file.content is not None:
            staged.write_bytes(file.content)
        else:
            assert file.source is not None
            shutil.copyfile(file.source, staged)
        staged.chmod(mode)
        self._replace(staged, file.path)

    def split(self, site: Path, split: Split) -> None:
        """Put a real folder of links in the place of a link."""
        folder = self._stage / f"new-{self._next()}"
        for link in split.links:
            path = folder / os.path.relpath(link.path, split.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(link.target)
        for marker in split.markers:
            path = folder / os.path.relpath(marker, split.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self._replace(folder, site / manifest.VIEW / split.path)

    def link(self, installation: Installation) -> None:
        """Make a distribution importable."""
        view = str(installation.site / manifest.VIEW)
        for marker in installation.markers:
            path = Path(view, marker)
            self._make_folder(path.parent)
            if not path.exists():
                self.write(RealFile(path, content=b""))
        for link in installation.links:
            self._symlink(view, link)
        for file in installation.files:
            self.write(file)
        self.write(installation.manifest)

    def _symlink(self, view: str, link: Link) -> None:
        path = f"{view}/{link.path}"
        try:
            try:
                os.symlink(link.target, path)
            except FileNotFoundError:
                self._make_folder(Path(path).parent)
                os.symlink(link.target, path)
            self._undo.append(lambda: os.unlink(path))
        except FileExistsError:
            if os.path.islink(path) and os.readlink(path) == link.target:
                return
            staged = self._stage / f"new-{self._next()}"
            staged.symlink_to(link.target)
            self._replace(staged, Path(path))

    def set_metadata_aside(self, removal: Removal) -> None:
        """Take away the metadata of a distribution that is replaced or removed."""
        self._move_aside(removal.dist_info)

    def publish_metadata(self, installation: Installation) -> None:
        """From here on a distribution counts as installed."""
        staged = self._stage / installation.dist_info.name
        staged.mkdir()
        staged.chmod(self._program_mode)
        made = {staged}
        for name, source in installation.metadata:
            path = staged / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            self._link_or_copy(source, path)
        for name, content in installation.written:
            path = staged / name
            path.write_bytes(content)
        self._replace(staged, installation.dist_info)

    def remove(self, removal: Removal) -> None:
        """Take away the files of a distribution that is replaced or removed."""
        for path in removal.paths:
            if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
                self._move_aside(path)
                self._emptied.add(path.parent)

    def _link_or_copy(self, source: Path, path: Path) -> None:
        """Metadata never changes, so it is shared with the store where that works."""
        try:
            self._linking(source, path)
        except OSError:
            # another filesystem, no hard links here, or a store of another user:
            # the same for all that follow
            self._linking = shutil.copyfile
            shutil.copyfile(source, path)

    def _replace(self, staged: Path, path: Path) -> None:
        """Rename ``staged`` to ``path``, and keep what was there."""
        if os.path.lexists(path):
            self._move_aside(path)
        _move(staged, path)
        self._undo.append(lambda: _move(path, self._stage / f"undone-{self._next()}"))

    def _move_aside(self, path: Path) -> None:
        kept = self._stage / f"old-{self._next()}"
        _move(path, kept)
        self._undo.append(lambda: _move(kept, path))

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir()
        self._undo.append(folder.rmdir)

    def _next(self) -> int:
        self._set_aside += 1
        return self._set_aside


def _move(source: Path, target: Path) -> None:
    """Rename, or copy where a scheme's folders lie on different filesystems."""
    shutil.move(source, target)
