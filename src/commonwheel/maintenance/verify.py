"""Verify: whether stores and environments are what they should be. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from commonwheel import holdings, integrity, linkage
from commonwheel.damage import Damage, Fault, Look, Reading
from commonwheel.environment import Environment
from commonwheel.errors import InvalidRegistry, InvalidStore
from commonwheel.holdings import Holding
from commonwheel.install import Progress
from commonwheel.reading import read
from commonwheel.store import Store

VERIFYING = "verifying"
_SEEN = frozenset({Fault.CHANGED, Fault.MISSING, Fault.ADDED})
"""What of an entry other environments see as well."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and who sees it."""

    damage: Damage
    seen_by: tuple[Path, ...] = ()
    """The environments that have this file of an entry, as far as they are known."""

    def __str__(self) -> str:
        seen = ", ".join(map(str, self.seen_by))
        return (
            f"{self.damage}; {seen} see{'' if self._many else 's'} it"
            if seen
            else (str(self.damage))
        )

    @property
    def _many(self) -> bool:
        return len(self.seen_by) > 1


@dataclass(frozen=True)
class Verified:
    """What was verified, and found."""

    findings: tuple[Finding, ...]
    entries: int
    files: int
    size: int
    """Of those files, in bytes."""
    read: int
    """How many of them were read; not all, if it had to be quick."""


def verify_store(
    store: Store,
    *,
    quick: bool = False,
    progress: Progress = lambda task, done, total: None,
) -> Verified:
    """Compare all entries of a chain of stores with what is recorded of them.

    ``quick``: only files whose time stamps look as if they had been written to are read;
    see :func:`commonwheel.integrity.look` for what is not seen by that.

    :raises InvalidStore: a store cannot be read
    """
    stores = (store, *store.below)
    held, damages = _held(stores)
    there = [each.folder_of(name) for each in stores for name in each.identifiers()]
    wanted = (root for root, holders in held.items() if _need(holders))
    roots = list(dict.fromkeys((*there, *sorted(wanted))))
    verifying = _Verifying(roots, None, quick, progress)
    found = verifying.run()
    gone = {each.place for each in found if each.fault is Fault.MISSING} & set(roots)
    if gone:
        # nobody needs what was collected meanwhile; or it is there again
        gone = {root for root in gone if not os.path.lexists(root / "entry.json")}
        needed, _ = _held(stores)
        found = [
            each
            for each in found
            if each.fault is not Fault.MISSING
            or each.path
            or (each.place in gone and _need(needed.get(each.place, ())))
        ]
    damages += found
    damages += _other_hashes(held)
    return verifying.result(damages, held)


def _held(stores: Iterable[Store]) -> tuple[dict[Path, list[Holding]], list[Damage]]:
    """Who holds the entries of stores, and what of their registries cannot be read."""
    held: dict[Path, list[Holding]] = {}
    damages: list[Damage] = []
    for each in stores:
        try:
            for identifier, found in holdings.of_store(each).items():
                held[each.folder_of(identifier)] = found
        except InvalidRegistry as error:
            path = f"environments/{error.path.name}"
            damages.append(Damage(each.root, path, Fault.DAMAGED, error.reason))
    return held, damages


def verify_environment(
    environment: Environment,
    *,
    quick: bool = False,
    progress: Progress = lambda task, done, total: None,
) -> Verified:
    """Compare an environment, and the entries that it links to, with what is recorded.

    ``quick``: as for :func:`verify_store`.

    :raises OSError: the environment cannot be read
    """
    roots = holdings.entries_of(environment)
    verifying = _Verifying(roots, environment, quick, progress)
    damages = verifying.run()
    damages += _other_hashes(_own(environment))
    held: dict[Path, list[Holding]] = {}
    broken = {each.place for each in damages}
    for folder in dict.fromkeys(r.parent.parent for r in roots if r in broken):
        held |= _holders(folder)
    return verifying.result(damages, held)


def _own(environment: Environment) -> dict[Path, list[Holding]]:
    """The entries that the environment holds, as the registry would tell of it."""
    found: dict[Path, list[Holding]] = {}
    for site in environment.sites:
        for each in holdings.read_links(site)[0]:
            holding = Holding(environment.scheme.data, site, each)
            found.setdefault(each.entry, []).append(holding)
    return found


def _need(found: Iterable[Holding]) -> bool:
    return any(each.manifest.is_linked for each in found)


def _holders(folder: Path) -> dict[Path, list[Holding]]:
    """Who else holds the entries of a store; nobody that is known, if it is damaged."""
    try:
        store = Store(folder)
        found = holdings.of_store(store)
    except (InvalidStore, InvalidRegistry):
        return {}  # `verify` of the store says so
    return {store.folder_of(identifier): each for identifier, each in found.items()}


def _other_hashes(held: Mapping[Path, Sequence[Holding]]) -> Iterator[Damage]:
    """Entries that are said to be of other wheels than environments were given."""
    for root, found in held.items():
        description = integrity.describe(root)
        for each in found:
            if description is not None and each.manifest.sha256 != description.sha256:
                detail = f"{each.environment} was given one of another wheel"
                yield Damage(root, "entry.json", Fault.CHANGED, detail)
                break


class _Verifying:
    """Walks ahead, reads behind, and adds up."""

    def __init__(
        self,
        roots: Sequence[Path],
        environment: Environment | None,
        quick: bool,
        progress: Progress,
    ) -> None:
        self._roots = roots
        self._environment = environment
        self._quick = quick
        self._progress = progress
        self._damages: list[Damage] = []
        self._entries = self._files = self._size = self._read = self._done = 0

    def run(self) -> list[Damage]:
        """What is wrong; what somebody was just changing was looked at again."""
        self._progress(VERIFYING, 0, len(self._roots))
        changed = list(read(self._readings(), self._count))
        found = [*self._damages, *changed]
        entries = frozenset(self._roots)
        broken = dict.fromkeys(each.place for each in found if each.place in entries)
        return [
            *(each for root in broken for each in linkage.inspect_entry(root)),
            *(each for each in found if each.place not in broken),
        ]

    def _readings(self) -> Iterator[Reading]:
        for number, root in enumerate(self._roots):
            yield from self._taken(integrity.look(root, self._quick))
            self._entries += 1
            self._progress(VERIFYING, number, len(self._roots))
        if self._environment is not None:
            yield from self._taken(linkage.look(self._environment, self._quick))

    def _taken(self, look: Look) -> Iterator[Reading]:
        self._damages += look.damages
        self._files += look.files
        self._size += look.size
        yield from look.readings

    def _count(self, number: int, size: int) -> None:
        self._read += number

    def result(
        self, damages: Iterable[Damage], held: Mapping[Path, Sequence[Holding]]
    ) -> Verified:
        findings = tuple(
            Finding(each, _seeing(each, held.get(each.place, ()))) for each in damages
        )
        return Verified(findings, self._entries, self._files, self._size, self._read)


def _seeing(damage: Damage, found: Iterable[Holding]) -> tuple[Path, ...]:
    if damage.fault not in _SEEN or not damage.path.startswith(("tree/", "dist-info/")):
        return ()
    seeing = (each.environment for each in found if each.sees(damage.path))
    return tuple(dict.fromkeys(seeing))
