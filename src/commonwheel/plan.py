"""Plan: what linking entries into an environment will change there. Writes nothing.

A plan is frozen data: :mod:`commonwheel.apply` carries it out, a test or a dry run just
looks at it. All paths in it are absolute, except where a field says otherwise.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from packaging.utils import canonicalize_name

from commonwheel import manifest, record, runtime, scripts
from commonwheel.entry import Entry, Script, StoredFile
from commonwheel.environment import Environment
from commonwheel.errors import DuplicateRequest, InvalidEnvironment
from commonwheel.manifest import Manifest
from commonwheel.view import Amendment, Link, Split, ViewPlan

INSTALLER = b"commonwheel\n"

_NUMBERED = {
    "pip": ("pip{0}", "pip{0}.{1}"),
    "easy_install": ("easy_install-{0}.{1}",),
}
"""Scripts that have others beside them, named after the environment's Python.

A wheel for every Python cannot name them, or names the Python it was built with. pip
makes them of any wheel.
"""


@dataclass(frozen=True)
class Request:
    """An entry to link, and what its frontend knows about why."""

    entry: Entry
    requested: bool = True
    """Whether the user asked for it by name (the REQUESTED file of :pep:`376`)."""
    direct_url: str | None = None
    """The contents of ``direct_url.json`` (:pep:`610`)."""
    header_folder: str | None = None
    """The name of its folder for headers, if not the distribution's normalized name."""


@dataclass(frozen=True)
class RealFile:
    """A file to write, by its contents or as a copy."""

    path: Path
    executable: bool = False
    content: bytes | None = None
    source: Path | None = None
    """Copied if there is no ``content``."""


@dataclass(frozen=True)
class Installation:
    """What one distribution adds to an environment."""

    name: str
    version: str
    site: Path
    links: tuple[Link, ...]
    markers: tuple[str, ...]
    """Empty files, relative to the view."""
    files: tuple[RealFile, ...]
    """Scripts, headers, data, start-up files."""
    manifest: RealFile
    dist_info: Path
    metadata: tuple[tuple[str, Path], ...]
    """Files of ``dist_info`` that are the same everywhere: name, where in the store."""
    written: tuple[tuple[str, bytes], ...]
    """Files of ``dist_info`` of this environment: name, contents. RECORD is the last."""


@dataclass(frozen=True)
class Removal:
    """What a distribution that is replaced or uninstalled leaves behind for removal."""

    name: str
    version: str
    site: Path
    dist_info: Path
    paths: tuple[Path, ...]
    """Files and links that nothing in the plan writes again; some may not exist."""


@dataclass(frozen=True)
class Plan:
    """Everything that :func:`commonwheel.apply.apply` is going to change."""

    sites: tuple[Path, ...]
    """The site-packages folders with links."""
    runtime: tuple[RealFile, ...]
    """Of them, and what else starts with the interpreter, as far as it is not there."""
    splits: tuple[tuple[Path, Split], ...]
    """Links of other distributions that become real folders, with their site-packages."""
    records: tuple[RealFile, ...]
    """RECORD files of other distributions, amended."""
    dropped: tuple[Path, ...]
    """Links and bytecode that must not stay; some may not exist."""
    installations: tuple[Installation, ...]
    removals: tuple[Removal, ...]
    overridden: tuple[tuple[str, str, str], ...] = ()
    """Files that two distributions have: path, the earlier, the later one (it wins)."""


