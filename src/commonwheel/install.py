"""Install: the story. Wheels -> entries of a store -> plan -> an environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from commonwheel import access, real_packages, scripts, wheel
from commonwheel.apply import Applied, apply, changing
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import DuplicateRequest, IncompatibleWheel, NoSymbolicLinks
from commonwheel.exclusion import Patience
from commonwheel.installation import INSTALLER, Request
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.plan import plan_links, plan_removal
from commonwheel.store import Store

Progress = Callable[[str, int, int], object]
"""Called with what is going on, how much of it is done and how much there is.

Zero there is means that it is not known.
"""

FETCHING = "fetching"
"""What is going on when the amounts are bytes; otherwise they are distributions."""


def _quiet(task: str, done: int, total: int) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class WheelRequest:
    """A wheel file to install, and what its frontend knows about why."""

    path: Path
    requested: bool = True
    """Whether the user asked for it by name (the REQUESTED file of :pep:`376`)."""
    direct_url: str | None = None
    """The contents of ``direct_url.json`` (:pep:`610`), if it has one."""
    header_folder: str | None = None
    """The name of its folder for headers, if not the distribution's normalized name."""
    lasting: bool = False
    """Whether the file stays where it is, so that its hash is worth remembering."""
    installer: str = INSTALLER
    """Who the INSTALLER file (:pep:`376`) names."""
    bytecode: bool = True
    """Whether real files come with bytecode; links always have it."""
    url: str | None = None
    """Where the file came from, without credentials, if it can be had there again."""


def install_wheels(
    wheels: Sequence[WheelRequest],
    environment: Environment,
    store: Store,
    *,
    links: LinkChoice = LinkChoice(),  # noqa: B008  frozen
    script_template: str = scripts.TEMPLATE,
    additions: Mapping[str, bytes] = MappingProxyType({}),
    progress: Progress = _quiet,
) -> Applied:
    """Link the distributions of ``wheels`` into ``environment``, all or none.

    What is not in ``store`` yet is added to it first. A distribution of the same name
    is replaced. ``links`` says which of them are to be links, which real files.
    ``additions`` are other files that site-packages is given, by their path in it.

    :raises InvalidWheel: a file is not a wheel
    :raises IncompatibleWheel: a wheel is for another Python or platform
    :raises DuplicateRequest: two wheels are of one distribution
    :raises InvalidStore: the store cannot be written or read
    :raises Busy: somebody else was at the store or the environment all the time
    :raises LinkConflict: two distributions cannot be in one environment
    :raises LinkModeUnavailable: a link mode was chosen that does not work there
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    _check_requests(wheels, environment)
    compiler = compiler_of(environment)
    requests: list[Request] = []
    with store.in_use():
        for number, each in enumerate(wheels):
            progress("storing", number, len(wheels))
            entry = store.add(each.path, compiler, remember=each.lasting, url=each.url)
            requests.append(_request(each, entry, links))
        return link_entries(
            requests,
            environment,
            store,
            script_template=script_template,
            additions=additions,
            progress=progress,
        )


def link_entries(
    requests: Sequence[Request],
    environment: Environment,
    store: Store,
    *,
    removed: Collection[str] = (),
    script_template: str = scripts.TEMPLATE,
    additions: Mapping[str, bytes] = MappingProxyType({}),
    progress: Progress = _quiet,
) -> Applied:
    """Link entries of ``store`` into ``environment``, all or none.

    As :func:`install_wheels`, for what is in the store already, with bytecode for the
    environment's Python (:meth:`Store.ensure_bytecode`). The distributions ``removed``
    (normalized names) are uninstalled at the same time.

    :raises EntryGone: one of them was collected meanwhile
    :raises Busy: somebody else was at the store or the environment all the time
    :raises InvalidStore: the store cannot be written or read
    :raises LinkConflict: two distributions cannot be in one environment
    :raises LinkModeUnavailable: a link mode was chosen that does not work there
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    compiler = compiler_of(environment)
    bytecode = store.bytecode_of_runtime(compiler) if compiler is not None else b""
    progress("linking", len(requests), len(requests))
    requests, kept_from = _for_its_owner(requests, environment)

    def carry_out(requests: Sequence[Request]) -> Applied:
        plan = plan_links(
            requests, environment, script_template, bytecode, additions, removed
        )
        return apply(plan, environment)

    with store.in_use(), changing(environment, store.patience) as said:
        if not environment.plain:  # its files are its own, and need no entry
            held = {each.entry.root: each.mode for each in requests}
            store.remember_environment(environment, held)
        try:
            done = carry_out(requests)
        except NoSymbolicLinks as error:
            done = carry_out([_as_real_files(each) for each in requests])
            why = f"no symbolic links on its filesystem ({error.reason}): real files"
            done = replace(done, fallbacks=(why, *done.fallbacks))
    return replace(done, fallbacks=(*said, *kept_from, *done.fallbacks))


