"""Holdings: which entries environments hold, as their link manifests say.

Changes nothing. Whether what a manifest says is so in the environment is said by
:mod:`commonwheel.linkage`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from commonwheel import manifest, record
from commonwheel.damage import Damage, Fault
from commonwheel.environment import Environment
from commonwheel.errors import explain
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.record import Row
from commonwheel.root import Root
from commonwheel.sight import State
from commonwheel.store import Store


@dataclass(frozen=True)
class Holding:
    """An entry that an environment holds."""

    environment: Path
    """What a person calls it."""
    site: Path
    """Of the link manifest."""
    manifest: Manifest

    def sees(self, path: str) -> bool:
        """Whether it sees a file of the entry, by its path in the entry's folder."""
        if self.manifest.is_linked:
            return True
        if self.manifest.mode is not LinkMode.HARDLINK:
            return False
        area, _, inner = path.partition("/")
        if area == "dist-info":
            inner = f"{self.manifest.metadata}/{inner}"
        try:
            return os.path.samefile(self.site / inner, self.manifest.entry / path)
        except OSError:
            return False


def of_store(store: Store) -> dict[str, list[Holding]]:
    """What environments hold of a store, by the names of the entries.

    As far as they can be read; those of other stores of a chain are not looked for.

    :raises InvalidRegistry: a record is damaged
    """
    found: dict[str, list[Holding]] = {}
    for root in store.registry.roots():
        if store.registry.look(root).state is State.PRESENT:
            for site, each in _manifests(root):
                if not _is_of(store, each.entry):
                    continue
                holding = Holding(root.environment, site, each)
                held = found.setdefault(each.entry.name, [])
                if all(other.site != site for other in held):
                    held.append(holding)
    return found


def _is_of(store: Store, entry: Path) -> bool:
    """Whether a manifest speaks of an entry of ``store``, not of another one.

    A store that was moved, or is seen under another path, is not where manifests say.
    """
    told = entry.parent.parent
    if os.path.realpath(told) == os.path.realpath(store.root):
        return True
    return not os.path.exists(told) and store.folder_of(entry.name).is_dir()


def _manifests(root: Root) -> Iterator[tuple[Path, Manifest]]:
    for site in root.sites:
        for each in read_links(site)[0]:
            yield site, each


def read_links(site: Path) -> tuple[list[Manifest], list[Damage]]:
    """The link manifests in a site-packages folder, and what is wrong with the others."""
    folder = site / manifest.LINKS
    found: list[Manifest] = []
    damages: list[Damage] = []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [Damage(site, manifest.LINKS, Fault.UNREADABLE, explain(error))]
    for name in names:
        if name.endswith(manifest.SUFFIX) and not name.startswith("."):
            about = f"{manifest.LINKS}/{name}", name.removesuffix(manifest.SUFFIX)
            try:
                found.append(manifest.decode((folder / name).read_bytes()))
            except (OSError, ValueError) as error:
                fault = Fault.UNREADABLE if isinstance(error, OSError) else Fault.DAMAGED
                damages.append(Damage(site, about[0], fault, str(error), about[1]))
    return found, damages


def without_link(site: Path) -> Iterator[tuple[Path, Row]]:
    """Distributions that count as linked, by RECORD, and are not: pip was killed.

    The ``.dist-info`` folder of each, and its row of the link manifest that is not there.
    """
    # what begins with a tilde pip was going to remove
    for path in sorted(site.glob("[!~]*.dist-info/RECORD")):
        try:
            rows = list(record.parse(path.read_text("utf-8")))
        except (OSError, ValueError):
            continue  # whoever installed it can say what is wrong with it
        for row in rows:
            is_link = row.path.startswith(f"{manifest.LINKS}/")
            if is_link and not os.path.lexists(site / row.path):
                yield path.parent, row


def entries_of(environment: Environment) -> list[Path]:
    """The folders of the entries that the environment does not work without.

    Of files of its own nothing is needed; of hard links the entry is, if it is there.
    """
    found: dict[Path, None] = {}
    for site in environment.sites:
        for each in read_links(site)[0]:
            if uses_entry(each) and in_force(site, each) is not None:
                found[each.entry] = None
    return list(found)


def uses_entry(link: Manifest) -> bool:
    """Whether an entry has to be sound for what links to it.

    Real files need none; but a hard link is a file of an entry, if that is still there,
    and not in a store that is hidden from who looks.
    """
    if link.mode is LinkMode.HARDLINK:
        return os.path.isdir(link.entry)
    return link.is_linked


def in_force(site: Path, link: Manifest) -> str | None:
    """What is wrong with the RECORD of a linked distribution; empty if nothing is.

    None: the link is not in force, another installation was written over it.
    """
    try:
        text = (site / link.metadata / "RECORD").read_text("utf-8")
        listed = [row.path for row in record.parse(text)]
    except FileNotFoundError:
        return None if _is_installed(site, link) else "it is missing"
    except OSError as error:
        return explain(error)
    except ValueError as error:
        return str(error)
    return "" if link.path in listed else None


def _is_installed(site: Path, link: Manifest) -> bool:
    """Whether the distribution of a link without a RECORD is there by another one."""
    for name in os.listdir(site):
        stem, kind = os.path.splitext(name)
        if kind != ".dist-info" or name == link.metadata:
            continue
        if canonicalize_name(stem.rpartition("-")[0]) == link.name:
            return True
    return False