def plan_links(
    requests: Sequence[Request],
    environment: Environment,
    template: str = scripts.TEMPLATE,
    runtime_bytecode: bytes = b"",
    additions: Mapping[str, bytes] = MappingProxyType({}),
    removed: Collection[str] = (),
) -> Plan:
    """What it takes to link ``requests`` into ``environment``.

    A distribution of the same name that is there is replaced, whoever installed it.
    ``runtime_bytecode`` is the runtime's for the environment's Python; without it an
    environment that cannot write any compiles the runtime at every start. ``additions``
    are other files that site-packages is given, by their path in it. The distributions
    ``removed`` (normalized names) are uninstalled at the same time.

    :raises DuplicateRequest: one distribution is asked for twice
    :raises InvalidEnvironment: what is to be replaced cannot be removed, or a file would
        lie outside the environment
    :raises LinkConflict: two distributions need different kinds of things at one path
    """
    by_name: dict[str, Request] = {}
    for request in requests:
        name = request.entry.description.name
        if name in by_name:
            both = (by_name[name], request)
            sources = tuple(each.entry.description.id for each in both)
            raise DuplicateRequest(name, sources)
        by_name[name] = request
    by_site: dict[Path, list[Request]] = {}
    for request in requests:
        site = environment.site_packages(request.entry.description.root_is_purelib)
        by_site.setdefault(site, []).append(request)
    gone = frozenset((*by_name, *removed))
    views = {
        site: _plan_view(site, group, environment, gone)
        for site, group in by_site.items()
    }
    installations = tuple(
        _installation(request, environment, site, views[site], template)
        for site, group in by_site.items()
        for request in group
    )
    removals = tuple(_removals(gone, environment))
    written = {path for each in installations for path in _paths(each)}
    main = environment.sites[:1] if additions else ()
    sites = tuple(dict.fromkeys((*by_site, *_linked_sites(environment), *main)))
    return Plan(
        sites=sites,
        runtime=(
            *(
                file
                for site in sites
                for file in _changed(site, _runtime(environment, runtime_bytecode))
            ),
            *_changed(environment.sites[0], additions),
        ),
        splits=tuple(
            (site, split) for site, view in views.items() for split in view.splits()
        ),
        records=tuple(
            _amended_record(site, view.manifests[amendment.name], amendment)
            for site, view in views.items()
            for amendment in view.amendments()
        ),
        dropped=(
            *(
                site / manifest.VIEW / path
                for site, view in views.items()
                for path in view.dropped
            ),
            # unchecked, so an older runtime's would be run instead of this one
            *(
                site / runtime.bytecode_name(environment.cache_tag)
                for site in sites
                if not runtime_bytecode
            ),
        ),
        installations=installations,
        removals=tuple(
            replace(each, paths=tuple(p for p in each.paths if p not in written))
            for each in removals
        ),
        overridden=tuple(each for view in views.values() for each in view.overridden),
    )


def _linked_sites(environment: Environment) -> Iterator[Path]:
    """The site-packages folders that have been linked into: their runtime is renewed."""
    for site in environment.sites:
        if (site / manifest.VIEW).is_dir():
            yield site


def _runtime(environment: Environment, bytecode: bytes) -> dict[str, bytes]:
    """The runtime's files, by their path in site-packages."""
    wanted = runtime.files(environment.version)
    if bytecode:
        name = runtime.bytecode_name(environment.cache_tag)
        wanted[name] = bytecode
    return wanted


def _changed(site: Path, wanted: Mapping[str, bytes]) -> Iterator[RealFile]:
    """The files that have to be written, because they are missing or others."""
    for name, content in wanted.items():
        path = site / name
        try:
            current = path.read_bytes()
        except FileNotFoundError:
            current = None
        if current != content:
            yield RealFile(path, content=content)


def plan_removal(names: Iterable[str], environment: Environment) -> Plan:
    """What it takes to uninstall the distributions ``names`` (normalized).

    :raises InvalidEnvironment: one of them cannot be removed
    """
    removals = tuple(_removals(frozenset(names), environment))
    return Plan((), (), (), (), (), (), removals)


def _plan_view(
    site: Path,
    group: Sequence[Request],
    environment: Environment,
    names: Collection[str],
) -> ViewPlan:
    planned = ViewPlan(site, environment.cache_tag, without=names)
    for request in group:
        planned.add(request.entry)
    return planned


