"""Overlap: real files that a distribution has in common with another one.

Of links :mod:`commonwheel.view` knows. A real file is found before a link, and the one
that was written last is the one that there is.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from commonwheel import manifest, record
from commonwheel.environment import Environment
from commonwheel.installation import Installation, RealFile
from commonwheel.link_mode import LinkMode
from commonwheel.removal import Removal


def of_real_files(
    installations: Sequence[Installation],
    removals: Sequence[Removal],
    environment: Environment,
) -> Iterator[tuple[str, str, str]]:
    """Files that are not the same: path, who has it now, who will have it.

    :raises OSError: a file that both have cannot be read
    """
    real = [each for each in installations if each.mode is not LinkMode.MANIFEST]
    yield from _among(real)
    gone = {removal.name for removal in removals}
    for site in environment.sites:
        here = [each for each in real if each.site == site]
        there = [
            (path, each.name)
            for each in here
            for path, file in _files(each)
            if _differs(file, site / path, site / manifest.VIEW / path)
        ]
        owners = _owners(site, gone) if there else {}
        yield from ((path, owners[path], name) for path, name in there if path in owners)


def of_other_files(
    installations: Sequence[Installation],
    removals: Sequence[Removal],
    environment: Environment,
) -> Iterator[tuple[str, str, str]]:
    """Scripts, headers and data that something else is in the place of.

    Its path, who has it now (nobody: ""), who will have it.

    :raises OSError: it cannot be read
    """
    replaced = {path for removal in removals for path in removal.paths}
    gone = {removal.name for removal in removals}
    owners: dict[Path, dict[str, str]] = {}
    planned: dict[Path, tuple[str, RealFile]] = {}
    for each in installations:
        site = os.path.join(each.site, "")
        for file in each.files:
            path = Path(os.path.realpath(file.path.parent), file.path.name)
            if str(file.path).startswith(site):
                continue
            earlier = planned.get(path)
            planned[path] = (each.name, file)
            if earlier is not None and _content(earlier[1]) != _content(file):
                yield str(file.path), earlier[0], each.name
            elif path.is_file() and path not in replaced:
                if path.read_bytes() == _content(file):
                    continue
                if each.site not in owners:
                    owners[each.site] = _owners(each.site, gone)
                row = os.path.relpath(file.path, each.site).replace(os.sep, "/")
                yield str(file.path), owners[each.site].get(row, ""), each.name


def _content(file: RealFile) -> bytes:
    if file.content is not None:
        return file.content
    assert file.source is not None
    return file.source.read_bytes()


def _among(installations: Sequence[Installation]) -> Iterator[tuple[str, str, str]]:
    planned: dict[Path, tuple[str, Path]] = {}
    for each in installations:
        for path, file in _files(each):
            assert file.source is not None
            earlier = planned.get(file.path)
            if earlier and not filecmp.cmp(file.source, earlier[1], shallow=False):
                yield path, earlier[0], each.name
            planned[file.path] = (each.name, file.source)


def _files(installation: Installation) -> Iterator[tuple[str, RealFile]]:
    """The wheel's own files in site-packages, with their paths as in RECORD."""
    site = os.path.join(installation.site, "")
    for file in installation.files:
        path = str(file.path)
        if file.source and not file.compiled_from and path.startswith(site):
            yield path.removeprefix(site).replace(os.sep, "/"), file


def _differs(file: RealFile, *places: Path) -> bool:
    """Whether something else than ``file`` is at one of ``places``."""
    assert file.source is not None
    return any(
        os.path.isfile(place) and not filecmp.cmp(file.source, place, shallow=False)
        for place in places
    )


def _owners(site: Path, without: set[str]) -> dict[str, str]:
    """Which distribution lists a path in its RECORD; links are listed as files are."""
    found: dict[str, str] = {}
    for folder in sorted(os.listdir(site)):
        stem, kind = os.path.splitext(folder)
        name = canonicalize_name(stem.rpartition("-")[0])
        if kind == ".dist-info" and name not in without:
            try:
                text = (site / folder / "RECORD").read_text("utf-8")
                found.update(dict.fromkeys(record.paths(text), name))
            except (OSError, ValueError):
                continue  # without a readable one its files are nobody's
    return found
