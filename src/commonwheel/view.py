"""The view: which links show an entry's files, and how several entries share a folder.

The view is a tree of symbolic links, the folder that would be site-packages had the
wheels been copied. A link stands for as much as possible: for a folder, as long as
only one entry provides something in it. A folder that holds nothing but folders is a
namespace (:pep:`420`) that other distributions are expected in, so it is real from the
start and its sub-folders are links.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from commonwheel import manifest
from commonwheel.entry import Entry
from commonwheel.errors import LinkConflict
from commonwheel.manifest import Manifest

KEEPER = ".commonwheel"
"""An empty file in the view that no RECORD lists. Without it pip, which looks at files
only, takes the view for a folder of the distribution it uninstalls once that
distribution's links are the only *files* there, and removes the links to folders with it."""


def marker(name: str) -> str:
    """The empty file that distribution ``name`` leaves in each real folder of the view.

    RECORD lists it, so a real folder holds a file as long as one of its distributions
    is installed, and pip and uv remove the folder with the last one.
    """
    return f".{name}.commonwheel"


@dataclass(frozen=True)
class Link:
    """A symbolic link of the view."""

    path: str
    """Relative to the view, with ``/``."""
    target: str
    """Absolute, in a store."""


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
    """How the rows of a distribution change whose link was split."""

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


_FOLDER = object()
"""A real folder of the view."""


class ViewPlan:
    """What the view of one site-packages folder will be with more entries in it.

    Starts from what is on disk, read as far as needed. Nothing is written.
    """

    def __init__(self, site: Path, cache_tag: str, without: Iterable[str]) -> None:
        """``without``: distributions whose links are to be seen as gone."""
        self.overridden: list[tuple[str, str, str]] = []
        """Files that two distributions have: path, the earlier, the later one."""
        self._site = site
        self._root = site / manifest.VIEW
        self._cache_tag = cache_tag
        self._without = frozenset(without)
        self._nodes: dict[str, object] = {}
        self._split: dict[str, None] = {}
        self._added: set[str] = set()
        self._markers: dict[str, set[str]] = {}

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """The manifests in site-packages, by the distribution's name."""
        return manifest.read_all(self._site)

    def add(self, entry: Entry) -> None:
        """Show what ``entry`` provides.

        :raises LinkConflict: where it has a folder, there is a file, or the reverse
        """
        name = entry.description.name
        self._added.add(name)
        for path in entry.description.links:
            target = f"{entry.tree}/{path}".rstrip("/")
            self._show(path.rstrip("/"), _Shown(target, path.endswith("/"), name))

    def owned(self, name: str) -> tuple[tuple[Link, ...], tuple[str, ...]]:
        """The links of the added distribution ``name``, and its markers."""
        links = tuple(
            link for shown, link in self._planned_links() if shown.owner == name
        )
        return links, tuple(sorted(self._markers.get(name, ())))

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
        """The distributions on disk that the splits change."""
        gained: dict[str, list[str]] = {}
        lost: dict[str, list[str]] = {}
        for split in self.splits():
            before = self._on_disk(split.path)
            assert isinstance(before, _Shown)
            lost.setdefault(before.owner, []).append(split.path)
            for link in split.links:
                shown = self._nodes[link.path]
                assert isinstance(shown, _Shown)
                gained.setdefault(shown.owner, []).append(link.path)
            for path in split.markers:
                gained.setdefault(before.owner, []).append(path)
        for name in lost:
            yield Amendment(name, tuple(gained.get(name, ())), tuple(lost[name]))

    def _planned_links(self) -> Iterator[tuple[_Shown, Link]]:
        for path, node in sorted(self._nodes.items()):
            if isinstance(node, _Shown):
                yield node, Link(path, node.target)

    def _node(self, path: str) -> object:
        if path not in self._nodes:
            found = self._on_disk(path)
            if found is None:
                return None
            self._nodes[path] = found
        return self._nodes[path]

    def _on_disk(self, path: str) -> object:
        """What the view has at ``path`` now: a link, a real folder or None."""
        full = os.path.join(self._root, path)
        try:
            target = os.readlink(full)
        except FileNotFoundError:
            return None
        except OSError:
            return _FOLDER if os.path.isdir(full) else None
        owner = next(
            (m.name for m in self.manifests.values() if _is_in(target, m.entry)), None
        )
        if owner is None or owner in self._without or not os.path.exists(full):
            return None  # stray, about to be replaced, or leading nowhere
        return _Shown(target, os.path.isdir(full), owner)

    def _show(self, path: str, wanted: _Shown) -> None:
        folder = os.path.dirname(path)
        self._enter(folder, wanted)
        there = self._node(path)
        if there is None or there == wanted:
            self._link(path, wanted)
        elif isinstance(there, _Shown) and not there.folder and not wanted.folder:
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
        self._nodes[folder] = _FOLDER
        self._mark(folder, wanted.owner)

    def _split_up(self, path: str, there: _Shown) -> None:
        if there.owner not in self._added:
            self._split[path] = None
        self._nodes[path] = _FOLDER
        self._mark(path, there.owner)
        self._show_contents(path, there)

    def _show_contents(self, path: str, folder: _Shown) -> None:
        for name in sorted(os.listdir(folder.target)):
            if name != "__pycache__":
                target = f"{folder.target}/{name}"
                inner = _Shown(target, os.path.isdir(target), folder.owner)
                self._show(f"{path}/{name}", inner)

    def _mark(self, folder: str, name: str) -> None:
        self._markers.setdefault(name, set()).add(f"{folder}/{marker(name)}")

    def _link(self, path: str, wanted: _Shown) -> None:
        self._nodes[path] = wanted
        if wanted.folder or not path.endswith(".py"):
            return
        # Python looks for bytecode beside the link, not beside what it points to.
        folder, name = os.path.split(wanted.target)
        compiled = f"__pycache__/{name[:-3]}.{self._cache_tag}.pyc"
        if os.path.exists(f"{folder}/{compiled}"):
            above = os.path.dirname(path)
            place = f"{above}/{compiled}" if above else compiled
            shown = _Shown(f"{folder}/{compiled}", False, wanted.owner)
            self._nodes[place] = shown

    def _conflict(self, path: str, there: object, wanted: _Shown) -> LinkConflict:
        holder = "a folder of several distributions"
        if isinstance(there, _Shown):
            holder = f"a {'folder' if there.folder else 'file'} of {there.owner}"
        return LinkConflict(wanted.owner, path, holder)


def _is_folder(node: object) -> bool:
    return isinstance(node, _Shown) and node.folder


def _is_in(target: str, entry: Path) -> bool:
    return target.startswith(f"{entry}{os.sep}")
