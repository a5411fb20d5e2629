"""Repair: what is missing or damaged is made anew, of what is vouched for elsewhere.

What is wrong is found as by :mod:`commonwheel.integrity` and
:mod:`commonwheel.linkage`. An entry is made anew of its own sound files, if only what was
added or compiled is wrong with it; else of a sound one in another store, or of its wheel,
whose full sha256 is compared, from wherever it can be had. It is swapped in one step, so
who imports from it never misses it. Then the environment's distributions that are not
whole are linked again, and what names a place that it was moved from names the new one.
What is right is left alone; so are real files that were edited.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from commonwheel import holdings, installed, linkage
from commonwheel.damage import Damage, Fault
from commonwheel.environment import Environment
from commonwheel.install import Progress
from commonwheel.maintenance.mending import (
    damaged_entries,
    environments,
    former_place,
    links,
)
from commonwheel.maintenance.mending.entries import Mending
from commonwheel.maintenance.mending.plan import Again, Broken, Outcome, RepairPlan
from commonwheel.maintenance.mending.sources import Sources
from commonwheel.manifest import Manifest
from commonwheel.store import Store

CHECKING = "verifying"


def plan_store(
    store: Store, progress: Progress = lambda task, done, total: None
) -> RepairPlan:
    """What is wrong with a chain of stores; reads everything.

    :raises InvalidStore: a store cannot be read
    :raises InvalidRegistry: it is not known who holds its entries
    """
    broken: list[Broken] = []
    hopeless: list[tuple[str, str]] = []
    for each in (store, *store.below):
        held = holdings.of_store(each)
        wanted = {n for n, h in held.items() if any(o.manifest.is_linked for o in h)}
        names = sorted({*each.identifiers(), *wanted})
        for number, name in enumerate(names):
            progress(CHECKING, number, len(names))
            root = each.folder_of(name)
            holding = [(other.site, other.manifest) for other in held.get(name, ())]
            damages = damaged_entries.damages_of(root, [link for _, link in holding])
            if not damages:
                continue
            if not holding and damages[0].fault is Fault.ADDED and not damages[0].path:
                hopeless.append((str(damages[0]), f"remove {root}"))
            else:
                broken.append(damaged_entries.describe(root, damages, holding))
    return RepairPlan(tuple(broken), hopeless=tuple(hopeless))


def plan_environment(
    environment: Environment,
    *,
    undo_edits: bool = False,
    older: bool = False,
    progress: Progress = lambda task, done, total: None,
) -> RepairPlan:
    """What is wrong with an environment, and the entries that it links to.

    ``undo_edits``: real files that were edited count as damaged. ``older``: what it had
    for an older Python is wanted for the one that it has now; as it is if nothing is
    linked for that yet.

    :raises OSError: the environment cannot be read
    """
    found = linkage.by_distribution(linkage.inspect(environment))
    of_nobody = found.pop("", [])
    present = list(links.present(environment))
    again = {each.manifest.name: each for each in present}
    sorted_out = _Sorted(environment, again)
    for name, damages in found.items():
        sorted_out.add(name, damages, undo_edits)
    wrong = sorted_out.wrong
    if older or not present:
        left_behind, unfit = links.of_older_python(environment, set(again))
        sorted_out.hopeless += unfit
        wrong |= {each.manifest.name: each for each in left_behind}
    held = _held([*present, *wrong.values()], wrong)
    left = [each for each in of_nobody if each.fault is Fault.ADDED]
    return RepairPlan(
        entries=tuple(_broken(held, progress)),
        again=tuple(links.in_order(environment, wrong, again)),
        renew=tuple(each for each in of_nobody if each.fault is not Fault.ADDED),
        left=(*left, *sorted_out.left),
        hopeless=tuple(sorted_out.hopeless),
        kept=tuple(sorted_out.kept),
        former=former_place.find(environment),
    )


def carry_out(
    plan: RepairPlan,
    environment: Environment | None,
    store: Store,
    sources: Sources,
    progress: Progress = lambda task, done, total: None,
) -> Outcome:
    """Mend what ``plan`` names; ``environment`` is the one it is of, if it is one's.

    What fails is told in the outcome; the rest is mended all the same.
    """
    outcome = Outcome(broken=list(plan.hopeless))
    outcome.remarks += [f"{each}; it stays" for each in plan.kept]
    mending = Mending(plan.entries, environment, store, sources, outcome, progress)
    entries = mending.run()
    if environment is not None:
        environments.mend(plan, environment, store, entries, outcome)
        former_place.renew(plan.former, environment, outcome, store.patience)
    outcome.remarks += mending.with_hard_links()
    return outcome


class _Sorted:
    """The damages of an environment's distributions, by what can be done about them."""

    def __init__(self, environment: Environment, again: Mapping[str, Again]) -> None:
        self._environment = environment
        self._again = again
        self.wrong: dict[str, Again] = {}
        self.left: list[Damage] = []
        self.hopeless: list[tuple[str, str]] = []
        self.kept: list[Damage] = []

    def _pinned(self, name: str) -> str:
        """The distribution as it is to be had again: of no other version."""
        found = installed.read(self._environment).get(name)
        return f"{name}=={found[0].version}" if found else name

    def add(self, name: str, damages: Sequence[Damage], undo_edits: bool) -> None:
        """Those of the distribution ``name``."""
        edited = [d for d in damages if d.fault is Fault.EDITED and not undo_edits]
        others = [d for d in damages if d not in edited]
        self.kept += edited
        if not others:
            return
        if all(each.fault is Fault.ADDED for each in others):
            self.left += others
        elif name not in self._again:
            way_out = linkage.reinstall(self._environment, self._pinned(name))
            self.hopeless.append((str(others[0]), way_out))
        elif edited:
            version = self._again[name].manifest.version
            way_out = linkage.reinstall(self._environment, f"{name}=={version}")
            reason = f"{others[0]}; other files of it were edited, and would be lost"
            self.hopeless.append((reason, f"--undo-edits, or {way_out}"))
        else:
            self.wrong[name] = replace(self._again[name], damages=tuple(others))


def _held(
    there: Iterable[Again], wrong: Collection[str]
) -> dict[Path, list[tuple[Path, Manifest]]]:
    """The entries that have to be sound for what is there, and who links to them."""
    found: dict[Path, list[tuple[Path, Manifest]]] = {}
    for each in there:
        link = each.manifest
        if holdings.uses_entry(link) or link.name in wrong:
            held = found.setdefault(link.entry, [])
            if (each.site, link) not in held:
                held.append((each.site, link))
    return found


def _broken(
    held: Mapping[Path, Sequence[tuple[Path, Manifest]]], progress: Progress
) -> Iterator[Broken]:
    """The entries that are not."""
    for number, (root, holding) in enumerate(held.items()):
        progress(CHECKING, number, len(held))
        damages = damaged_entries.damages_of(root, [link for _, link in holding])
        if damages:
            yield damaged_entries.describe(root, damages, holding)