def _installation(
    request: Request,
    environment: Environment,
    site: Path,
    planned: ViewPlan,
    template: str,
) -> Installation:
    entry, description = request.entry, request.entry.description
    links, markers = planned.owned(description.name)
    link_manifest = Manifest(
        description.name,
        description.version,
        entry.root,
        description.sha256,
        description.dist_info,
    )
    generated = _generated(entry, environment, template)
    copies = _copies(request, environment)
    written = [("INSTALLER", INSTALLER)]
    if request.requested:
        written.append(("REQUESTED", b""))
    if request.direct_url is not None:
        written.append(("direct_url.json", request.direct_url.encode("utf-8")))
    rows = [
        *(_row(_relative(site, file.path), file.content) for file in generated),
        *(
            record.Row(_relative(site, file.path), stored.hash, str(stored.size))
            for file, stored in copies
        ),
        *(_row(f"{description.dist_info}/{name}", data) for name, data in written),
        record.Row(link_manifest.path),
        *(record.Row(f"{manifest.VIEW}/{link.path}") for link in links),
        *(record.Row(f"{manifest.VIEW}/{path}") for path in markers),
        record.Row(f"{description.dist_info}/RECORD"),
    ]
    written.append(("RECORD", (entry.record + record.render(rows)).encode("utf-8")))
    real = [
        # listed among the entry's own rows
        RealFile(site / stored.path, source=entry.tree / stored.path)
        for stored in description.real
    ]
    files = (*generated, *(file for file, _ in copies), *real)
    _check_places(files, description.name, environment)
    return Installation(
        name=description.name,
        version=description.version,
        site=site,
        links=links,
        markers=markers,
        files=files,
        manifest=RealFile(
            site / link_manifest.path, content=manifest.encode(link_manifest)
        ),
        dist_info=site / description.dist_info,
        metadata=tuple((name, entry.dist_info / name) for name in description.metadata),
        written=tuple(written),
    )


def _generated(entry: Entry, environment: Environment, template: str) -> list[RealFile]:
    """Scripts: those of entry points, and the wheel's own."""
    folder, python = environment.scheme.scripts, environment.python
    found: list[RealFile] = []
    names: set[str] = set()
    for script in _numbered(entry.description.scripts, environment.version):
        names.add(script.name)
        name, content = scripts.generate(
            script.name, script.module, script.attribute, script.gui, python, template
        )
        found.append(RealFile(folder / name, True, content))
    for stored in entry.description.script_files:
        # Setuptools puts its own wrappers of entry points into a wheel: not needed.
        if scripts.entry_point_of(stored.path) not in names:
            content = (entry.scripts / stored.path).read_bytes()
            adapted = scripts.adapt(content, python)
            found.append(RealFile(folder / stored.path, True, adapted))
    return found


def _numbered(found: Iterable[Script], version: str) -> Iterator[Script]:
    """The scripts to generate: see ``_NUMBERED``."""
    by_name = {script.name: script for script in found}
    for name, others in _NUMBERED.items():
        if name in by_name:
            stale = re.compile(rf"{name}-?\d+(\.\d+)?")
            by_name = {n: s for n, s in by_name.items() if not stale.fullmatch(n)}
            for other in others:
                right = other.format(*version.split("."))
                by_name[right] = replace(by_name[name], name=right)
    yield from by_name.values()


def _copies(
    request: Request, environment: Environment
) -> list[tuple[RealFile, StoredFile]]:
    """The wheel's headers and data files."""
    entry, scheme = request.entry, environment.scheme
    headers = scheme.headers / (request.header_folder or entry.description.name)
    return [
        (RealFile(target / file.path, file.executable, source=source / file.path), file)
        for group, source, target in (
            (entry.description.headers, entry.headers, headers),
            (entry.description.data, entry.data, scheme.data),
        )
        for file in group
    ]


def _amended_record(site: Path, owner: Manifest, amendment: Amendment) -> RealFile:
    """The RECORD of a distribution whose links were split.

    The row of the split link has to go: pip would remove the folder that takes its
    place, with the links of the other distribution.
    """
    path = site / owner.metadata / "RECORD"
    lost = {f"{manifest.VIEW}/{each}" for each in amendment.lost}
    gained = [record.Row(f"{manifest.VIEW}/{each}") for each in amendment.gained]
    rows = [row for row in record.parse(path.read_text("utf-8")) if row.path not in lost]
    return RealFile(path, content=record.render([*rows, *gained]).encode("utf-8"))