def uninstall(
    names: Sequence[str],
    environment: Environment,
    patience: Patience = Patience(),  # noqa: B008  frozen
) -> Applied:
    """Remove the distributions ``names`` (normalized) from ``environment``.

    Names that are not installed are not in the plan that was carried out.

    :raises InvalidEnvironment: one of them has no RECORD
    :raises EnvironmentBusy: somebody else changed it all the time
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    with changing(environment, patience) as said:
        done = apply(plan_removal(names, environment), environment)
    return replace(done, fallbacks=(*said, *done.fallbacks))


def of_entry(entry: Entry, links: LinkChoice) -> Request:
    """A request for an entry, with the link mode that was chosen for it.

    Of packages that are known not to work as links it is another one.
    """
    name = entry.description.name
    known = real_packages.REASONS.get(name, "")
    if known:
        links = replace(links, real=links.real | {name})
    reason = known if links.mode is LinkMode.MANIFEST else ""
    return Request(entry, mode=links.of(name), reason=reason)


def compiler_of(environment: Environment) -> Compiler | None:
    """What makes bytecode for ``environment``; nothing does for a foreign Python."""
    if environment.foreign:
        return None
    return Compiler(environment.python, environment.cache_tag)


def _request(wheel: WheelRequest, entry: Entry, links: LinkChoice) -> Request:
    return replace(
        of_entry(entry, links),
        requested=wheel.requested,
        direct_url=wheel.direct_url,
        header_folder=wheel.header_folder,
        installer=wheel.installer,
        bytecode=wheel.bytecode,
    )


def _for_its_owner(
    requests: Sequence[Request], environment: Environment
) -> tuple[Sequence[Request], tuple[str, ...]]:
    """As real files what the environment's owner could not read in the store.

    So it is where the superuser installs for somebody, of a store that is private. With
    what a person should be told.
    """
    if sys.platform == "win32":
        return requests, ()
    try:
        owner = os.stat(environment.sites[0]).st_uid
    except OSError:
        return requests, ()  # it is made now, and belongs to who makes it
    if environment.plain or owner == os.geteuid():
        return requests, ()
    linked = [each for each in requests if each.mode is LinkMode.MANIFEST]
    folders = dict.fromkeys(each.entry.root.parent for each in linked)
    hidden = [folder for folder in folders if not access.can_read(owner, folder)]
    if not hidden:
        return requests, ()
    name = access.name_of(owner)
    said = (f"{name} cannot read {each.parent}: real files" for each in hidden)
    changed = [
        _as_real_files(each) if each.entry.root.parent in hidden else each
        for each in requests
    ]
    return changed, tuple(said)


def _as_real_files(request: Request) -> Request:
    if request.mode is not LinkMode.MANIFEST:
        return request
    return replace(request, mode=LinkMode.AUTO)


def _check_requests(wheels: Sequence[WheelRequest], environment: Environment) -> None:
    """Refuse what can be seen from the files' names, before the store is touched."""
    supported = None if environment.tags is None else frozenset(environment.tags)
    by_name: dict[str, Path] = {}
    for path in (each.path for each in wheels):
        name, tags = wheel.name(path), {str(tag) for tag in wheel.tags(path)}
        if supported is not None and supported.isdisjoint(tags):
            described = path.name.removesuffix(".whl").split("-", 2)[2]
            raise IncompatibleWheel(path, described, str(environment))
        if name in by_name:
            raise DuplicateRequest(name, (str(by_name[name]), str(path)))
        by_name[name] = path
