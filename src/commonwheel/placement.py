"""Placement: which distributions have to be real files, though links were chosen.

A plain folder has no runtime, so all of them. Otherwise those whose libraries would not
find what they look for, and those of which another distribution's real file would be
found first.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from commonwheel import manifest, record
from commonwheel.entry import Description, Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidStore
from commonwheel.installation import Request
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.removal import Removal
from commonwheel.view import readable_manifests


def place(
    requests: Sequence[Request],
    environment: Environment,
    removals: Iterable[Removal],
    gone: Collection[str],
) -> list[Request]:
    """The requests with the link mode that each of them needs.

    After them come distributions of ``environment`` that are linked and cannot stay so,
    because they and one of the requests look for each other's libraries. What
    ``removals`` take away, and the distributions ``gone`` (normalized names), do not
    count.

    :raises InvalidEnvironment: a link manifest is damaged
    :raises InvalidStore: the entry of one that is installed cannot be read
    """
    if environment.plain:
        return [_as_real(each, "") for each in requests]
    free = {path for removal in removals for path in removal.paths}
    placed = [_alone(each, environment, free) for each in requests]
    if any(map(_has_libraries, placed)):
        real = list(_real_ones(environment, gone))
        placed = [_looked_for(each, real) for each in placed]
    if all(each.mode is LinkMode.MANIFEST for each in placed):
        return placed
    linked = list(_linked(environment, gone))
    together = _together([*placed, *linked])
    return [*together[: len(placed)], *_changed(linked, together[len(placed) :])]


def _as_real(request: Request, reason: str) -> Request:
    if request.mode is not LinkMode.MANIFEST:
        return request
    return replace(request, mode=LinkMode.AUTO, reason=reason)


def _alone(request: Request, environment: Environment, free: set[Path]) -> Request:
    """What a distribution needs beside the real files that stay there."""
    if request.mode is not LinkMode.MANIFEST:
        return request
    description = request.entry.description
    site = environment.site_packages(description.root_is_purelib)
    if description.above:
        where = description.above[0]
        reason = f"its libraries look for others where links do not help ({where})"
        return _as_real(request, reason)
    for folder in description.beside:
        if _stays_real(site / folder, free):
            reason = f"its libraries look into {folder}, whose files are real"
            return _as_real(request, reason)
    for path in _real_twins(request.entry, site):
        if _real(site / path) not in free:
            return _as_real(request, f"{path} is there, as a real file")
    return request


def _real(path: Path) -> Path:
    """As a :class:`~commonwheel.removal.Removal` has it."""
    return Path(os.path.realpath(path.parent), path.name)


def _stays_real(folder: Path, free: set[Path]) -> bool:
    """Whether there is a real folder with files that nobody is about to remove."""
    return any(
        _real(Path(current, name)) not in free
        for current, _, names in os.walk(folder)
        for name in names
    )


def _has_libraries(request: Request) -> bool:
    suffixes = (".so", ".dylib", ".dll")
    return request.mode is LinkMode.MANIFEST and any(
        suffix in request.entry.record for suffix in suffixes
    )


def _real_ones(environment: Environment, gone: Collection[str]) -> Iterator[Description]:
    """What stays in an environment as real files, from a store, and looks for others."""
    for site in environment.sites:
        with readable_manifests(site):
            found = manifest.read_real(site, gone)
        for each in found.values():
            try:
                entry = read_entry(each.entry)
            except InvalidStore:
                continue  # real files do not need it
            if entry is not None and entry.description.beside:
                yield entry.description


def _looked_for(request: Request, real: Sequence[Description]) -> Request:
    """What a distribution needs that the libraries of real files look for."""
    for each in real:
        if _looks_for(each, request.entry.description):
            reason = (
                f"the libraries of {each.name}, which is real files, look for its own"
            )
            return _as_real(request, reason)
    return request


def _real_twins(entry: Entry, site: Path) -> Iterator[str]:
    """Files of the entry that are in site-packages as real files."""
    here = os.path.join(site, "")
    links = [link for link in entry.description.links if os.path.lexists(here + link)]
    if links:
        for row in record.parse(entry.record):
            if row.path.startswith(tuple(links)) and os.path.lexists(site / row.path):
                yield row.path


def _linked(environment: Environment, without: Collection[str]) -> Iterator[Request]:
    """The linked distributions of an environment, to be placed as they are."""
    for site in environment.sites:
        with readable_manifests(site):
            found = manifest.read_linked(site, without)
        for each in found.values():
            entry = read_entry(each.entry)
            if entry is not None and (site / each.metadata / "RECORD").exists():
                yield _again(entry, site, each)


def _again(entry: Entry, site: Path, link: Manifest) -> Request:
    """The request that an installed distribution came from."""
    metadata = site / link.metadata
    try:
        direct_url = (metadata / "direct_url.json").read_text("utf-8")
    except FileNotFoundError:
        direct_url = None
    requested = (metadata / "REQUESTED").exists()
    return Request(entry, requested=requested, direct_url=direct_url)


def _together(requests: Sequence[Request]) -> list[Request]:
    """Real files and what they need of each other's libraries are all real files."""
    found = list(requests)
    pending = [each for each in found if each.mode is not LinkMode.MANIFEST]
    while pending:
        real = pending.pop().entry.description
        for number, each in enumerate(found):
            if each.mode is LinkMode.MANIFEST and _need(real, each.entry.description):
                reason = f"its libraries and those of {real.name} look for each other"
                found[number] = _as_real(each, reason)
                pending.append(found[number])
    return found


def _need(one: Description, other: Description) -> bool:
    """Whether the libraries of one of the two look for the other's."""
    return _looks_for(one, other) or _looks_for(other, one)


def _looks_for(one: Description, other: Description) -> bool:
    return any(
        f"{folder}/".startswith(link) or link.startswith(f"{folder}/")
        for folder in one.beside
        for link in other.links
    )


def _changed(before: Sequence[Request], after: Sequence[Request]) -> Iterator[Request]:
    for old, new in zip(before, after, strict=True):
        if new.mode is not old.mode:
            yield new
