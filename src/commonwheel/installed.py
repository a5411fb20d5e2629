"""What an environment holds: its distributions, linked or not. Changes nothing.

Follows https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from commonwheel import manifest, record
from commonwheel.environment import Environment
from commonwheel.manifest import Manifest

_NAME = re.compile(r"[A-Za-z0-9]")
"""How the name of a distribution begins; ``~`` is what pip has left of one."""
_MENDING = ("pip", "commonwheel")


@dataclass(frozen=True)
class Installed:
    """A distribution in an environment."""

    name: str
    """Normalized."""
    version: str
    """As its folder is named; empty if that does not say it."""
    metadata: Path
    """Its ``.dist-info`` folder, or what an old setuptools has in its place."""

    @property
    def link(self) -> Manifest | None:
        """The manifest of its link, or None without one that is in force."""
        site = self.metadata.parent
        try:
            found = manifest.decode((site / manifest.path_of(self.name)).read_bytes())
            rows = record.paths((self.metadata / "RECORD").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if found.metadata != self.metadata.name or found.path not in rows:
            return None
        return found

    @property
    def direct_url(self) -> Mapping[str, Any] | None:
        """Its ``direct_url.json`` (:pep:`610`) or None; empty if that is damaged."""
        try:
            found = json.loads((self.metadata / "direct_url.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def read(environment: Environment) -> dict[str, list[Installed]]:
    """The distributions in ``environment`` by name; more than one is a mistake of others.

    :raises OSError: a site-packages folder cannot be read
    """
    found: dict[str, list[Installed]] = {}
    for site in environment.sites:
        for each in _in_folder(site):
            found.setdefault(each.name, []).append(each)
    return found


def _in_folder(site: Path) -> Iterator[Installed]:
    for file in sorted(os.listdir(site)) if site.is_dir() else ():
        stem, kind = os.path.splitext(file)
        if kind in (".dist-info", ".egg-info", ".egg-link") and _NAME.match(stem):
            # NAME-VERSION.dist-info, NAME-VERSION-pyX.Y.egg-info, NAME.egg-link
            name, version, *_ = (*stem.split("-"), "")
            if kind == ".dist-info":
                name, _, version = stem.rpartition("-")
            yield Installed(canonicalize_name(name), version, site / file)


def needed_to_mend(environment: Environment, names: Collection[str]) -> set[str]:
    """The distributions that have to work in ``environment`` when the store is gone.

    That is pip, and, if it is among ``names`` (normalized), commonwheel with all that it
    requires.
    """
    if "commonwheel" not in names:
        return {"pip"}
    folders = [str(site) for site in environment.sites]
    variables = {**environment.markers, "extra": ""}
    found: set[str] = set()
    pending: list[str] = [*_MENDING]
    while pending:
        name = canonicalize_name(pending.pop())
        if name not in found:
            found.add(name)
            for requirement in _requirements(name, folders):
                marker = requirement.marker
                if marker is None or marker.evaluate(variables):
                    pending.append(requirement.name)
    return found


def _requirements(name: str, folders: list[str]) -> Iterator[Requirement]:
    """What a distribution requires: the installed one, or else the one that runs here."""
    there = next(iter(metadata.distributions(name=name, path=folders)), None)
    try:
        wanted = there.requires if there is not None else metadata.requires(name)
    except metadata.PackageNotFoundError:
        return
    yield from map(Requirement, wanted or ())
