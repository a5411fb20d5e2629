"""What a distribution that goes takes with it. Planned, not removed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from commonwheel import bytecode, manifest, record
from commonwheel.environment import Environment
from commonwheel.errors import InvalidEnvironment


@dataclass(frozen=True)
class Removal:
    """What a distribution that is replaced or uninstalled leaves behind for removal."""

    name: str
    version: str
    site: Path
    dist_info: Path
    paths: tuple[Path, ...]
    """Files and links that nothing in the plan writes again; some may not exist."""


def plan_removals(names: Collection[str], environment: Environment) -> Iterator[Removal]:
    """The distributions ``names`` (normalized) that ``environment`` holds.

    :raises InvalidEnvironment: one of them cannot be removed
    """
    for site in environment.sites:
        for folder in sorted(os.listdir(site)) if site.is_dir() else ():
            stem, kind = os.path.splitext(folder)
            name, _, version = stem.rpartition("-")
            if kind != ".dist-info":
                name = stem.partition("-")[0]  # NAME-VERSION-pyX.Y.egg-info
            if canonicalize_name(name) not in names:
                continue
            if kind == ".dist-info":
                try:
                    paths = tuple(_removable(site, folder, environment))
                except InvalidEnvironment:
                    if (site / folder).exists():
                        raise
                    continue  # somebody else has removed it since it was listed
                yield Removal(
                    canonicalize_name(name), version, site, site / folder, paths
                )
            elif kind in (".egg-info", ".egg-link"):
                reason = f"{folder} has no RECORD, so it cannot be removed"
                raise InvalidEnvironment(site, f"{reason}; uninstall {name} first")


def _removable(site: Path, dist_info: str, environment: Environment) -> Iterator[Path]:
    """What the RECORD of an installed distribution lists, as far as it is its to remove.

    A row is never followed through a link, nor out of the environment. The folder of
    each path is free of links.
    """
    path = site / dist_info / "RECORD"
    try:
        listed = record.paths(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = f"{dist_info} has no readable RECORD, so it cannot be removed ({error})"
        raise InvalidEnvironment(site, reason) from error
    roots, real_site = environment.roots, os.path.realpath(site)
    metadata = os.path.join(real_site, dist_info, "")
    real: dict[str, str] = {}
    view = os.path.join(site, manifest.VIEW, "") if _is_linked(site, listed) else None
    for row in listed:
        if view and os.path.lexists(view + row) and os.path.lexists(site / row):
            continue  # a linked distribution has no file there: it is another one's
        # The row says how to get there from the path of site-packages, not through it.
        folder, name = os.path.split(os.path.normpath(os.path.join(site, row)))
        if folder not in real:
            real[folder] = os.path.join(os.path.realpath(folder), "")
        if real[folder].startswith(roots) and not real[folder].startswith(metadata):
            yield Path(real[folder], name)
            if name.endswith(".py"):
                yield Path(real[folder], bytecode.path_of(name, environment.cache_tag))


def _is_linked(site: Path, listed: list[str]) -> bool:
    """Whether a distribution with these rows is links in the view."""
    for row in listed:
        if row.startswith(f"{manifest.LINKS}/"):
            try:
                return manifest.decode((site / row).read_bytes()).is_linked
            except (OSError, ValueError):
                return False
    return False
