"""Install: the story. Wheels -> entries of a store -> plan -> links in an environment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from commonwheel import scripts, wheel
from commonwheel.apply import apply, changing
from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment
from commonwheel.errors import DuplicateRequest, IncompatibleWheel
from commonwheel.installation import Request
from commonwheel.plan import Plan, plan_links, plan_removal
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


def install_wheels(
    wheels: Sequence[WheelRequest],
    environment: Environment,
    store: Store,
    *,
    script_template: str = scripts.TEMPLATE,
    additions: Mapping[str, bytes] = MappingProxyType({}),
    progress: Progress = _quiet,
) -> Plan:
    """Link the distributions of ``wheels`` into ``environment``, all or none.

    What is not in ``store`` yet is added to it first. A distribution of the same name
    is replaced. ``additions`` are other files that site-packages is given, by their path
    in it. Returns the plan that was carried out.

    :raises InvalidWheel: a file is not a wheel
    :raises IncompatibleWheel: a wheel is for another Python or platform
    :raises DuplicateRequest: two wheels are of one distribution
    :raises InvalidStore: the store cannot be written or read
    :raises LinkConflict: two distributions cannot be in one environment
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    _check_requests(wheels, environment)
    compiler = Compiler(environment.python, environment.cache_tag)
    requests: list[Request] = []
    for number, each in enumerate(wheels):
        progress("storing", number, len(wheels))
        entry = store.add(each.path, compiler, remember=each.lasting)
        requests.append(
            Request(entry, each.requested, each.direct_url, each.header_folder)
        )
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
) -> Plan:
    """Link entries of ``store`` into ``environment``, all or none.

    As :func:`install_wheels`, for what is in the store already, with bytecode for the
    environment's Python (:meth:`Store.ensure_bytecode`). The distributions ``removed``
    (normalized names) are uninstalled at the same time.

    :raises InvalidStore: the store cannot be written or read
    :raises LinkConflict: two distributions cannot be in one environment
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    compiler = Compiler(environment.python, environment.cache_tag)
    bytecode = store.bytecode_of_runtime(compiler)
    progress("linking", len(requests), len(requests))
    with changing(environment):
        plan = plan_links(
            requests, environment, script_template, bytecode, additions, removed
        )
        apply(plan)
    return plan


def uninstall(names: Sequence[str], environment: Environment) -> Plan:
    """Remove the distributions ``names`` (normalized) from ``environment``.

    Returns the plan that was carried out; names that are not installed are not in it.

    :raises InvalidEnvironment: one of them has no RECORD
    :raises ApplyFailed: the environment cannot be written; it is as before
    """
    with changing(environment):
        plan = plan_removal(names, environment)
        apply(plan)
    return plan


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
