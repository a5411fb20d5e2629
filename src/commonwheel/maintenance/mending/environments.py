"""Environments: what is not whole in one is linked again, of entries that are whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from commonwheel import entry_folder, files, holdings, linkage, manifest, record, view
from commonwheel.apply import changing
from commonwheel.damage import Damage, Fault
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import CommonwheelError, LinkModeUnavailable
from commonwheel.exclusion import Patience
from commonwheel.install import link_entries
from commonwheel.installation import INSTALLER, Request
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.mending.links import rows_of, text_of
from commonwheel.maintenance.mending.plan import Again, Outcome, RepairPlan
from commonwheel.maintenance.mending.users import compiler_of
from commonwheel.maintenance.strays import tidy
from commonwheel.store import Store


def mend(
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
            name, version = each.manifest.name, each.manifest.version
            way_out = linkage.reinstall(environment, f"{name}=={version}")
            outcome.broken.append((f"{name} has no entry", way_out))
    homes = [request.entry.root.parent.parent for request in requests]
    for site in environment.sites:
        homes += [link.entry.parent.parent for link in holdings.read_links(site)[0]]
    known = [home for home in dict.fromkeys(homes) if os.path.isfile(home / "format")]
    chain = Store(*known, patience=store.patience) if known else store
    if plan.renew:
        _link([], again, environment, chain, outcome)
    if requests:
        _link(requests, again, environment, chain, outcome)
    if plan.left:
        _clear(plan.left, environment, store.patience, outcome)


def _elsewhere_now(
    plan: RepairPlan, environment: Environment, entries: Mapping[Path, Entry | None]
) -> Iterator[Again]:
    """What is right, but for its entry, which is in another store now."""
    moved = {root for root, entry in entries.items() if entry and entry.root != root}
    names = {each.manifest.name for each in plan.again}
    for site in environment.sites:
        for link in holdings.read_links(site)[0]:
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
                store.ensure_bytecode(request.entry, compiler_of(environment))
            with changing(environment, store.patience):
                for request in requests:
                    each = by_name[request.entry.description.name]
                    _make_removable(each, request, environment)
            done = link_entries(requests, environment, store)
    except LinkModeUnavailable:  # the environment was moved: to another filesystem
        copies = [_as_copy(request) for request in requests]
        _link(copies, again, environment, store, outcome)
    except (CommonwheelError, OSError) as error:
        if len(requests) > 1:  # which of them it was
            for request in requests:
                _link([request], again, environment, store, outcome)
            return
        name = "".join(each.entry.description.name for each in requests)
        versions = [f"=={each.entry.description.version}" for each in requests]
        way_out = linkage.reinstall(environment, "".join((name or "pip", *versions)))
        outcome.broken.append((f"{name or 'the runtime'}: {error}", way_out))
    else:
        outcome.remarks += done.remarks()
        outcome.mended += [f"{e.name}: linked again" for e in done.plan.installations]
        if not requests:
            outcome.mended.append("the runtime: renewed")


def _as_copy(request: Request) -> Request:
    """The same; real files need not be shared with the store."""
    if request.mode is LinkMode.MANIFEST:
        return request
    return replace(request, mode=LinkMode.COPY)


def _clear(
    left: Sequence[Damage],
    environment: Environment,
    patience: Patience,
    outcome: Outcome,
) -> None:
    """Remove links that belong to nobody, and what an overwritten installation left."""
    try:
        tidy(environment, patience)
        with changing(environment, patience):
            # what was linked again meanwhile has an owner now
            for each in linkage.look(environment, quick=True).damages:
                path = each.place / each.path
                if each.fault is Fault.ADDED and path.is_symlink():
                    path.unlink()
    except (CommonwheelError, OSError, ValueError) as error:
        outcome.broken += [(f"{each}: {error}", "remove it") for each in left]
    else:
        paths = (each.place / each.path for each in left)
        gone = [path for path in paths if not os.path.lexists(path)]
        outcome.mended += [f"{path}: removed" for path in gone]


def _make_removable(each: Again, request: Request, environment: Environment) -> None:
    """Give a distribution whose RECORD is lost one that says what is there of it.

    What replaces it then knows what to remove.
    """
    link = each.manifest
    if each.site not in environment.sites or not holdings.in_force(each.site, link):
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
    rows = rows_of(dist_info)
    return Request(
        entry,
        requested=(dist_info / "REQUESTED").exists() or not dist_info.is_dir(),
        direct_url=text_of(dist_info / "direct_url.json"),
        header_folder=_header_folder(rows, entry, each.site, environment),
        mode=each.manifest.mode,
        installer=(text_of(dist_info / "INSTALLER") or INSTALLER).strip(),
        bytecode=not rows or any(row.endswith(".pyc") for row in rows),
    )


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
