"""Usage: who holds which entries of a store, and what nobody holds.

It is found out by looking, and changes nothing. Environments do not say that they go
(``rm -rf``), so that one is not there is noticed when somebody looks; from then on what
it alone held is unused, and kept for a while: what is missing may have been moved, or be
restored, or be on a disk that is not mounted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from commonwheel.registry import Registry
from commonwheel.root import Root
from commonwheel.sight import Sight, State
from commonwheel.store import Store

HOUR = 3600.0
DAY = 24 * HOUR
GRACE = HOUR
"""Seconds that an unused entry is kept, if nothing else is said."""
PATIENCE = 30 * DAY
"""Seconds that an environment counts whose disk is not there."""


@dataclass(frozen=True)
class Holder:
    """An environment that is registered, and what was seen of it."""

    root: Root
    sight: Sight
    missing: float | None
    """Since when it has not been there, as far as somebody has looked before."""

    @property
    def is_away(self) -> bool:
        """Whether it is not there to be looked at."""
        return self.sight.state in (State.UNREACHABLE, State.GONE)

    def is_live(self, now: float) -> bool:
        """Whether what it holds has to stay."""
        if self.sight.state is State.UNREACHABLE:
            return age(self.missing, now) < PATIENCE
        return self.sight.state is not State.GONE


@dataclass(frozen=True)
class Unused:
    """An entry that no environment holds."""

    name: str
    bytes: int
    inodes: int
    since: float
    """When that was noticed first, by the clock of the store's filesystem."""
    last: tuple[Path, ...]
    """The environments that held it and are not there any more, as far as is known."""


@dataclass(frozen=True)
class Usage:
    """Who held which entries of a store at one time."""

    now: float
    """That time, by the clock of the store's filesystem."""
    holders: tuple[Holder, ...]
    sizes: Mapping[str, tuple[int, int]]
    """Of each entry: bytes, inodes."""
    noted: Mapping[str, float]
    """The entries that were noted as unused before, and since when."""

    def unused(self, without: Collection[str] = ()) -> Iterator[Unused]:
        """The entries that nobody holds, by name.

        The environments ``without`` (their identifiers) do not count.
        """
        live: set[str] = set()
        last: dict[str, list[Path]] = {}
        for each in self.holders:
            if each.root.id not in without and each.is_live(self.now):
                live.update(each.sight.entries)
            else:
                for name in each.sight.entries:
                    last.setdefault(name, []).append(each.root.environment)
        for name in sorted(self.sizes.keys() - live):
            since = min(self.noted.get(name, self.now), self.now)
            yield Unused(name, *self.sizes[name], since, tuple(last.get(name, ())))


def survey(
    store: Store, now: float, look: Callable[[Registry, Root], Sight], *, noting: bool
) -> Usage:
    """Look at all that ``store`` has and who holds it, while nothing is collected.

    ``look`` is :meth:`Registry.look`, or :meth:`Registry.glance`; ``noting`` allows what
    is found out about sizes to be noted.

    :raises InvalidRegistry: what one environment needs is not known
    :raises InvalidStore: the store cannot be read
    :raises OSError: the store cannot be read
    """
    registry = store.registry
    holders = tuple(
        Holder(root, look(registry, root), registry.missing_since(root))
        for root in registry.roots()
    )
    sizes = store.sizes(store.identifiers(), noting=noting)
    return Usage(now, holders, sizes, store.disposal.unused())


def age(since: float | None, now: float) -> float:
    """Seconds since then; none if that was never, or is yet to come (a clock was set)."""
    return 0.0 if since is None else max(0.0, now - since)


def belongs_to(root: Root, folder: Path) -> bool:
    """Whether an environment is below ``folder``."""
    above = os.path.join(os.path.realpath(folder), "")
    return str(root.sites[0]).startswith(above)  # the others may be names with links
