"""Strays: links in an environment whose distribution is gone, and what they have hidden.

``pip install --ignore-installed`` without the shared store writes over a linked
distribution, whose links are then in no RECORD; they would be seen again as soon as the
copied files are uninstalled. And pip does not remove a link that leads nowhere (of a
distribution whose store entry is missing), because it asks whether a file exists first;
such a link does no harm. Neither of them shows the files again that the distribution
has hidden, because it had files of the same names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from commonwheel import manifest, record, view
from commonwheel.apply import apply, changing, settle
from commonwheel.environment import Environment
from commonwheel.exclusion import Patience
from commonwheel.manifest import Manifest
from commonwheel.plan import plan_removal


def tidy(
    environment: Environment,
    patience: Patience = Patience(),  # noqa: B008  frozen
) -> None:
    """Remove the links in ``environment`` that no installed distribution owns.

    What they have hidden is shown again.

    :raises EnvironmentBusy: somebody else changed it all the time
    :raises ApplyFailed: the environment cannot be written
    :raises OSError: the environment cannot be read
    :raises ValueError: a manifest is damaged, so whose links are whose is not known
    """
    settle(environment, patience)
    # The lock is a file, so it is taken only where there is something to do.
    if any(True for site in environment.sites for _ in _strays(site)):
        with changing(environment, patience):
            for site in environment.sites:
                for path in list(_strays(site)):
                    _remove(path, site)
    restoration = plan_removal((), environment)
    if restoration.shown:
        with changing(environment, patience):
            apply(plan_removal((), environment), environment)


def _strays(site: Path) -> Iterator[Path]:
    manifests = manifest.read_all(site).values()
    installed = [each for each in manifests if each.path in _listed(site, each)]
    for each in manifests:
        if each not in installed:
            yield site / each.path
            # Only ours if the wheel had none; who wrote over the rest does not know it.
            top_level = f"{each.metadata}/top_level.txt"
            if top_level not in _listed(site, each) and (site / top_level).exists():
                yield site / top_level
    yield from _strays_of_view(
        site / manifest.VIEW,
        tuple(f"{each.entry}{os.sep}" for each in installed if each.is_linked),
        {view.marker(each.name) for each in installed if each.is_linked},
    )


def _strays_of_view(
    shown: Path, entries: tuple[str, ...], markers: set[str]
) -> Iterator[Path]:
    for current, folders, names in os.walk(shown):
        for name in (*folders, *names):
            path = os.path.join(current, name)
            if os.path.islink(path):
                if not _leads_into(path, entries):
                    yield Path(path)
            elif os.path.basename(current) == "__pycache__":
                source = f"{name.partition('.')[0]}.py"
                beside = os.path.join(os.path.dirname(current), source)
                if not _leads_into(beside, entries):
                    yield Path(path)
            elif view.is_marker(name) and name not in markers:
                yield Path(path)


def _leads_into(path: str, entries: tuple[str, ...]) -> bool:
    return os.path.islink(path) and os.readlink(path).startswith(entries)


def _listed(site: Path, each: Manifest) -> list[str]:
    """What the RECORD of a distribution lists."""
    try:
        return record.paths((site / each.metadata / "RECORD").read_text("utf-8"))
    except (OSError, ValueError):
        return []


def _remove(path: Path, site: Path) -> None:
    """Remove a file or link, and the folders that are empty then."""
    path.unlink()
    folder = path.parent
    while folder not in (site, site / manifest.VIEW) and not os.listdir(folder):
        folder.rmdir()
        folder = folder.parent
