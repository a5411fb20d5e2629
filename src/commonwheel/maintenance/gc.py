"""Collecting garbage: what no environment holds goes, when it has been so for a while.

Survey, plan, carry out: as long as nobody else is in the store. What is taken out is then
renamed already, and removed when others may come in again. However a collection ends, an
entry is there as a whole or not at all, and the next collection goes on.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from commonwheel import files
from commonwheel.errors import InvalidSetting, NothingRegistered
from commonwheel.registry import Registry
from commonwheel.sight import State
from commonwheel.store import Store
from commonwheel.usage import (
    DAY,
    GRACE,
    PATIENCE,
    Holder,
    Unused,
    Usage,
    age,
    belongs_to,
    survey,
)

RUNS = 30 * DAY
"""Seconds that an environment for running programs is kept unused, if nothing is said."""

Progress = Callable[[str, int, int], object]
_OF_OTHERS = (PermissionError, IsADirectoryError)
"""What becomes of a note where another member of a team has put something."""


@dataclass(frozen=True)
class Rules:
    """What is collected. Times are in seconds, sizes in bytes."""

    grace: float = GRACE
    """An entry is kept until it has been unused for so long."""
    older_than: float | None = None
    """What has been unused for so long goes, and nothing else."""
    max_size: int | None = None
    """Of the rest no more goes than has to, until the store is not larger than that."""
    forget: tuple[Path, ...] = ()
    """Environments that do not count any more, though they may come back."""
    everything: bool = False
    """Whether that no environment is registered means that nothing is used."""


@dataclass(frozen=True)
class Kept:
    """An entry that nobody holds, and that stays."""

    entry: Unused
    until: float | None
    """When it may go; None: as soon as the store is too large."""


@dataclass(frozen=True)
class Plan:
    """What is to be done to a store; frozen, so that it can be shown instead."""

    now: float
    holders: tuple[Holder, ...] = ()
    """All environments that are registered."""
    used: int = 0
    """How many entries stay because environments hold them."""
    free: tuple[Unused, ...] = ()
    kept: tuple[Kept, ...] = ()
    note: tuple[str, ...] = ()
    """Entries to be noted as unused from now on."""
    taken_back: tuple[str, ...] = ()
    """Entries that were noted as unused, and are used."""
    missing: tuple[Holder, ...] = ()
    """Environments that are not there, seen for the first time."""
    runs: tuple[Path, ...] = ()
    """Environments for running programs that go."""
    forgotten: tuple[Holder, ...] = ()
    """Environments that are taken off the list."""

    @property
    def out_of_sight(self) -> tuple[Holder, ...]:
        """Environments that could not be looked at, and count all the same."""
        forgotten = {each.root.id for each in self.forgotten}
        return tuple(
            each
            for each in self.holders
            if each.sight.state in (State.UNREACHABLE, State.UNREADABLE)
            and each.root.id not in forgotten
        )

    def kept_until(self, holder: Holder) -> float | None:
        """When an environment that is not there is forgotten; None if it never is."""
        if holder.sight.state is not State.UNREACHABLE:
            return None
        return min(holder.missing or self.now, self.now) + PATIENCE


@dataclass(frozen=True)
class Collected:
    """What was planned, and what became of it."""

    plan: Plan
    left: tuple[Path, ...] = ()
    """What could not be taken out, or removed; the next collection tries again."""


def preview(store: Store, rules: Rules) -> Plan:
    """What :func:`collect` would do now. Changes nothing of what is held.

    :raises InvalidRegistry: what one environment needs is not known
    :raises NothingRegistered: no environment is, so nothing is known to be used
    :raises InvalidStore: the store cannot be read
    :raises InvalidSetting: an environment to forget is not registered, or is there
    """
    with store.in_use():
        usage = survey(store, time.time(), Registry.look, noting=False)
        return make_plan(usage, rules, store)


def collect(
    store: Store,
    rules: Rules,
    *,
    patience: float = 30.0,
    progress: Progress = lambda task, done, total: None,
) -> Collected:
    """Take out of ``store`` what is not used; waits ``patience`` seconds for others.

    :raises StoreBusy: somebody used the store all the time
    :raises InvalidRegistry: what one environment needs is not known; nothing was changed
    :raises NothingRegistered: no environment is, so nothing is known to be used
    :raises InvalidStore: the store cannot be read, or written
    :raises InvalidSetting: an environment to forget is not registered, or is there
    """
    with store.alone(patience):
        now = store.disposal.now()
        usage = survey(store, now, Registry.look, noting=True)
        plan = make_plan(usage, rules, store)
        refused = _carry_out(plan, store)
        store.bury_leftovers(now - min(rules.grace, DAY))
        store.tidy_notes()
        buried = store.disposal.trash()
    free = tuple(each for each in plan.free if each.name not in refused)
    left = (*map(store.folder_of, refused), *_remove(buried, progress))
    return Collected(replace(plan, free=free), left)


def make_plan(usage: Usage, rules: Rules, store: Store) -> Plan:
    """What is to be done, by what was seen.

    :raises NothingRegistered: no environment is, so nothing is known to be used
    :raises InvalidSetting: an environment to forget is not registered, or is there
    """
    if not usage.holders and usage.sizes.keys() - usage.noted and not rules.everything:
        raise NothingRegistered(store.root, len(usage.sizes))
    now = usage.now
    runs = tuple(_old_runs(store.runs, now, rules))
    given_up = {each.root.id for each in _named(usage.holders, rules.forget)}
    for each in usage.holders:
        if any(belongs_to(each.root, run) for run in runs):
            given_up.add(each.root.id)
    unused = tuple(usage.unused(without=given_up))
    free = _due(unused, usage, rules)
    names = {each.name for each in free}
    return Plan(
        now=now,
        holders=usage.holders,
        used=len(usage.sizes) - len(unused),
        free=free,
        kept=tuple(
            Kept(each, _until(each, now, rules))
            for each in unused
            if each.name not in names
        ),
        # also what is noted for a time that is yet to come: a clock was set back
        note=tuple(e.name for e in unused if usage.noted.get(e.name, math.inf) > now),
        taken_back=tuple(sorted(usage.noted.keys() - {each.name for each in unused})),
        missing=tuple(
            each
            for each in usage.holders
            if each.is_away and (each.missing or math.inf) > now
        ),
        runs=runs,
        forgotten=tuple(
            each
            for each in usage.holders
            if each.root.id in given_up or _is_over(each, now, rules)
        ),
    )


def _due(unused: Iterable[Unused], usage: Usage, rules: Rules) -> tuple[Unused, ...]:
    """The entries that go, those first that have been unused for the longest time."""
    ripe = sorted(
        (each for each in unused if age(each.since, usage.now) >= rules.grace),
        key=lambda each: (each.since, each.name),
    )
    if rules.older_than is None and rules.max_size is None:
        return tuple(ripe)
    size = sum(size for size, _ in usage.sizes.values())
    found: list[Unused] = []
    for each in ripe:
        limit = rules.older_than
        is_old = limit is not None and age(each.since, usage.now) >= limit
        if is_old or (rules.max_size is not None and size > rules.max_size):
            found.append(each)
            size -= each.bytes
    return tuple(found)


def _until(entry: Unused, now: float, rules: Rules) -> float | None:
    if age(entry.since, now) < rules.grace:
        return entry.since + max(rules.grace, rules.older_than or 0.0)
    return None if rules.older_than is None else entry.since + rules.older_than


def _is_over(holder: Holder, now: float, rules: Rules) -> bool:
    """Whether nothing depends any more on that an environment is on the list."""
    if holder.sight.state is State.PRESENT:
        return not holder.sight.entries  # made anew, or all is uninstalled
    if holder.sight.state is State.GONE:
        return age(holder.missing, now) >= rules.grace
    return not holder.is_live(now)


def _named(holders: Iterable[Holder], forget: Iterable[Path]) -> Iterator[Holder]:
    by_path: dict[str, list[Holder]] = {}
    for each in holders:
        for path in {each.root.environment, *each.root.sites}:
            by_path.setdefault(os.path.realpath(path), []).append(each)
    for path in forget:
        found = by_path.get(os.path.realpath(path))
        if found is None:
            reason = "no environment is registered under that path"
            raise InvalidSetting("--forget", str(path), reason)
        if any(each.sight.state is State.PRESENT for each in found):
            reason = "that environment is there, and needs what it links to; remove it"
            raise InvalidSetting("--forget", str(path), reason)
        yield from found


def _old_runs(folder: Path, now: float, rules: Rules) -> Iterator[Path]:
    """The environments for running programs that have not been used for long."""
    limit = RUNS if rules.older_than is None else rules.older_than
    try:
        found = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for each in found:
        used = each / "used"
        is_used = used.exists()
        since = os.lstat(used if is_used else each).st_mtime
        # one that was never used is being made, or whoever made it was killed
        least = limit if is_used else max(limit, DAY)
        if age(since, now) >= least and each.is_dir() and not each.is_symlink():
            yield each


def _carry_out(plan: Plan, store: Store) -> list[str]:
    """Do what was planned; returns the entries that somebody else has to take out.

    In the store of a team everybody takes out, and off the list, what is their own.
    Whatever stops it, doing it again is right.
    """
    disposal = store.disposal
    _note_holders(plan, store.registry)
    disposal.take_back(plan.taken_back)
    for name in plan.note:
        with suppress(*_OF_OTHERS):
            disposal.note(name)
    for run in plan.runs:
        with suppress(PermissionError):
            disposal.bury(run)
    refused: list[str] = []
    for entry in plan.free:
        try:
            disposal.take_out(entry.name)
        except PermissionError:
            refused.append(entry.name)
    # Only now: as long as an environment is on the list, it is known what it held.
    for each in plan.forgotten:
        with suppress(*_OF_OTHERS):
            store.registry.forget(each.root)
    return refused


def _note_holders(plan: Plan, registry: Registry) -> None:
    """Note which environments are there, and what they hold."""
    forgotten = {each.root.id for each in plan.forgotten}
    for each in plan.holders:
        if not each.is_away and each.root.id not in forgotten:
            if each.missing is not None:
                with suppress(*_OF_OTHERS):
                    registry.note_present(each.root)
            if each.sight.state is State.PRESENT:
                registry.settle(each.root, each.sight.entries)
    for each in plan.missing:
        with suppress(*_OF_OTHERS):
            registry.note_missing(each.root)


def _remove(buried: list[Path], progress: Progress) -> Iterator[Path]:
    """Remove what was taken out; what cannot be removed is left, and said."""
    for number, path in enumerate(buried):
        progress("removing", number, len(buried))
        try:
            files.remove(path)
        except FileNotFoundError:
            continue  # another collection removes the same
        except OSError:
            yield path
