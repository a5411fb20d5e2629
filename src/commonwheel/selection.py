"""Selection: names -> what a store has of them, and of all that they require.

Nothing is resolved and no index is asked. Of each distribution the newest version is
taken that the store has, that fits the interpreter, and that everybody who requires it
allows; what they require is what their metadata says
(https://packaging.python.org/en/latest/specifications/core-metadata/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from commonwheel.contents import Contents
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import InvalidSetting
from commonwheel.lock_errors import NothingFits
from commonwheel.store import Store


@dataclass(frozen=True)
class _Candidate:
    """An entry that fits the interpreter."""

    entry: Entry
    version: Version
    rank: int
    """Of its best tag; the lowest is the best."""
    requires: tuple[Requirement, ...] = field(compare=False)


@dataclass(frozen=True)
class _Demand:
    """What somebody requires of one distribution."""

    by: str
    """A distribution, or whoever asked for it by name if empty."""
    requirement: Requirement

    def __str__(self) -> str:
        told = str(self.requirement).partition(";")[0].strip()
        return f"{told} of {self.by}" if self.by else told


def requirements(names: Iterable[str]) -> tuple[Requirement, ...]:
    """What is asked for: a name, with extras and versions if need be (:pep:`508`).

    :raises InvalidSetting: one is something else
    """
    found = []
    for name in names:
        try:
            wanted = Requirement(name)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise InvalidSetting("a requirement", name, reason) from error
        if wanted.url is not None:
            reason = "only what a store has can be asked for by name; lock it"
            raise InvalidSetting("a requirement", name, reason)
        found.append(wanted)
    return tuple(found)


def select(
    wanted: Sequence[Requirement], environment: Environment, store: Store
) -> tuple[Entry, ...]:
    """The entries for ``wanted`` and all that it requires, by name.

    :raises NothingFits: the store has nothing that all who require it allow; says who
    :raises InvalidStore: an entry cannot be read
    """
    shelf = _Shelf(store.contents(), environment)
    chosen: dict[str, _Candidate | None] = {}
    seen: list[dict[str, _Candidate | None]] = []
    while chosen not in seen:
        seen.append(chosen)
        demands = _demands(wanted, chosen, environment)
        chosen = {name: shelf.newest(name, each) for name, each in demands.items()}
    # what it settles on demands just this; otherwise the demands exclude each other
    demands = _demands(wanted, chosen, environment)
    changing = {name for name in demands if chosen.get(name) != seen[-1].get(name)}
    lacking = [
        shelf.explain(name, each)
        for name, each in demands.items()
        if name in changing or chosen.get(name) is None
    ]
    if lacking:
        raise NothingFits(store.root, tuple(lacking))
    return tuple(each.entry for _, each in sorted(chosen.items()) if each is not None)


def _demands(
    wanted: Iterable[Requirement],
    chosen: Mapping[str, _Candidate | None],
    environment: Environment,
) -> dict[str, list[_Demand]]:
    """What is required of each distribution that ``wanted`` leads to."""
    found: dict[str, list[_Demand]] = {}
    pending = [(_Demand("", each), frozenset({""})) for each in wanted]
    done: set[tuple[str, str]] = set()
    while pending:
        demand, extras = pending.pop()
        if not _applies(demand.requirement, extras, environment):
            continue
        name = canonicalize_name(demand.requirement.name)
        found.setdefault(name, []).append(demand)
        candidate = chosen.get(name)
        for extra in ("", *sorted(demand.requirement.extras)):
            if candidate is not None and (name, extra) not in done:
                done.add((name, extra))
                by = f"{name} {candidate.version}"
                more = (_Demand(by, each) for each in candidate.requires)
                pending += [(each, frozenset({extra})) for each in more]
    return found


def _applies(
    requirement: Requirement, extras: Iterable[str], environment: Environment
) -> bool:
    if requirement.marker is None:
        return True
    return any(
        requirement.marker.evaluate({**environment.markers, "extra": extra})
        for extra in extras
    )


class _Shelf:
    """What a store has for one interpreter; each name is looked up once."""

    def __init__(self, contents: Contents, environment: Environment) -> None:
        self._contents = contents
        self._environment = environment
        self._ranks = {tag: n for n, tag in enumerate(environment.tags or ())}
        self._known: dict[str, list[_Candidate]] = {}

    def newest(self, name: str, demands: Sequence[_Demand]) -> _Candidate | None:
        """The newest that all ``demands`` allow, and of it the one with the best tag."""
        candidates = self._candidates(name)
        allowed = {each.version for each in candidates}
        for demand in demands:
            allowed &= set(demand.requirement.specifier.filter(allowed, prereleases=True))
        final = {version for version in allowed if not version.is_prerelease}
        if any(demand.requirement.specifier.prereleases for demand in demands):
            final = allowed
        best = max(final or allowed, default=None)
        return min(
            (each for each in candidates if each.version == best),
            key=lambda each: (each.rank, each.entry.description.id),
            default=None,
        )

    def explain(self, name: str, demands: Iterable[_Demand]) -> str:
        """What is asked for, by whom, and what there is."""
        wanted = " and ".join(dict.fromkeys(map(str, demands)))
        versions = sorted({each.version for each in self._candidates(name)})
        there = ", ".join(map(str, versions)) or "none for this Python"
        return f"{wanted} (there is {there})"

    def _candidates(self, name: str) -> list[_Candidate]:
        if name not in self._known:
            self._known[name] = list(self._read(name))
        return self._known[name]

    def _read(self, name: str) -> Iterator[_Candidate]:
        worst = len(self._ranks)
        for entry in self._contents.of_name(name):
            rank = min(self._ranks.get(tag, worst) for tag in entry.description.tags)
            if rank == worst:
                continue
            try:
                version = Version(entry.description.version)
                metadata, _ = parse_email((entry.dist_info / "METADATA").read_bytes())
                python = SpecifierSet(metadata.get("requires_python", ""))
                requires = tuple(map(Requirement, metadata.get("requires_dist", ())))
            except (OSError, InvalidVersion, InvalidSpecifier, InvalidRequirement):
                continue  # what cannot be understood is not chosen
            if python.contains(self._environment.version, prereleases=True):
                yield _Candidate(entry, version, rank, requires)


def as_lock(entries: Iterable[Entry]) -> str:
    """Requirements that name just these entries."""
    return "".join(
        f"{each.description.name}=={each.description.version}"
        f" --hash=sha256:{each.description.sha256}\n"
        for each in entries
    )
