"""Links that an environment has or had, as far as anything there tells of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from packaging.tags import parse_tag
from packaging.utils import canonicalize_name

from commonwheel import (
    holdings,
    installed,
    integrity,
    linkage,
    manifest,
    record,
    view,
)
from commonwheel.damage import Damage, Fault
from commonwheel.environment import Environment
from commonwheel.maintenance.mending.plan import Again
from commonwheel.manifest import Manifest


def present(environment: Environment) -> Iterator[Again]:
    """The distributions that are linked, those too whose manifest is damaged or lost."""
    for site in environment.sites:
        links, damaged = holdings.read_links(site)
        for link in links:
            if holdings.in_force(site, link) is not None:
                yield Again(site, link, ())
        lost = [manifest.name_of(row.path) for _, row in holdings.without_link(site)]
        for name in (*(each.distribution for each in damaged), *lost):
            rebuilt = _rebuilt(site, name)
            if rebuilt is not None:
                yield Again(site, rebuilt, ())


def _rebuilt(site: Path, name: str) -> Manifest | None:
    """A link manifest that was damaged or lost, by the links that are there."""
    for folder in sorted(os.listdir(site)):
        stem, kind = os.path.splitext(folder)
        if kind != ".dist-info" or canonicalize_name(stem.rpartition("-")[0]) != name:
            continue
        try:
            rows = record.paths((site / folder / "RECORD").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        for row in rows:
            path = site / row
            if row.startswith(f"{manifest.VIEW}/") and path.is_symlink():
                inside = Path(os.readlink(path)).parents
                root = next((p.parent for p in inside if p.name == "tree"), None)
                described = integrity.describe(root) if root is not None else None
                if described is not None and root is not None and described.name == name:
                    version, sha256 = described.version, described.sha256
                    return Manifest(name, version, root, sha256, folder)
    return None


def of_older_python(
    environment: Environment, there: Collection[str]
) -> tuple[list[Again], list[tuple[str, str]]]:
    """What the environment had for the Python that it was made with before.

    With what of that is not for the Python of now, and the way out.
    """
    sites = {os.path.realpath(site) for site in environment.sites}
    present = {*there, *installed.read(environment)}
    tags = set(environment.tags or ())
    found: list[Again] = []
    unfit: list[tuple[str, str]] = []
    for site in sorted(environment.scheme.data.glob("lib*/py*/site-packages")):
        if os.path.realpath(site) in sites:
            continue
        sites.add(os.path.realpath(site))
        for link in holdings.read_links(site)[0]:
            if link.name in present or holdings.in_force(site, link) is None:
                continue
            described = integrity.describe(link.entry)
            damage = Damage(site, link.path, Fault.MISSING, "for this Python", link.name)
            fitting = described.tags if described is not None else _tags(site, link)
            if tags.isdisjoint(fitting):
                way_out = linkage.reinstall(environment, f"{link.name}=={link.version}")
                said = f"{link.name} {link.version} is not for {environment}"
                unfit.append((said, way_out))
            else:
                found.append(Again(site, link, (damage,)))
    return found, unfit


def _tags(site: Path, link: Manifest) -> tuple[str, ...]:
    """What a distribution says of the Pythons that it is for, in WHEEL (:pep:`427`)."""
    text = text_of(site / link.metadata / "WHEEL") or ""
    found = [line.partition(":")[2] for line in text.splitlines() if line[:4] == "Tag:"]
    return tuple(str(tag) for each in found for tag in parse_tag(each.strip()))


def in_order(
    environment: Environment, wrong: Mapping[str, Again], all_links: Mapping[str, Again]
) -> list[Again]:
    """As they were linked before: of two with the same file the later one wins.

    With one goes whatever was linked after it and has hidden a file of it.
    """
    wanted = dict(wrong)
    for site in environment.sites:
        hidden = _hidden(site)
        for each in wrong.values():
            for row in rows_of(each.site / each.manifest.metadata):
                waiting = view.hidden_by(row.removeprefix(f"{manifest.VIEW}/"))
                if waiting is not None:
                    hidden.setdefault(waiting[0], set()).add(waiting[1])
        for place, names in hidden.items():
            path = site / manifest.VIEW / place
            target = os.readlink(path) if path.is_symlink() else ""
            if not names.isdisjoint(wanted):
                for name, each in all_links.items():
                    if target.startswith(f"{each.manifest.entry}{os.sep}"):
                        wanted.setdefault(name, each)
    return sorted(wanted.values(), key=_age)


def _hidden(site: Path) -> dict[str, set[str]]:
    """The places in the view that distributions wait for, and which ones do."""
    found: dict[str, set[str]] = {}
    shown = site / manifest.VIEW
    for current, _, names in os.walk(shown):
        for name in names:
            waiting = view.hidden_by(os.path.relpath(os.path.join(current, name), shown))
            if waiting is not None:
                found.setdefault(waiting[0], set()).add(waiting[1])
    return found


def _age(again: Again) -> float:
    try:
        return (again.site / again.manifest.path).stat().st_mtime
    except OSError:
        return 0.0


def rows_of(dist_info: Path) -> list[str]:
    """The paths that RECORD lists; none if it cannot be read."""
    try:
        return record.paths((dist_info / "RECORD").read_text("utf-8"))
    except (OSError, ValueError):
        return []


def text_of(path: Path) -> str | None:
    """The text of a file; None if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
