"""Plan: what putting entries into an environment will change there. Writes nothing.

A plan is frozen data: :mod:`commonwheel.apply` carries it out, a test or a dry run just
looks at it. All paths in it are absolute, except where a field says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from commonwheel import installation, manifest, overlap, record, runtime, scripts
from commonwheel.environment import Environment
from commonwheel.errors import DuplicateRequest
from commonwheel.installation import Installation, RealFile, Request
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.placement import place
from commonwheel.removal import Removal, plan_removals
from commonwheel.view import Amendment, Link, Split, ViewPlan


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
    shown: tuple[tuple[Path, Link], ...]
    """Links of other distributions that change their place, with their site-packages."""
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
    :raises InvalidStore: an entry is damaged whose files are to be real ones
    :raises LinkConflict: two distributions need different kinds of things at one path
    """
    _refuse_duplicates(requests)
    gone = frozenset((*_names(requests), *removed))
    removals = tuple(plan_removals(gone, environment))
    placed = place(requests, environment, removals, gone)
    if len(placed) > len(requests):
        gone |= _names(placed)
        removals = tuple(plan_removals(gone, environment))
    views = _plan_views(placed, environment, gone)
    filled = tuple(views)
    if removals or not requests:
        _restore(views, environment, gone)
    shown = tuple((site, link) for site, view in views.items() for link in view.moved())
    installations = tuple(
        _plan_installation(request, environment, views, template) for request in placed
    )
    written = {path for each in installations for path in installation.paths(each)}
    written |= {_in_view(site, link) for site, link in shown}
    main = environment.sites[:1] if additions else ()
    sites = tuple(dict.fromkeys((*filled, *_linked_sites(environment), *main)))
    return Plan(
        sites=sites,
        runtime=(
            *(
                file
                for site in sites
                for file in _changed(site, _runtime(environment, site, runtime_bytecode))
            ),
            *_changed(environment.sites[0], additions),
        ),
        splits=tuple(
            (site, split) for site, view in views.items() for split in view.splits()
        ),
        records=_amended_records(views),
        dropped=(
            *_dropped(views),
            # unchecked, so an older runtime's would be run instead of this one
            *(
                site / runtime.bytecode_name(environment.cache_tag)
                for site in sites
                if not runtime_bytecode
            ),
        ),
        shown=shown,
        installations=installations,
        removals=_without(removals, written),
        overridden=(
            *(each for view in views.values() for each in view.overridden),
            *overlap.of_real_files(installations, removals, environment),
            *overlap.of_other_files(installations, removals, environment),
        ),
    )


def _names(requests: Iterable[Request]) -> frozenset[str]:
    return frozenset(request.entry.description.name for request in requests)


def _refuse_duplicates(requests: Iterable[Request]) -> None:
    by_name: dict[str, Request] = {}
    for request in requests:
        name = request.entry.description.name
        if name in by_name:
            both = (by_name[name], request)
            sources = tuple(each.entry.description.id for each in both)
            raise DuplicateRequest(name, sources)
        by_name[name] = request


def _plan_installation(
    request: Request,
    environment: Environment,
    views: Mapping[Path, ViewPlan],
    template: str,
) -> Installation:
    site = environment.site_packages(request.entry.description.root_is_purelib)
    if request.mode is LinkMode.MANIFEST:
        planned = views[site]
        return installation.plan_linked(request, environment, site, planned, template)
    return installation.plan_real(request, environment, site, template)


def _linked_sites(environment: Environment) -> Iterator[Path]:
    """The site-packages folders that have been linked into: their runtime is renewed."""
    for site in environment.sites:
        if (site / manifest.VIEW).is_dir():
            yield site


def _runtime(environment: Environment, site: Path, bytecode: bytes) -> dict[str, bytes]:
    """The runtime's files, by their path in site-packages."""
    wanted = runtime.files(environment.version, site)
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

    Without names it is what shows files again that others have hidden which are gone.

    :raises InvalidEnvironment: one of them cannot be removed
    """
    gone = frozenset(names)
    views: dict[Path, ViewPlan] = {}
    _restore(views, environment, gone)
    shown = tuple((site, link) for site, view in views.items() for link in view.moved())
    return Plan(
        sites=tuple(dict.fromkeys(site for site, _ in shown)),
        runtime=(),
        splits=(),
        records=_amended_records(views),
        dropped=_dropped(views),
        shown=shown,
        installations=(),
        removals=_without(
            plan_removals(gone, environment), {_in_view(*each) for each in shown}
        ),
    )


def _without(removals: Iterable[Removal], written: set[Path]) -> tuple[Removal, ...]:
    """The removals, but for what is written anew."""
    return tuple(
        replace(each, paths=tuple(path for path in each.paths if path not in written))
        for each in removals
    )


def _in_view(site: Path, link: Link) -> Path:
    """As a :class:`~commonwheel.removal.Removal` has it."""
    return Path(os.path.realpath(site), manifest.VIEW, link.path)


def _dropped(views: Mapping[Path, ViewPlan]) -> tuple[Path, ...]:
    return tuple(
        site / manifest.VIEW / path
        for site, view in views.items()
        for path in view.dropped
    )


def _amended_records(views: Mapping[Path, ViewPlan]) -> tuple[RealFile, ...]:
    return tuple(
        _amended_record(site, view.manifests[amendment.name], amendment)
        for site, view in views.items()
        for amendment in view.amendments()
    )


def _plan_views(
    requests: Iterable[Request], environment: Environment, gone: Collection[str]
) -> dict[Path, ViewPlan]:
    """The views with what is to be linked in them, by their site-packages."""
    views: dict[Path, ViewPlan] = {}
    for request in requests:
        if request.mode is LinkMode.MANIFEST:
            site = environment.site_packages(request.entry.description.root_is_purelib)
            if site not in views:
                views[site] = ViewPlan(site, environment.cache_tag, without=gone)
            views[site].add(request.entry)
    return views


def _restore(
    views: dict[Path, ViewPlan], environment: Environment, gone: Collection[str]
) -> None:
    """Let the views, and those there are, show what ``gone`` have hidden."""
    for site in _linked_sites(environment):
        if site not in views:
            views[site] = ViewPlan(site, environment.cache_tag, without=gone)
        views[site].restore()


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
