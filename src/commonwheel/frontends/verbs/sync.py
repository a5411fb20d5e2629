"""``commonwheel sync``: make an environment equal to a lock."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from commonwheel.apply import settle, was_stopped
from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments, place
from commonwheel.lock_errors import HostFailed, InvalidLock
from commonwheel.maintenance.strays import tidy

if TYPE_CHECKING:
    from commonwheel.environment import Environment
    from commonwheel.lock import Lock
    from commonwheel.pin import Pin
    from commonwheel.store import Store
    from commonwheel.sync_plan import SyncPlan


class Arguments(place.Arguments):
    """What was asked for."""

    lock: Path
    store: str | None
    link_mode: str | None
    real: list[str]
    extra: list[str]
    all_extras: bool
    group: list[str]
    no_default_groups: bool
    inexact: bool
    require_hashes: bool
    allow_sdist: bool
    allow_empty: bool
    dry_run: bool
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "sync",
        help="make an environment equal to a lock",
        description="Make an environment equal to a lock: pylock.toml (PEP 751), or a "
        "requirements file whose lines are pinned. What the store has is linked; pip "
        "fetches the rest. What the lock does not name is removed, but for pip and "
        "commonwheel. A plain folder, of --target or --prefix, gets all of it anew.",
    )
    place.add(verb)
    arguments.add_store(verb)
    arguments.add_links(verb)
    arguments.add_selection(verb)
    verb.add_argument("--all-extras", action="store_true", help="all that the lock has")
    verb.add_argument(
        "--no-default-groups", action="store_true", help="only what --group names"
    )
    verb.add_argument(
        "--inexact", action="store_true", help="leave what the lock does not name"
    )
    verb.add_argument(
        "--require-hashes",
        action="store_true",
        help="refuse what the lock has no hash of",
    )
    verb.add_argument(
        "--allow-sdist", action="store_true", help="build what has no wheel"
    )
    verb.add_argument(
        "--dry-run", action="store_true", help="print the plan and change nothing"
    )
    verb.add_argument(
        "--allow-empty", action="store_true", help="a lock that names nothing is meant so"
    )
    arguments.add_json(verb, "the plan")
    verb.add_argument("lock", type=Path, metavar="LOCK")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    # packaging's reader of locks is imported here: no other command needs it
    from commonwheel import lock as locks
    from commonwheel.sync_plan import plan_sync

    lock = locks.read(asked.lock, os.environ)
    environment = place.of(asked)
    if environment.foreign and asked.allow_sdist:
        asked.refuse("--allow-sdist builds for a Python here, --python-version is not")
    pins = lock.select(environment, *_wanted(lock, asked))
    store = settings.open_store(asked.store)
    if not asked.dry_run and was_stopped(environment):
        # what a killed command has done is taken back, not planned with
        for said in settle(environment, store.patience):
            arguments.complain("warning", said)
        tidy(environment, store.patience)
    plan = plan_sync(
        pins,
        environment,
        store,
        links=settings.link_choice(asked.link_mode, asked.real),
        inexact=asked.inexact,
        require_hashes=asked.require_hashes or lock.require_hashes,
        allow_sdist=asked.allow_sdist,
    )
    if not pins and plan.removed and not asked.allow_empty:
        reason = "it names nothing for this environment; --allow-empty removes everything"
        raise InvalidLock(asked.lock, reason)
    if not asked.dry_run:
        _carry_out(plan, lock, environment, store)
        print(_summary(plan), file=sys.stderr)
    if asked.json:
        arguments.print_json(_described(plan))
    elif asked.dry_run:
        for line in _lines(plan):
            print(line)
        if plan.is_empty:
            print(_summary(plan), file=sys.stderr)
    return 0


def _carry_out(
    plan: SyncPlan, lock: Lock, environment: Environment, store: Store
) -> None:
    from commonwheel.frontends.host_pip import HostPip
    from commonwheel.sync import carry_out

    host = HostPip(lock.options, _warn)
    try:
        with arguments.progress() as progress:
            done = carry_out(plan, environment, store, host, progress)
    except HostFailed as error:
        if plan.built or plan.projects:
            print(*error.said, sep="\n", file=sys.stderr)
        if environment.foreign and error.hint is not None:
            error.hint = f"there may be no wheel for {environment}"
        raise
    arguments.explain(done)


def _wanted(lock: Lock, asked: Arguments) -> tuple[list[str], list[str] | None]:
    """The extras and groups to select."""
    extras = [*(lock.extras if asked.all_extras else ()), *asked.extra]
    if not asked.group and not asked.no_default_groups:
        return extras, None
    defaults = () if asked.no_default_groups else lock.default_groups
    return extras, [*defaults, *asked.group]


def _changes(plan: SyncPlan) -> Iterator[tuple[Pin, str]]:
    """What is installed, and where it comes from."""
    yield from ((pin, "store") for pin, _ in plan.linked)
    yield from ((pin, "fetch") for pin in plan.fetched)
    yield from ((pin, "build") for pin in plan.built)
    yield from ((pin, "project") for pin in plan.projects)


def _lines(plan: SyncPlan) -> Iterator[str]:
    for name in plan.removed:
        yield f"- {name} {plan.present[name]}".rstrip()
    for pin, source in sorted(_changes(plan), key=lambda change: change[0].name):
        if pin.name in plan.present:
            yield f"- {pin.name} {plan.present[pin.name]}".rstrip()
        yield f"+ {pin}  ({source})"


def _described(plan: SyncPlan) -> dict[str, object]:
    return {
        "installed": [
            {
                "name": pin.name,
                "version": pin.version,
                "from": source,
                "replaces": plan.present.get(pin.name),
            }
            for pin, source in _changes(plan)
        ],
        "removed": [
            {"name": name, "version": plan.present[name]} for name in plan.removed
        ],
        "up_to_date": [
            {"name": pin.name, "version": pin.version} for pin in plan.up_to_date
        ],
    }


def _summary(plan: SyncPlan) -> str:
    """One line: what was done."""
    parts = [
        f"{verb} {len(what)}{note}"
        for verb, what, note in (
            ("linked", plan.linked, " from the store"),
            ("fetched", plan.fetched, ""),
            ("built", plan.built, ""),
            ("installed", plan.projects, " with pip"),
            ("removed", plan.removed, ""),
        )
        if what
    ]
    kept = len(plan.up_to_date)
    done = ", ".join(parts) or "nothing to do"
    return f"{done[0].upper()}{done[1:]}; {kept} were up to date"


def _warn(message: str) -> None:
    arguments.complain("warning", f"pip: {message}")
