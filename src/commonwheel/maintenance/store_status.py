"""Status of a store: who uses it, what it takes, and what that saves. Changes nothing.

It goes by what the store has noted, and looks into no environment.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from commonwheel.link_mode import LinkMode
from commonwheel.registry import Registry
from commonwheel.sight import State
from commonwheel.store import Store
from commonwheel.usage import GRACE, Holder, age, survey


@dataclass(frozen=True)
class Amount:
    """What something takes on disk."""

    entries: int = 0
    """How many entries it is of; one that is there twice counts twice."""
    bytes: int = 0
    inodes: int = 0


@dataclass(frozen=True)
class RegisteredEnvironment:
    """An environment that uses a store."""

    path: Path
    state: State
    reason: str
    """Why it could not be looked at."""
    changed: float | None
    """When it was last installed into, in seconds since the epoch, as far as is known."""
    missing: float | None
    """Since when it has not been there, if a collection has noticed that."""
    linked: Amount
    """What it has as links, and would have as copies."""
    real: int
    """How many entries it has as real files, which it does not need."""


@dataclass(frozen=True)
class StoreStatus:
    """Who uses a store, what it takes, and what that saves."""

    path: Path
    now: float
    environments: tuple[RegisteredEnvironment, ...]
    """The largest ones first."""
    stored: Amount
    used: Amount
    """Of that, what environments hold."""
    copies: Amount
    """What environments have as links, were each of them to have a copy."""
    free: Amount
    """What a collection would free now, at its defaults."""

    @property
    def bytes_saved(self) -> int:
        """That copies would take and the store does not; less than none is none."""
        return max(0, self.copies.bytes - self.stored.bytes)

    @property
    def inodes_saved(self) -> int:
        """That copies would take and the store does not; less than none is none."""
        return max(0, self.copies.inodes - self.stored.inodes)


def store_status(store: Store) -> StoreStatus:
    """Who uses ``store``, what it takes, and what that saves.

    :raises InvalidRegistry: what one environment holds is not known
    :raises InvalidStore: the store cannot be read
    """
    now = time.time()
    usage = survey(store, now, Registry.glance, noting=False)
    environments = [_describe(each, usage.sizes, store) for each in usage.holders]
    environments.sort(key=lambda each: (-each.linked.bytes, each.path))
    unused = list(usage.unused())
    idle = {each.name for each in unused}
    ripe = [each for each in unused if age(each.since, now) >= GRACE]
    return StoreStatus(
        path=store.root,
        now=now,
        environments=tuple(environments),
        stored=_sum(usage.sizes.values()),
        used=_sum(size for name, size in usage.sizes.items() if name not in idle),
        copies=_sum(
            size
            for each in usage.holders
            if each.is_live(now)
            for size in _links(each, usage.sizes)
        ),
        free=_sum((each.bytes, each.inodes) for each in ripe),
    )


Sizes = Mapping[str, tuple[int, int]]


def _describe(holder: Holder, sizes: Sizes, store: Store) -> RegisteredEnvironment:
    modes = holder.sight.entries.values()
    return RegisteredEnvironment(
        path=holder.root.environment,
        state=holder.sight.state,
        reason=holder.sight.reason,
        changed=store.registry.changed(holder.root),
        missing=holder.missing,
        linked=_sum(_links(holder, sizes)),
        real=sum(mode is not LinkMode.MANIFEST for mode in modes),
    )


def _links(holder: Holder, sizes: Sizes) -> Iterator[tuple[int, int]]:
    """The sizes of the entries that an environment links to, of those that are there."""
    for name, mode in holder.sight.entries.items():
        if mode is LinkMode.MANIFEST and name in sizes:
            yield sizes[name]


def _sum(sizes: Iterable[tuple[int, int]]) -> Amount:
    entries = total = inodes = 0
    for size, number in sizes:
        entries += 1
        total += size
        inodes += number
    return Amount(entries, total, inodes)
