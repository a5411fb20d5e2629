"""The view: which links show an entry's files, and how several entries share a folder.

The view is a tree of symbolic links, the folder that would be site-packages had the
wheels been copied. A link stands for as much as possible (:func:`tree.links` says what a
single entry needs); a folder that several entries have something in is a real folder of
links.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from commonwheel import bytecode, manifest, record, tree
from commonwheel.entry import Entry
from commonwheel.errors import InvalidEnvironment, LinkConflict, explain
from commonwheel.manifest import Manifest

KEEPER = tree.MARKER
"""An empty file in the view that no RECORD lists. Without it pip, which looks at files
only, takes the view for a folder of the distribution it uninstalls once that one's links
are the only *files* there, and removes the links to folders with it."""


def marker(name: str) -> str:
    """The empty file that distribution ``name`` leaves in each real folder of the view.

    RECORD lists it, so a real folder holds a file as long as one of its distributions
    is installed, and pip and uv remove the folder with the last one.
    """
    return f".{name}{tree.MARKER}"


def is_marker(file: str) -> bool:
    """Whether ``file`` is the name of a marker, of whatever distribution."""
    return file.startswith(".") and file.endswith(tree.MARKER) and file != KEEPER


@contextmanager
def readable_manifests(site: Path) -> Iterator[None]:
    """While the manifests in ``site`` are read.

    :raises InvalidEnvironment: one of them cannot be
    """
    try:
        yield
    except ValueError as error:
        raise InvalidEnvironment(site, f"{error}; reinstall it") from error
    except OSError as error:
        raise InvalidEnvironment(site, explain(error)) from error


def kept(path: str, name: str) -> str:
    """Where the link of distribution ``name`` waits whose place another one has taken.

    It takes it again when the other is gone.
    """
    folder, file = os.path.split(path)
    return os.path.join(folder, f".{name}.{file}{tree.KEPT}")


def hidden_by(path: str) -> tuple[str, str] | None:
    """The place that a kept link waits for, and whose it is; None of any other path."""
    folder, file = os.path.split(path)
    if not file.startswith(".") or not file.endswith(tree.KEPT):
        return None
    name, _, file = file[1:].removesuffix(tree.KEPT).partition(".")
    return os.path.join(folder, file), name


@dataclass(frozen=True)
class Link:
    """A link of the view: symbolic, but for bytecode."""

    path: str
    """Relative to the view, with ``/``."""
    target: str
    """Absolute, in a store."""

    @property
    def is_bytecode(self) -> bool:
        """Whether it has to be a file: ``compileall`` refuses to replace a link."""
        return self.path.endswith(".pyc") and "__pycache__" in self.path


@dataclass(frozen=True)
class Split:
    """A link that becomes a real folder because a second entry has something in it."""

    path: str
    """Relative to the view."""
    links: tuple[Link, ...]
    """What the link has shown so far."""
    markers: tuple[str, ...]
    """Relative to the view."""


@dataclass(frozen=True)
class Amendment:
    """How the rows of a distribution change: its links are split, hidden, shown again."""

    name: str
    gained: tuple[str, ...]
    """Relative to the view."""
    lost: tuple[str, ...]


@dataclass(frozen=True)
class _Shown:
    """A link as planned, and whose it is."""

    target: str
    folder: bool
    owner: str


@dataclass(frozen=True)
class _Move:
    """A link of a distribution on disk that is hidden, or shown again."""

    owner: str
    gained: tuple[str, ...]
    """Relative to the view."""
    lost: tuple[str, ...]


_FOLDER = object()
"""A real folder of the view."""


class ViewPlan:
    """What the view of one site-packages folder will be with more entries in it.

    Starts from what is on disk, read as far as needed. Nothing is written.
    """

    def __init__(self, site: Path, cache_tag: str, without: Iterable[str]) -> None:
        """``without``: distributions whose links are to be seen as gone."""
        self.overridden: list[tuple[str, str, str]] = []
        """Files that two distributions have and that differ: path, the earlier, the later
        one."""
        self.dropped: dict[str, None] = {}
        """Links on disk, relative to the view, that must not stay."""
        self._site = site
        self._root = site / manifest.VIEW
        self._cache_tag = cache_tag
        self._without = frozenset(without)
        self._nodes: dict[str, object] = {}
        self._fresh: set[str] = set()  # folders that are not folders on disk
        self._split: dict[str, None] = {}
        self._added: set[str] = set()
        self._markers: dict[str, set[str]] = {}
        self._owners: dict[str, bool] = {}
        self._moves: list[_Move] = []

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """The manifests of what is linked, by the distribution's name.

        :raises InvalidEnvironment: one cannot be read
        """
        with readable_manifests(self._site):
            return manifest.read_linked(self._site, self._without)

    def add(self, entry: Entry) -> None:
        """Show what ``entry`` provides.

        :raises LinkConflict: where it has a folder, there is a file, or the reverse
        :raises InvalidEnvironment: it needs part in a folder whose entry is missing
        """
        name = entry.description.name
        self._added.add(name)
        for path in entry.description.links:
            target = f"{entry.tree}/{path}".rstrip("/")
            self._show(path.rstrip("/"), _Shown(target, path.endswith("/"), name))

    def restore(self) -> None:
        """Show again what was hidden by distributions that are gone."""
        for current, folders, names in os.walk(self._root):
            for name in sorted((*folders, *names)):
                waiting = os.path.relpath(os.path.join(current, name), self._root)
                place = hidden_by(waiting)
                if place is not None:
                    self._show_again(waiting, place[0])

    def _show_again(self, waiting: str, path: str) -> None:
        there = self._node(waiting)
        if not isinstance(there, _Shown) or self._node(path) is not None:
            return
        self._nodes.pop(waiting)
        self.dropped[waiting] = None
        self._link(path, there)
        compiled = bytecode.path_of(path, self._cache_tag)
        gained = [each for each in (path, compiled) if each in self._nodes]
        self._moves.append(_Move(there.owner, tuple(gained), (waiting,)))

    def moved(self) -> Iterator[Link]:
        """Links of distributions on disk that are in another place than before.

        Those in a split are among its links.
        """
        for move in self._moves:
            for path in move.gained:
                shown = self._nodes.get(path)
                inside = any(path.startswith(f"{split}/") for split in self._split)
                if isinstance(shown, _Shown) and not inside:
                    yield Link(path, shown.target)

    def owned(self, name: str) -> tuple[tuple[Link, ...], tuple[str, ...]]:
        """The links of the distribution ``name``, and its markers; once all are added."""
        return (
            tuple(self._links_by_owner.get(name, ())),
            tuple(sorted(self._markers.get(name, ()))),
        )

    @cached_property
    def _links_by_owner(self) -> dict[str, list[Link]]:
        found: dict[str, list[Link]] = {}
        for shown, link in self._planned_links():
            found.setdefault(shown.owner, []).append(link)
        return found

    def splits(self) -> Iterator[Split]:
        """The links on disk that have to become folders, outermost only."""
        outermost: list[str] = []
        for path in sorted(self._split):
            if not any(path.startswith(f"{outer}/") for outer in outermost):
                outermost.append(path)
        for path in outermost:
            below = f"{path}/"
            links = tuple(
                link
                for shown, link in self._planned_links()
                if link.path.startswith(below) and shown.owner not in self._added
            )
            markers = tuple(
                marker
                for name, markers in sorted(self._markers.items())
                for marker in sorted(markers)
                if marker.startswith(below) and name not in self._added
            )
            yield Split(path, links, markers)

    def amendments(self) -> Iterator[Amendment]:
        """The distributions on disk that have other links than before."""
        gained: dict[str, list[str]] = {}
        lost: dict[str, list[str]] = {}
        for split in self.splits():
            before = self._on_disk(split.path)
            assert isinstance(before, _Shown)
            lost.setdefault(before.owner, []).append(split.path)
            shown = [link.path for link in split.links]
            gained.setdefault(before.owner, []).extend((*shown, *split.markers))
        for move in self._moves:
            lost.setdefault(move.owner, []).extend(move.lost)
            gained.setdefault(move.owner, []).extend(move.gained)
        for name, paths in lost.items():
            rows = dict.fromkeys(gained.get(name, ()))
            yield Amendment(name, tuple(rows), tuple(paths))

    def _planned_links(self) -> Iterator[tuple[_Shown, Link]]:
        for path, node in sorted(self._nodes.items()):
            if isinstance(node, _Shown):
                yield node, Link(path, node.target)

    def _node(self, path: str) -> object:
        """What will be at ``path`` as far as it is planned: a link, a folder or None."""
        if path not in self._nodes:
            found = self._on_disk(path) if self._is_old(path) else None
            if found is None:
                return None
            self._nodes[path] = found
        return self._nodes[path]

    def _is_old(self, path: str) -> bool:
        """Whether all folders above ``path`` are real folders on disk already."""
        while path := os.path.dirname(path):
            if path in self._fresh:
                return False
        return True

    def _on_disk(self, path: str) -> object:
        """What the view has at ``path`` now: a link, a real folder or None."""
        full = os.path.join(self._root, path)
        try:
            target = os.readlink(full)
        except FileNotFoundError:
            return None
        except OSError:
            return _FOLDER if os.path.isdir(full) else None
        owner = self._owner(target)
        if owner is None:
            return None  # stray, or about to be replaced
        if not os.path.exists(full):
            reason = (
                f"{owner.name} {owner.version} is linked to {owner.entry}, which is"
                " missing; reinstall it first"
            )
            raise InvalidEnvironment(self._site, reason)
        return _Shown(target, os.path.isdir(full), owner.name)

    def _owner(self, target: str) -> Manifest | None:
        """The installed distribution whose entry holds ``target``."""
        for each in self.manifests.values():
            if target.startswith(f"{each.entry}{os.sep}") and self._is_installed(each):
                return each
        return None

    def _is_installed(self, link: Manifest) -> bool:
        """Whether the manifest is in force: not one that was installed over."""
        if link.name not in self._owners:
            try:
                text = (self._site / link.metadata / "RECORD").read_text("utf-8")
                self._owners[link.name] = link.path in record.paths(text)
            except (OSError, ValueError):
                self._owners[link.name] = False
        return self._owners[link.name]

    def _show(self, path: str, wanted: _Shown) -> None:
        self._enter(os.path.dirname(path), wanted)
        there = self._node(path)
        if there is None or there == wanted:
            self._link(path, wanted)
        elif isinstance(there, _Shown) and not there.folder and not wanted.folder:
            self._hide(path, there)
            if not filecmp.cmp(there.target, wanted.target, shallow=False):
                self.overridden.append((path, there.owner, wanted.owner))
            self._link(path, wanted)
        elif wanted.folder and (there is _FOLDER or _is_folder(there)):
            if isinstance(there, _Shown):
                self._split_up(path, there)
            self._mark(path, wanted.owner)
            self._show_contents(path, wanted)
        else:
            raise self._conflict(path, there, wanted)

    def _enter(self, folder: str, wanted: _Shown) -> None:
        """Make ``folder`` and those above it real folders that ``wanted`` has part in."""
        if not folder:
            return
        self._enter(os.path.dirname(folder), wanted)
        there = self._node(folder)
        if isinstance(there, _Shown):
            if not there.folder:
                raise self._conflict(folder, there, wanted)
            self._split_up(folder, there)
        elif there is None:
            self._fresh.add(folder)
            self._nodes[folder] = _FOLDER
        self._mark(folder, wanted.owner)

    def _split_up(self, path: str, there: _Shown) -> None:
        if there.owner not in self._added:
            self._split[path] = None
        self._fresh.add(path)
        self._nodes[path] = _FOLDER
        self._mark(path, there.owner)
        self._show_contents(path, there)

    def _show_contents(self, path: str, folder: _Shown) -> None:
        for name in sorted(os.listdir(folder.target)):
            if name != "__pycache__":
                target = f"{folder.target}/{name}"
                inner = _Shown(target, os.path.isdir(target), folder.owner)
                self._show(f"{path}/{name}", inner)

    def _hide(self, path: str, there: _Shown) -> None:
        """Keep the link of a file whose place another distribution takes."""
        waiting = kept(path, there.owner)
        self._nodes[waiting] = there
        if there.owner not in self._added:
            compiled = bytecode.path_of(path, self._cache_tag)
            self._moves.append(_Move(there.owner, (waiting,), (path, compiled)))

    def _mark(self, folder: str, name: str) -> None:
        self._markers.setdefault(name, set()).add(f"{folder}/{marker(name)}")

    def _link(self, path: str, wanted: _Shown) -> None:
        self._nodes[path] = wanted
        if wanted.folder or not path.endswith(".py"):
            return
        # Python looks for bytecode beside the link, not beside what it points to.
        place = bytecode.path_of(path, self._cache_tag)
        target = bytecode.path_of(wanted.target, self._cache_tag)
        if os.path.exists(target):
            self._nodes[place] = _Shown(target, False, wanted.owner)
            return
        # Bytecode of the file that was here would be taken for this one's, unchecked.
        self._nodes.pop(place, None)
        if self._is_old(place) and os.path.lexists(self._root / place):
            self.dropped[place] = None

    def _conflict(self, path: str, there: object, wanted: _Shown) -> LinkConflict:
        holder = "a folder of several distributions"
        if isinstance(there, _Shown):
            holder = f"a {'folder' if there.folder else 'file'} of {there.owner}"
        return LinkConflict(wanted.owner, path, holder)


def _is_folder(node: object) -> bool:
    return isinstance(node, _Shown) and node.folder
