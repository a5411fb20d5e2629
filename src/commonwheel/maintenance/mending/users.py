"""Users of an entry: the environments that hold it, and can be asked about it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from commonwheel import holdings, integrity
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import CommonwheelError, InvalidRegistry, InvalidStore
from commonwheel.holdings import Holding
from commonwheel.maintenance.mending.plan import Broken, Outcome
from commonwheel.store import Store

_VERSION = re.compile(r"cp3(\d+)")
"""The tag of a wheel for one Python."""


class Users:
    """Who holds the entries that are made anew; each is asked once."""

    def __init__(self, environment: Environment | None, outcome: Outcome) -> None:
        """Of all environments, ``environment`` is asked first."""
        self._environment = environment
        self._outcome = outcome
        self._holders: dict[Path, dict[str, list[Holding]]] = {}
        self._environments: dict[Path, Environment | None] = {}

    def holding(self, root: Path) -> list[Holding]:
        """Who holds the entry whose folder is ``root``, as far as that is known."""
        folder = root.parent.parent
        if folder not in self._holders:
            try:
                self._holders[folder] = holdings.of_store(Store(folder))
            except (InvalidStore, InvalidRegistry) as error:
                self._holders[folder] = {}
                self._outcome.remarks.append(str(error))
        return self._holders[folder].get(root.name, [])

    def _interested(self, broken: Broken) -> Iterator[Environment]:
        """Environments that hold the entry and can be asked."""
        if self._environment is not None:
            yield self._environment
        for holder in self.holding(broken.root):
            path = holder.environment
            if path not in self._environments:
                try:
                    self._environments[path] = of_interpreter(path, managed=True)
                except CommonwheelError:
                    self._environments[path] = None  # its own repair says so
            found = self._environments[path]
            if found is not None:
                yield found

    def compiler(self, broken: Broken) -> Compiler | None:
        """What compiles for the first of them; None: nobody is there."""
        found = next(self._interested(broken), None)
        return compiler_of(found) if found is not None else None

    def with_bytecode(self, broken: Broken, entry: Entry) -> Entry:
        """The entry, compiled for the Pythons that were served, as far as known."""
        store = Store(entry.root.parent.parent)
        for number, each in enumerate(self._interested(broken)):
            if number == 0 or each.cache_tag in broken.tags:
                store.ensure_bytecode(entry, compiler_of(each))
        return entry

    def to_fetch_for(self, broken: Broken) -> Environment:
        """What pip is told that the wheel is for."""
        for each in self._interested(broken):
            return each
        described = integrity.describe(broken.root)
        here = of_interpreter(Path(sys.executable), managed=True)
        if described is None:
            return here
        return replace(
            here, tags=described.tags, version=_version_of(described.tags, here)
        )


def compiler_of(environment: Environment) -> Compiler:
    """What compiles for an environment."""
    return Compiler(environment.python, environment.cache_tag)


def _version_of(tags: Iterable[str], here: Environment) -> str:
    """The oldest Python that wheels with such tags are for, but for stable interfaces."""
    found = [tag.split("-") for tag in tags]
    matches = [_VERSION.fullmatch(each[0]) for each in found if each[1] != "abi3"]
    minors = [int(match[1]) for match in matches if match is not None]
    return f"3.{min(minors)}" if minors else here.version