def _check_places(files: Iterable[RealFile], name: str, environment: Environment) -> None:
    """No link in the environment leads a file of a wheel out of it, nor into the view."""
    roots = _roots(environment)
    own = [os.path.join(os.path.realpath(s), manifest.FOLDER) for s in environment.sites]
    for folder in dict.fromkeys(file.path.parent for file in files):
        real = os.path.join(os.path.realpath(folder), "")
        if not real.startswith(roots) or real.startswith(tuple(own)):
            reason = f"{name} has files for {folder}, which leads to {real}"
            raise InvalidEnvironment(environment.python, reason)


def _roots(environment: Environment) -> tuple[str, ...]:
    """The folders that an environment consists of, without links, ending with a slash."""
    scheme = environment.scheme
    folders = (*environment.sites, scheme.scripts, scheme.headers, scheme.data)
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def _removals(names: Collection[str], environment: Environment) -> Iterator[Removal]:
    """The distributions ``names`` (normalized) that ``environment`` holds."""
    for site in environment.sites:
        for folder in sorted(os.listdir(site)) if site.is_dir() else ():
            stem, kind = os.path.splitext(folder)
            name, _, version = stem.rpartition("-")
            if kind != ".dist-info":
                name = stem.partition("-")[0]  # NAME-VERSION-pyX.Y.egg-info
            if canonicalize_name(name) not in names:
                continue
            if kind == ".dist-info":
                paths = tuple(_removable(site, folder, environment))
                yield Removal(
                    canonicalize_name(name), version, site, site / folder, paths
                )
            elif kind in (".egg-info", ".egg-link"):
                reason = f"{folder} has no RECORD, so it cannot be removed"
                raise InvalidEnvironment(site, f"{reason}; uninstall {name} first")


def _removable(site: Path, dist_info: str, environment: Environment) -> Iterator[Path]:
    """What the RECORD of an installed distribution lists, as far as it is its to remove.

    A row is never followed through a link, nor out of the environment. The folder of
    each path is free of links.
    """
    path = site / dist_info / "RECORD"
    try:
        listed = record.paths(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = f"{dist_info} has no readable RECORD, so it cannot be removed ({error})"
        raise InvalidEnvironment(site, reason) from error
    roots, real_site = _roots(environment), os.path.realpath(site)
    metadata = os.path.join(real_site, dist_info, "")
    real: dict[str, str] = {}
    for row in listed:
        # The row says how to get there from the path of site-packages, not through it.
        folder, name = os.path.split(os.path.normpath(os.path.join(site, row)))
        if folder not in real:
            real[folder] = os.path.join(os.path.realpath(folder), "")
        if real[folder].startswith(roots) and not real[folder].startswith(metadata):
            yield Path(real[folder], name)
            if name.endswith(".py"):
                compiled = f"{name[:-3]}.{environment.cache_tag}.pyc"
                yield Path(real[folder], "__pycache__", compiled)


def _paths(installation: Installation) -> Iterator[Path]:
    """Everything the installation writes, its metadata aside.

    As :func:`_removable` gives paths, so that the two can be compared.
    """
    for file in (installation.manifest, *installation.files):
        yield Path(os.path.realpath(file.path.parent), file.path.name)
    # not resolved further: what is a link in the view now may be a folder then
    shown = Path(os.path.realpath(installation.site), manifest.VIEW)
    yield from (shown / link.path for link in installation.links)
    yield from (shown / path for path in installation.markers)


def _relative(site: Path, path: Path) -> str:
    """As in RECORD: relative to site-packages, with ``/``."""
    return os.path.relpath(path, site).replace(os.sep, "/")


def _row(path: str, content: bytes | None) -> record.Row:
    assert content is not None
    digest = hashlib.sha256(content).digest()
    return record.Row(path, record.encode_digest("sha256", digest), str(len(content)))
