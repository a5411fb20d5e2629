"""Repair: what is missing or damaged is made anew, of what is vouched for elsewhere.

What is wrong is found as by :mod:`commonwheel.integrity` and
:mod:`commonwheel.linkage`. An entry is made anew of its own sound files, if only what was
added or compiled is wrong with it; else of a sound one in another store, or of its wheel,
whose full sha256 is compared, from wherever it can be had. It is swapped in one step, so
who imports from it never misses it. Then the environment's distributions that are not
whole are linked again. What is right is left alone; so are real files that were edited.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.tags import parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from commonwheel import (
    digests,
    entry_folder,
    files,
    installed,
    integrity,
    linkage,
    location,
    manifest,
    record,
    view,
)
from commonwheel.apply import changing
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import (
    CommonwheelError,
    InvalidEnvironment,
    InvalidRegistry,
    InvalidStore,
    explain,
)
from commonwheel.install import Progress, link_entries
from commonwheel.installation import INSTALLER, Request
from commonwheel.integrity import Damage, Fault
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.strays import tidy
from commonwheel.manifest import Manifest
from commonwheel.pin import Kind, Pin
from commonwheel.store import Store
from commonwheel.sync import Host

CHECKING, MENDING = "verifying", "mending"
_HARD_LINKED = ("dist-info/", "tree/__pycache__/")
"""Of what environments have hard links, whatever their link mode."""
_NO_WHEEL = "its wheel is not to be had"
_OFFLINE = "its wheel is not at hand, and not fetched offline"
_VERSION = re.compile(r"cp3(\d+)")
"""The tag of a wheel for one Python."""


@dataclass(frozen=True)
class Broken:
    """An entry that is missing or damaged."""

    root: Path
    """Its folder."""
    name: str
    """Of the distribution, normalized."""
    version: str
    sha256: str | None
    """Of its wheel, in full; None if nobody says it."""
    damages: tuple[Damage, ...]
    origins: tuple[str, ...] = ()
    """URLs that environments say they have installed it from (:pep:`610`)."""
    tags: tuple[str, ...] = ()
    """The Pythons that it had bytecode for."""

    def __str__(self) -> str:
        first = self.damages[0]
        more = f" and {len(self.damages) - 1:,} more" if len(self.damages) > 1 else ""
        return f"{first}{more}"


@dataclass(frozen=True)
class Again:
    """A distribution of an environment that has to be linked again."""

    site: Path
    """Where its link manifest is; of an older Python, if the environment has another."""
    manifest: Manifest
    damages: tuple[Damage, ...]


@dataclass(frozen=True)
class RepairPlan:
    """What is to be mended."""

    entries: tuple[Broken, ...] = ()
    again: tuple[Again, ...] = ()
    """Linked anew, in the order they were linked in before."""
    renew: tuple[Damage, ...] = ()
    """The environment's runtime is not as it should be."""
    left: tuple[Damage, ...] = ()
    """Links of nobody."""
    hopeless: tuple[tuple[str, str], ...] = ()
    """What cannot be mended, and the way out."""
    kept: tuple[Damage, ...] = ()
    """Files that somebody has edited, and that stay as they are."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.entries or self.again or self.renew or self.left)


@dataclass(frozen=True)
class Sources:
    """Where wheels may be had."""

    host: Host | None = None
    """Fetches from the network; None: it must not be used."""
    folders: tuple[Path, ...] = ()
    """Folders with wheel files."""


@dataclass
class Outcome:
    """What became of it."""

    mended: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    """What stays as it was, and why, with the way out."""
    remarks: list[str] = field(default_factory=list)


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
        held = linkage.holders(each)
        wanted = {n for n, h in held.items() if any(o.manifest.is_linked for o in h)}
        names = sorted({*each.identifiers(), *wanted})
        for number, name in enumerate(names):
            progress(CHECKING, number, len(names))
            root = each.folder_of(name)
            damages = _damages(root, [other.manifest for other in held.get(name, ())])
            if not damages:
                continue
            holding = [(other.site, other.manifest) for other in held.get(name, ())]
            if not holding and damages[0].fault is Fault.ADDED and not damages[0].path:
                hopeless.append((str(damages[0]), f"remove {root}"))
            else:
                broken.append(_broken(root, damages, holding))
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
    links = list(_links(environment, found))
    again = {each.manifest.name: each for each in links}
    kept: list[Damage] = []
    hopeless: list[tuple[str, str]] = []
    renew = [d for d in found.get("", ()) if d.fault is not Fault.ADDED]
    left = [d for d in found.get("", ()) if d.fault is Fault.ADDED]
    wrong: dict[str, Again] = {}
    for name, damages in found.items():
        edited = [d for d in damages if d.fault is Fault.EDITED and not undo_edits]
        others = [d for d in damages if d not in edited]
        kept += edited
        if not name or not others:
            continue
        if all(d.fault is Fault.ADDED for d in others):
            left += others
        elif name not in again:
            way_out = linkage.reinstall(environment, name)
            hopeless.append((str(others[0]), way_out))
        elif edited:
            link = again[name].manifest
            way_out = linkage.reinstall(environment, f"{name}=={link.version}")
            reason = f"{others[0]}; other files of it were edited, and would be lost"
            hopeless.append((reason, f"--undo-edits, or {way_out}"))
        else:
            wrong[name] = replace(again[name], damages=tuple(others))
    if older or not links:
        left_behind, unfit = _of_older_python(environment, set(again))
        hopeless += unfit
        wrong |= {each.manifest.name: each for each in left_behind}
    needed = [each for each in links if each.manifest.is_linked]
    needed += [each for each in wrong.values() if each not in needed]
    needed += [
        each
        for each in links
        if each.manifest.mode is LinkMode.HARDLINK and each.manifest.entry.is_dir()
    ]
    by_root: dict[Path, list[tuple[Path, Manifest]]] = {}
    for each in needed:
        by_root.setdefault(each.manifest.entry, []).append((each.site, each.manifest))
    broken = []
    for number, (root, holding) in enumerate(by_root.items()):
        progress(CHECKING, number, len(by_root))
        damages = _damages(root, [link for _, link in holding])
        if damages:
            broken.append(_broken(root, damages, holding))
    return RepairPlan(
        tuple(broken),
        tuple(_in_order(environment, wrong, again)),
        tuple(renew),
        tuple(left),
        tuple(hopeless),
        tuple(kept),
    )


def _links(
    environment: Environment, found: Mapping[str, Sequence[Damage]]
) -> Iterator[Again]:
    """The distributions that are linked, those too whose manifest is damaged."""
    for site in environment.sites:
        links, damaged = linkage.read_links(site)
        for link in links:
            if linkage.in_force(site, link) is not None:
                yield Again(site, link, ())
        for each in damaged:
            rebuilt = _rebuilt(site, each.distribution)
            if rebuilt is not None:
                yield Again(site, rebuilt, ())


def _rebuilt(site: Path, name: str) -> Manifest | None:
    """A link manifest that was damaged, by the links that are there."""
    for folder in sorted(os.listdir(site)):
        stem, kind = os.path.splitext(folder)
        if kind != ".dist-info" or canonicalize_name(stem.rpartition("-")[0]) != name:
            continue
        try:
            rows = record.paths((site / folder / "RECORD").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        for row in rows:
            path = site / row
            if row.startswith(f"{manifest.VIEW}/") and path.is_symlink():
                inside = Path(os.readlink(path)).parents
                root = next((p.parent for p in inside if p.name == "tree"), None)
                described = integrity.describe(root) if root is not None else None
                if described is not None and root is not None and described.name == name:
                    version, sha256 = described.version, described.sha256
                    return Manifest(name, version, root, sha256, folder)
    return None


def _of_older_python(
    environment: Environment, there: Collection[str]
) -> tuple[list[Again], list[tuple[str, str]]]:
    """What the environment had for the Python that it was made with before."""
    sites = {os.path.realpath(site) for site in environment.sites}
    present = {*there, *installed.read(environment)}
    tags = set(environment.tags or ())
    found: list[Again] = []
    unfit: list[tuple[str, str]] = []
    for site in sorted(environment.scheme.data.glob("lib*/py*/site-packages")):
        if os.path.realpath(site) in sites:
            continue
        sites.add(os.path.realpath(site))
        for link in linkage.read_links(site)[0]:
            if link.name in present or linkage.in_force(site, link) is None:
                continue
            described = integrity.describe(link.entry)
            damage = Damage(site, link.path, Fault.MISSING, "for this Python", link.name)
            fitting = described.tags if described is not None else _tags(site, link)
            if tags.isdisjoint(fitting):
                way_out = linkage.reinstall(environment, f"{link.name}=={link.version}")
                said = f"{link.name} {link.version} is not for {environment}"
                unfit.append((said, way_out))
            else:
                found.append(Again(site, link, (damage,)))
    return found, unfit


def _tags(site: Path, link: Manifest) -> tuple[str, ...]:
    """What a distribution says of the Pythons that it is for, in WHEEL (:pep:`427`)."""
    text = _text(site / link.metadata / "WHEEL") or ""
    found = [line.partition(":")[2] for line in text.splitlines() if line[:4] == "Tag:"]
    return tuple(str(tag) for each in found for tag in parse_tag(each.strip()))


def _in_order(
    environment: Environment, wrong: Mapping[str, Again], all_links: Mapping[str, Again]
) -> list[Again]:
    """As they were linked before: of two with the same file the later one wins.

    With one goes whatever was linked after it and has hidden a file of it.
    """
    wanted = dict(wrong)
    for site in environment.sites:
        hidden = _hidden(site)
        for each in wrong.values():
            for row in _rows(each.site / each.manifest.metadata):
                waiting = view.hidden_by(row.removeprefix(f"{manifest.VIEW}/"))
                if waiting is not None:
                    hidden.setdefault(waiting[0], set()).add(waiting[1])
        for place, names in hidden.items():
            path = site / manifest.VIEW / place
            target = os.readlink(path) if path.is_symlink() else ""
            if not names.isdisjoint(wanted):
                for name, each in all_links.items():
                    if target.startswith(f"{each.manifest.entry}{os.sep}"):
                        wanted.setdefault(name, each)
    return sorted(wanted.values(), key=_age)


def _hidden(site: Path) -> dict[str, set[str]]:
    """The places in the view that distributions wait for, and which ones do."""
    found: dict[str, set[str]] = {}
    shown = site / manifest.VIEW
    for current, _, names in os.walk(shown):
        for name in names:
            waiting = view.hidden_by(os.path.relpath(os.path.join(current, name), shown))
            if waiting is not None:
                found.setdefault(waiting[0], set()).add(waiting[1])
    return found


def _age(again: Again) -> float:
    try:
        return (again.site / again.manifest.path).stat().st_mtime
    except OSError:
        return 0.0


def _damages(root: Path, held: Iterable[Manifest]) -> list[Damage]:
    damages = integrity.inspect(root)
    if damages:
        damages = linkage.inspect_entry(root)  # is somebody just adding bytecode?
    described = integrity.describe(root)
    for link in held:
        if not damages and described is not None and link.sha256 != described.sha256:
            detail = "environments were given one of another wheel"
            damages = [Damage(root, "entry.json", Fault.CHANGED, detail)]
    return damages


def _broken(
    root: Path, damages: Sequence[Damage], held: Sequence[tuple[Path, Manifest]]
) -> Broken:
    described = integrity.describe(root)
    said = {link.sha256 for _, link in held if link.entry.name == root.name}
    sha256 = described.sha256 if described is not None else None
    if len(said) == 1:
        sha256 = next(iter(said))  # from outside: it cannot have been damaged with it
    elif said:
        sha256 = None  # whom to believe is not known
    name, version, *_ = (*root.name.split("-"), "")
    origins = (_origin(site / link.metadata) for site, link in held)
    try:
        tags = tuple(sorted(os.listdir(root / "bytecode")))
    except OSError:
        tags = ()
    return Broken(
        root,
        canonicalize_name(name),
        version,
        sha256,
        tuple(damages),
        tuple(dict.fromkeys(url for url in origins if url is not None)),
        tags,
    )


def _origin(dist_info: Path) -> str | None:
    """The wheel that a distribution was installed from, if it was named by a URL."""
    found = installed.Installed("", "", dist_info).direct_url
    url = found.get("url") if found else None
    is_wheel = isinstance(url, str) and urlsplit(url).path.endswith(".whl")
    return url if is_wheel else None


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
    mending = _Mending(plan.entries, environment, store, sources, outcome, progress)
    entries = mending.run()
    if environment is not None:
        _mend_environment(plan, environment, store, entries, outcome)
    outcome.remarks += mending.with_hard_links()
    return outcome


class _Mending:
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
        self._store = store
        self._sources = sources
        self._outcome = outcome
        self._progress = progress
        self._mended: dict[Path, Entry] = {}
        self._holders: dict[Path, dict[str, list[linkage.Holder]]] = {}
        self._environments: dict[Path, Environment | None] = {}
        self._reasons: dict[Path, str] = {}

    def run(self) -> dict[Path, Entry | None]:
        """What became of each entry, by the folder it was or is to be in."""
        for number, each in enumerate(self._broken):
            self._progress(MENDING, number, len(self._broken))
            for way in (self._of_itself, self._of_other_stores, self._of_files):
                self._try(each, way(each))
        lacking = [each for each in self._broken if each.root not in self._mended]
        host = self._sources.host
        if host is not None and lacking:
            with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
                self._fetch(lacking, host, Path(folder))
        for each in lacking:
            if each.root not in self._mended:
                self._give_up(each)
        return {each.root: self._mended.get(each.root) for each in self._broken}

    def _fetch(self, lacking: Sequence[Broken], host: Host, folder: Path) -> None:
        """All at once, which is quicker; one by one what cannot be had like that."""
        pins = [
            (each, next(self._pins(each, each.sha256)))
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
                    self._try(each, self._of_file(each, paths[pin.name]))
        for number, each in enumerate(lacking):
            where = folder / str(number)
            where.mkdir()
            self._try(each, self._fetched(each, host, where))

    def with_hard_links(self) -> Iterator[str]:
        """Other environments that have files of what was there before.

        Metadata, and bytecode of modules, are hard links in all of them.
        """
        found: set[Path] = set()
        for each in self._broken:
            if each.root in self._mended:
                paths = [damage.path for damage in each.damages]
                some = any(path.startswith(_HARD_LINKED) for path in paths)
                found |= {
                    holder.environment
                    for holder in self._holding(each.root)
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
                self._mended[broken.root] = self._with_bytecode(broken, entry)
                self._outcome.mended.append(f"{broken.root}: made anew")

    def _of_itself(self, broken: Broken) -> Iterator[Entry]:
        """Of the files that are right, if all that comes from the wheel is."""
        home = self._home(broken)
        if home is None or integrity.describe(broken.root) is None:
            return
        entry = entry_folder.read_entry(broken.root)
        if entry is None or entry.description.sha256 != broken.sha256:
            return
        tags: set[str] = set()
        without: set[str] = set()
        for each in broken.damages:
            if each.fault is Fault.ADDED:
                without.add(each.path)
            elif each.fault is not Fault.MODE:
                if not each.path.startswith("bytecode/") and each.path[-4:] != ".pyc":
                    return
                tags.add(integrity.tag_of(each.path))
        for path, _ in entry_folder.bytecode_digests(entry):
            if integrity.tag_of(path) in tags:
                without.add(f"tree/{path}")
        without |= {f"bytecode/{tag}" for tag in tags}
        yield home.adopt(entry, without)

    def _of_other_stores(self, broken: Broken) -> Iterator[Entry]:
        home = self._home(broken)
        for root in self._elsewhere(broken):
            entry = None if integrity.inspect(root) else entry_folder.read_entry(root)
            if entry is not None and home is None:
                yield entry  # it is linked to where it is
            elif entry is not None and home is not None and root.name == broken.root.name:
                yield home.adopt(entry)

    def _elsewhere(self, broken: Broken) -> Iterator[Path]:
        """Where other stores have entries of the same wheel."""
        for each in (self._store, *self._store.below):
            for identifier in each.identifiers():
                root = each.folder_of(identifier)
                if (
                    root != broken.root
                    and broken.sha256
                    and (f"-{broken.sha256[:8]}" in identifier)
                ):
                    described = integrity.describe(root)
                    if described is not None and described.sha256 == broken.sha256:
                        yield root

    def _of_files(self, broken: Broken) -> Iterator[Entry]:
        for path in self._wheel_files(broken):
            yield from self._of_file(broken, path)

    def _of_file(self, broken: Broken, path: Path) -> Iterator[Entry]:
        """Of a file that may be its wheel."""
        if broken.sha256 is not None and _sha256(path) == broken.sha256:
            home, compiler = self._home(broken), self._compiler(broken)
            if home is not None:
                yield home.put_right(path, broken.root.name, compiler)
            else:
                # not the whole chain, which would find the damaged one
                yield Store(self._store.root).add(path, compiler)

    def _wheel_files(self, broken: Broken) -> Iterator[Path]:
        """Files that may be the wheel, by their names."""
        for folder in self._sources.folders:
            for path in sorted(folder.glob("*.whl")):
                if _may_be(path.name, broken):
                    yield path
        for url in broken.origins:
            parts = urlsplit(url)
            path = Path(url2pathname(parts.path))
            if parts.scheme == "file" and path.is_file():
                yield path

    def _fetched(self, broken: Broken, host: Host, folder: Path) -> Iterator[Entry]:
        """Of its wheel, from where it came from, or else from the index."""
        if broken.sha256 is None:
            return
        environment = self._fetching_for(broken)
        for number, pin in enumerate(self._pins(broken, broken.sha256)):
            where = folder / str(number)
            where.mkdir()
            try:
                path = host.fetch([pin], environment, where, self._progress)[pin.name]
            except CommonwheelError as error:
                self._reasons[broken.root] = str(error)
                continue
            yield from self._of_file(broken, path)

    def _pins(self, broken: Broken, sha256: str) -> Iterator[Pin]:
        hashes = frozenset({("sha256", sha256)})
        home = self._home(broken)
        noted = home.url_of(sha256) if home is not None else None
        for url in dict.fromkeys((noted, self._store.url_of(sha256), *broken.origins)):
            if url is not None and location.is_url(url) and not url.startswith("file:"):
                filename = unquote(urlsplit(url).path.rpartition("/")[2])
                yield Pin(
                    *(broken.name, broken.version, Kind.WHEEL, filename, url, hashes)
                )
        yield Pin(broken.name, broken.version, Kind.INDEX, hashes=hashes)

    def _home(self, broken: Broken) -> Store | None:
        """The store of the entry, if it can be written."""
        folder = broken.root.parent.parent
        if folder == self._store.root:
            return self._store
        try:
            store = Store(folder)
        except InvalidStore:
            return None
        return store if store.takes_entries else None

    def _holding(self, root: Path) -> list[linkage.Holder]:
        folder = root.parent.parent
        if folder not in self._holders:
            try:
                self._holders[folder] = linkage.holders(Store(folder))
            except (InvalidStore, InvalidRegistry) as error:
                self._holders[folder] = {}
                self._outcome.remarks.append(str(error))
        return self._holders[folder].get(root.name, [])

    def _interested(self, broken: Broken) -> Iterator[Environment]:
        """Environments that hold the entry and can be asked."""
        if self._environment is not None:
            yield self._environment
        for holder in self._holding(broken.root):
            path = holder.environment
            if path not in self._environments:
                try:
                    self._environments[path] = of_interpreter(path, managed=True)
                except CommonwheelError:
                    self._environments[path] = None  # its own repair says so
            found = self._environments[path]
            if found is not None:
                yield found

    def _compiler(self, broken: Broken) -> Compiler | None:
        found = next(self._interested(broken), None)
        return _compiler(found) if found is not None else None

    def _with_bytecode(self, broken: Broken, entry: Entry) -> Entry:
        """For the Pythons that it had bytecode for, as far as they are known."""
        store = Store(entry.root.parent.parent)
        for number, each in enumerate(self._interested(broken)):
            if number == 0 or each.cache_tag in broken.tags:
                store.ensure_bytecode(entry, _compiler(each))
        return entry

    def _fetching_for(self, broken: Broken) -> Environment:
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

    def _give_up(self, broken: Broken) -> None:
        offline = self._sources.host is None
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


def _mend_environment(
    plan: RepairPlan,
    environment: Environment,
    store: Store,
    entries: Mapping[Path, Entry | None],
    outcome: Outcome,
) -> None:
    """Link again what is not whole, now that the entries are."""
    again = [*plan.again, *_elsewhere_now(plan, environment, entries)]
    found = {each.manifest.name: _entry(each, entries) for each in again}
    requests: list[Request] = []
    for each in again:
        entry = found[each.manifest.name]
        if entry is not None:
            requests.append(_request(each, entry, environment))
        elif each.manifest.entry not in entries:
            way_out = linkage.reinstall(environment, each.manifest.name)
            outcome.broken.append((f"{each.manifest.name} has no entry", way_out))
    homes = [request.entry.root.parent.parent for request in requests]
    for site in environment.sites:
        homes += [link.entry.parent.parent for link in linkage.read_links(site)[0]]
    found_homes = [each for each in dict.fromkeys(homes) if (each / "format").is_file()]
    chain = Store(*found_homes) if found_homes else store
    if plan.renew:
        _link([], again, environment, chain, outcome)
    if requests:
        _link(requests, again, environment, chain, outcome)
    if plan.left:
        _clear(plan.left, environment, outcome)


def _elsewhere_now(
    plan: RepairPlan, environment: Environment, entries: Mapping[Path, Entry | None]
) -> Iterator[Again]:
    """What is right, but for its entry, which is in another store now."""
    moved = {root for root, entry in entries.items() if entry and entry.root != root}
    names = {each.manifest.name for each in plan.again}
    for site in environment.sites:
        for link in linkage.read_links(site)[0]:
            if link.entry in moved and link.name not in names:
                yield Again(site, link, ())


def _entry(each: Again, entries: Mapping[Path, Entry | None]) -> Entry | None:
    root = each.manifest.entry
    return entries[root] if root in entries else entry_folder.read_entry(root)


def _link(
    requests: Sequence[Request],
    again: Sequence[Again],
    environment: Environment,
    store: Store,
    outcome: Outcome,
) -> None:
    by_name = {each.manifest.name: each for each in again}
    try:
        with store.in_use():
            for request in requests:
                store.ensure_bytecode(request.entry, _compiler(environment))
            with changing(environment):
                for request in requests:
                    each = by_name[request.entry.description.name]
                    _make_removable(each, request, environment)
            done = link_entries(requests, environment, store)
    except (CommonwheelError, OSError) as error:
        if len(requests) > 1:  # which of them it was
            for request in requests:
                _link([request], again, environment, store, outcome)
            return
        name = "".join(each.entry.description.name for each in requests)
        way_out = linkage.reinstall(environment, name or "pip")
        outcome.broken.append((f"{name or 'the runtime'}: {error}", way_out))
    else:
        outcome.remarks += done.remarks()
        outcome.mended += [f"{e.name}: linked again" for e in done.plan.installations]
        if not requests:
            outcome.mended.append("the runtime: renewed")


def _clear(left: Sequence[Damage], environment: Environment, outcome: Outcome) -> None:
    """Remove links that belong to nobody, and what an overwritten installation left."""
    try:
        tidy(environment)
        with changing(environment):
            # what was linked again meanwhile has an owner now
            for each in linkage.look(environment, quick=True).damages:
                path = each.place / each.path
                if each.fault is Fault.ADDED and path.is_symlink():
                    path.unlink()
    except (CommonwheelError, OSError, ValueError) as error:
        outcome.broken += [(f"{each}: {error}", "remove it") for each in left]
    else:
        outcome.mended += [f"{each.place / each.path}: removed" for each in left]


def _make_removable(each: Again, request: Request, environment: Environment) -> None:
    """Give a distribution whose RECORD is lost one that says what is there of it.

    What replaces it then knows what to remove.
    """
    link = each.manifest
    if each.site not in environment.sites or not linkage.in_force(each.site, link):
        return
    dist_info = each.site / link.metadata
    dist_info.mkdir(exist_ok=True)
    rows = list(record.parse(request.entry.record))
    rows.append(record.Row(link.path))
    begin = f"{link.entry}{os.sep}"
    for current, folders, names in os.walk(each.site / manifest.VIEW):
        for name in (*folders, *names):
            path = os.path.join(current, name)
            ours = os.path.islink(path) and os.readlink(path).startswith(begin)
            if ours or name == view.marker(link.name):
                relative = os.path.relpath(path, each.site).replace(os.sep, "/")
                rows.append(record.Row(relative))
    content = record.render(rows).encode("utf-8")
    files.write_atomically(dist_info / "RECORD", content, 0o644)


def _request(each: Again, entry: Entry, environment: Environment) -> Request:
    """What links a distribution as it was linked."""
    dist_info = each.site / each.manifest.metadata
    rows = _rows(dist_info)
    return Request(
        entry,
        requested=(dist_info / "REQUESTED").exists() or not dist_info.is_dir(),
        direct_url=_text(dist_info / "direct_url.json"),
        header_folder=_header_folder(rows, entry, each.site, environment),
        mode=each.manifest.mode,
        installer=(_text(dist_info / "INSTALLER") or INSTALLER).strip(),
        bytecode=not rows or any(row.endswith(".pyc") for row in rows),
    )


def _rows(dist_info: Path) -> list[str]:
    try:
        return record.paths((dist_info / "RECORD").read_text("utf-8"))
    except (OSError, ValueError):
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _header_folder(
    rows: Iterable[str], entry: Entry, site: Path, environment: Environment
) -> str | None:
    """The name of the folder that its headers are in, as RECORD says."""
    headers = environment.scheme.headers
    names = {file.path for file in entry.description.headers}
    for row in rows if names else ():
        relative = os.path.relpath(os.path.normpath(site / row), headers)
        folder, _, name = relative.replace(os.sep, "/").partition("/")
        if name in names:
            return folder
    return None


def _may_be(filename: str, broken: Broken) -> bool:
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    prefix = "-".join(filename.split("-")[:2])
    same = prefix == "-".join(broken.root.name.split("-")[:2])
    return same or (name == broken.name and str(version) == broken.version)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return digests.of(file, ("sha256",))["sha256"]


def _compiler(environment: Environment) -> Compiler:
    return Compiler(environment.python, environment.cache_tag)


def _version_of(tags: Iterable[str], here: Environment) -> str:
    """The oldest Python that wheels with such tags are for, but for stable interfaces."""
    found = [tag.split("-") for tag in tags]
    matches = [_VERSION.fullmatch(each[0]) for each in found if each[1] != "abi3"]
    minors = [int(match[1]) for match in matches if match is not None]
    return f"3.{min(minors)}" if minors else here.version


def renew_interpreter(folder: Path, python: Path) -> None:
    """Make ``python`` the interpreter of the virtual environment ``folder``.

    ``python -m venv --upgrade`` leaves links to an interpreter that is gone, or is
    another one, as they are: they are taken away first.

    :raises InvalidEnvironment: it could not be done; all is as before
    """
    configuration = _configuration(folder)
    command = [str(python), "-I", "-m", "venv", "--upgrade"]
    if configuration.get("include-system-site-packages") == "true":
        command.append("--system-site-packages")
    if not any(folder.glob("lib*/py*/site-packages/pip-*.dist-info")):
        command.append("--without-pip")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    links = {
        path: os.readlink(path) for path in scripts.glob("python*") if path.is_symlink()
    }
    for path in links:
        path.unlink()
    try:
        subprocess.run(
            [*command, str(folder)], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        for path, target in links.items():
            path.unlink(missing_ok=True)
            path.symlink_to(target)
        said = getattr(error, "stderr", "") or str(error)
        raise InvalidEnvironment(python, said.strip().splitlines()[-1]) from error


def _configuration(folder: Path) -> dict[str, str]:
    """What ``pyvenv.cfg`` says (:pep:`405`)."""
    lines = (_text(folder / "pyvenv.cfg") or "").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip().lower() for key, _, value in pairs}
