"""Entries: those that are missing or damaged are made anew, whole, and swapped in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from commonwheel import integrity, linkage
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import CommonwheelError, explain
from commonwheel.install import Progress
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.mending.plan import Broken, Outcome
from commonwheel.maintenance.mending.sources import Replacements, Sources
from commonwheel.maintenance.mending.users import Users
from commonwheel.store import Store
from commonwheel.sync import Host

MENDING = "mending"
_HARD_LINKED = "dist-info/"
"""Of what environments have hard links, whatever their link mode."""
_NO_WHEEL = "its wheel is not to be had"
_OFFLINE = "its wheel is not at hand, and not fetched offline"


class Mending:
    """The entries that are made anew, one source after the other."""

    def __init__(
        self,
        broken: Sequence[Broken],
        environment: Environment | None,
        store: Store,
        sources: Sources,
        outcome: Outcome,
        progress: Progress,
    ) -> None:
        self._broken = broken
        self._environment = environment
        self._host = sources.host
        self._users = Users(environment, outcome)
        self._new = Replacements(store, sources.folders, self._users)
        self._outcome = outcome
        self._progress = progress
        self._mended: dict[Path, Entry] = {}
        self._reasons: dict[Path, str] = {}

    def run(self) -> dict[Path, Entry | None]:
        """What became of each entry, by the folder it was or is to be in."""
        new = self._new
        for number, each in enumerate(self._broken):
            self._progress(MENDING, number, len(self._broken))
            for way in (new.of_itself, new.of_other_stores, new.of_files):
                self._try(each, way(each))
        lacking = [each for each in self._broken if each.root not in self._mended]
        if self._host is not None and lacking:
            with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
                self._fetch(lacking, self._host, Path(folder))
        for each in lacking:
            if each.root not in self._mended:
                self._give_up(each)
        return {each.root: self._mended.get(each.root) for each in self._broken}

    def _fetch(self, lacking: Sequence[Broken], host: Host, folder: Path) -> None:
        """All at once, which is quicker; one by one what cannot be had like that."""
        pins = [
            (each, next(self._new.pins(each, each.sha256)))
            for each in lacking
            if each.sha256 is not None
        ]
        names = {pin.name for _, pin in pins}
        if self._environment is not None and len(pins) == len(names) > 1:
            where = folder / "all"
            where.mkdir()
            wanted = [pin for _, pin in pins]
            try:
                paths = host.fetch(wanted, self._environment, where, self._progress)
            except CommonwheelError:
                paths = {}  # which of them it was is found out below
            for each, pin in pins:
                if pin.name in paths:
                    self._try(each, self._new.of_file(each, paths[pin.name]))
        for number, each in enumerate(lacking):
            where = folder / str(number)
            where.mkdir()
            self._try(each, self._fetched(each, host, where))

    def _fetched(self, broken: Broken, host: Host, folder: Path) -> Iterator[Entry]:
        """Of its wheel, from where it came from, or else from the index."""
        if broken.sha256 is None:
            return
        environment = self._users.to_fetch_for(broken)
        for number, pin in enumerate(self._new.pins(broken, broken.sha256)):
            where = folder / str(number)
            where.mkdir()
            try:
                path = host.fetch([pin], environment, where, self._progress)[pin.name]
            except CommonwheelError as error:
                self._reasons[broken.root] = str(error)
                continue
            yield from self._new.of_file(broken, path)

    def with_hard_links(self) -> Iterator[str]:
        """Other environments that have files of what was there before.

        Metadata is hard links in all of them.
        """
        found: set[Path] = set()
        for each in self._broken:
            if each.root in self._mended:
                paths = [damage.path for damage in each.damages]
                some = any(path.startswith(_HARD_LINKED) for path in paths)
                found |= {
                    holder.environment
                    for holder in self._users.holding(each.root)
                    if some or holder.manifest.mode is LinkMode.HARDLINK
                }
        if self._environment is not None:
            found.discard(self._environment.scheme.data)
        for path in sorted(found):
            said = f"{path} may have hard links of what was there"
            yield f"{said}; to mend it: commonwheel repair {path}"

    def _try(self, broken: Broken, ways: Iterator[Entry]) -> None:
        """Take the first way that leads to a sound entry."""
        while broken.root not in self._mended:
            try:
                entry = next(ways, None)
            except (CommonwheelError, OSError, ValueError) as error:
                reason = explain(error) if isinstance(error, OSError) else str(error)
                self._reasons[broken.root] = reason
                return
            if entry is None:
                return
            damages = integrity.inspect(entry.root)
            if damages:
                self._reasons[broken.root] = (
                    f"what was made of it is not right: {damages[0]}"
                )
            elif broken.sha256 in (None, entry.description.sha256):
                self._mended[broken.root] = self._users.with_bytecode(broken, entry)
                self._outcome.mended.append(f"{broken.root}: made anew")

    def _give_up(self, broken: Broken) -> None:
        offline = self._host is None
        reason = self._reasons.get(broken.root, _OFFLINE if offline else _NO_WHEEL)
        wanted = f"{broken.name}=={broken.version}"
        if broken.sha256 is None:
            reason = "no environment says which wheel it is of"
        if self._environment is not None:
            again = linkage.reinstall(self._environment, wanted)
            way_out = f"give its wheel's folder by --find-links, or: {again}"
        elif broken.sha256 is None:
            way_out = f"remove {broken.root}, and repair the environments that miss it"
        else:
            way_out = f"give the folder of the wheel of {wanted} by --find-links"
        self._outcome.broken.append((f"{broken}: {reason}", way_out))
