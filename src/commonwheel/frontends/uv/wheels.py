"""The wheels that uv would install: which files they are, and their links.

uv says it in a ``pylock.toml`` (:pep:`751`), from which the wheels for the environment
are selected as for any other lock.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from packaging.utils import canonicalize_name
from packaging.version import Version

from commonwheel import installed, lock, requirements_file, sync, sync_plan
from commonwheel.entry import Entry
from commonwheel.entry_folder import read_entry
from commonwheel.environment import Environment, of_interpreter
from commonwheel.frontends import settings
from commonwheel.frontends.host_pip import HostPip
from commonwheel.frontends.uv.answers import Changes, Place
from commonwheel.frontends.uv.arguments import Command
from commonwheel.frontends.uv.inputs import Inputs
from commonwheel.frontends.uv.questions import Asking
from commonwheel.frontends.verbs import arguments
from commonwheel.pin import Kind, Pin
from commonwheel.requirements_file import RequirementsFile
from commonwheel.sync_plan import SyncPlan


def link(
    asking: Asking, inputs: Inputs, changes: Changes, place: Place
) -> frozenset[str]:
    """Link the wheels among ``changes``; returns the names of what is linked then.

    :raises CommonwheelError: something failed, and nothing was linked
    :raises OSError: a file cannot be read or written
    """
    environment = _environment(asking, changes, place)
    pins = _pins(asking, inputs, changes, place, environment)
    return _install(pins, environment)


def _environment(asking: Asking, changes: Changes, place: Place) -> Environment:
    """The environment; ``uv sync`` is made to make it if it is not there."""
    if place.missing:
        said = asking.make_environment(changes)
        if not asking.command.has("--quiet"):
            sys.stderr.write(said)
    if place.version is None or (place.root / "pyvenv.cfg").is_file():
        return of_interpreter(place.root, managed=True)
    # several Pythons may share a prefix
    minor = ".".join(place.version.split(".")[:2])
    return of_interpreter(place.root / "bin" / f"python{minor}", managed=True)


def _pins(
    asking: Asking,
    inputs: Inputs,
    changes: Changes,
    place: Place,
    environment: Environment,
) -> tuple[Pin, ...]:
    """The wheels of an index that uv would install, and from which files.

    :raises UvRefused: uv does not say
    :raises InvalidLock: a file of requirements is not understood
    """
    command = asking.command
    listed = [
        requirements_file.read(file, inputs.variables) for file in inputs.requirements
    ]
    if command.verb == ("sync",):
        file = asking.exported(locked=place.locked or place.missing)
        selected = lock.read(file).select(environment)
    elif inputs.lock is not None:
        selected = _selected(lock.read(inputs.lock), command, environment)
    elif changes.others or inputs.projects or command.has("--group"):
        file = asking.resolved(changes, environment.python)
        selected = lock.read(file).select(environment)
    else:
        options = [option for file in listed for option in file.options]
        file = asking.pinned(changes, environment.python, options)
        selected = lock.read(file).select(environment)
    built = frozenset[str]()
    if command.verb == ("sync",) or inputs.lock is not None:
        found = asking.without_wheels()
        built = frozenset(changes.wanted) if found is None else found
    return tuple(
        pin
        for pin in selected
        if pin.kind is Kind.WHEEL
        and not pin.direct
        and pin.name not in built
        and _is(pin, changes.wanted.get(pin.name))
        and _is_allowed(pin, listed)
    )


def _selected(
    given: lock.Lock, command: Command, environment: Environment
) -> tuple[Pin, ...]:
    """What a ``pylock.toml`` names, with the extras and groups that are asked for."""
    extras = [name for each in command.values("--extra") for name in each.split(",")]
    groups = command.values("--group")
    return given.select(
        environment,
        given.extras if command.has("--all-extras") else extras,
        (*given.default_groups, *groups) if groups else None,
    )


def _is(pin: Pin, version: str | None) -> bool:
    return (
        version is not None
        and pin.version is not None
        and Version(pin.version) == Version(version)
    )


def _is_allowed(pin: Pin, listed: Sequence[RequirementsFile]) -> bool:
    """Whether the wheel of ``pin`` has one of the hashes that are listed for it."""
    return all(
        line.hashes & pin.hashes
        for file in listed
        for line in (*file.lines, *file.constraints)
        if line.hashes
        and line.requirement is not None
        and canonicalize_name(line.requirement.name) == pin.name
    )


def _install(pins: tuple[Pin, ...], environment: Environment) -> frozenset[str]:
    """Link ``pins``; returns the names of those that are linked then.

    What an environment is mended with is not linked: it is left to uv, too.
    """
    store = settings.open_store(None)
    links = settings.link_choice()
    plan = sync_plan.plan_sync(pins, environment, store, links=links, inexact=True)
    plan = _anew(replace(plan, projects=()), environment)
    linked = frozenset(p.name for p in (*(p for p, _ in plan.linked), *plan.fetched))
    if linked:
        with arguments.progress() as progress:
            done = sync.carry_out(plan, environment, store, HostPip(), progress)
        arguments.explain(done)
    return linked


def _anew(plan: SyncPlan, environment: Environment) -> SyncPlan:
    """The plan with links that are as they should be made anew: uv was going to.

    That is what ``--reinstall`` is for.
    """
    there = installed.read(environment) if plan.up_to_date else {}
    again: list[tuple[Pin, Entry]] = []
    for pin in plan.up_to_date:
        link = there[pin.name][0].link
        entry = None if link is None else read_entry(link.entry)
        if entry is not None:
            again.append((pin, entry))
    return replace(plan, up_to_date=(), linked=(*plan.linked, *again))
