"""``commonwheel gc``: free what no environment uses any more."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path

from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.maintenance.gc import Collected, Plan, Rules, collect, preview
from commonwheel.sight import State
from commonwheel.usage import Holder, Unused

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class Arguments(argparse.Namespace):
    """What was asked for."""

    store: str | None
    dry_run: bool
    json: bool
    grace: float
    older_than: float | None
    max_size: int | None
    forget: list[Path]
    all: bool
    wait: float


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "gc",
        help="free what no environment uses any more",
        description="Free what no environment uses any more. Removing an environment is "
        "enough (rm -rf): what it alone used is noted as unused by the next gc, kept for "
        "an hour, and freed by the gc after that. TIME is a number with s, m, h, d or w "
        "(30d); SIZE one with K, M, G or T (20G: thousands), or Ki, Mi, Gi or Ti.",
    )
    arguments.add_store(verb)
    verb.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    verb.add_argument(
        "--grace",
        type=_duration,
        default=3600.0,
        metavar="TIME",
        help="keep what has been unused for less than that (default: 1h; 0 frees now)",
    )
    verb.add_argument(
        "--older-than",
        type=_duration,
        metavar="TIME",
        help="free only what has been unused for longer than that; also environments "
        "made for running programs (else after 30d), though one may still run",
    )
    verb.add_argument(
        "--max-size",
        type=_size,
        metavar="SIZE",
        help="free what has been unused for the longest time, and no more of it than has "
        "to go for the store to be that small; after what --older-than says",
    )
    verb.add_argument(
        "--forget",
        action="append",
        type=Path,
        default=[],
        metavar="ENV",
        help="do not wait for this environment, which cannot be reached (may be given "
        "more than once)",
    )
    verb.add_argument(
        "--all",
        action="store_true",
        help="also if no environment is registered, so that nothing is in use",
    )
    verb.add_argument(
        "--wait",
        type=_duration,
        default=30.0,
        metavar="TIME",
        help="how long to wait for others to be done with the store (default: 30s)",
    )
    arguments.add_json(verb)
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    store = settings.open_store(asked.store)
    rules = Rules(
        asked.grace, asked.older_than, asked.max_size, tuple(asked.forget), asked.all
    )
    if not store.is_there:
        arguments.complain("note", f"there is no store at {store.root}")
        done = Collected(Plan(now=0.0))
        if not asked.json:
            return 0
    elif asked.dry_run:
        done = Collected(preview(store, rules))
    else:
        try:
            with arguments.progress() as progress:
                done = collect(store, rules, patience=asked.wait, progress=progress)
        except KeyboardInterrupt:
            message = "interrupted; what was not freed yet is freed the next time"
            arguments.complain("error", message)
            return 1
    if asked.json:
        arguments.print_json(_describe(done, asked.dry_run))
    else:
        # rich takes longer to import than most of the rest takes to run
        from commonwheel.frontends import console

        console.print_collected(done, rules, asked.dry_run)
    for remark in _remarks(done.plan):
        arguments.complain("note", remark)
    for path in done.left:
        arguments.complain("warning", f"{path} could not be removed; gc tries again")
    return 0


def _remarks(plan: Plan) -> Iterator[str]:
    """Which environments could not be looked at, and what follows."""
    for each in plan.out_of_sight:
        path, number = each.root.environment, len(each.sight.entries)
        held = (
            "what it held (1 entry) is" if number == 1 else f"its {number:,} entries are"
        )
        until = plan.kept_until(each)
        if until is None:
            yield f"{path} cannot be read ({each.sight.reason}); {held} kept"
        else:
            day = time.strftime("%Y-%m-%d", time.localtime(until))
            yield (
                f"{path} cannot be reached, what it was on is not mounted; {held} kept"
                f" until {day}, or until gc --forget {path}"
            )


def _duration(text: str) -> float:
    """Seconds.

    :raises ArgumentTypeError: it is no time; names it
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])|0", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time, such as 90s, 1h or 30d"
        )
    number, unit = found.groups()
    return float(number) * _SECONDS[unit] if unit else 0.0


def _size(text: str) -> int:
    """Bytes.

    :raises ArgumentTypeError: it is no size; names it
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(i?)B?", text, re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        reason = f"{text!r} is not a size, such as 500M, 20G or 20GiB"
        raise argparse.ArgumentTypeError(reason)
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _POWERS[found[2].lower()])


def _describe(done: Collected, dry_run: bool) -> dict[str, object]:
    plan = done.plan
    return {
        "dry_run": dry_run,
        "freed": [_describe_entry(each) for each in plan.free],
        "bytes_freed": sum(each.bytes for each in plan.free),
        "kept": [
            _describe_entry(each.entry) | {"until": each.until} for each in plan.kept
        ],
        "environments": list(_describe_environments(plan)),
        "runs_removed": [str(each) for each in plan.runs],
        "not_removed": [str(each) for each in done.left],
    }


def _describe_entry(entry: Unused) -> dict[str, object]:
    return {
        "entry": entry.name,
        "bytes": entry.bytes,
        "inodes": entry.inodes,
        "unused_since": entry.since,
        "held_by": [str(each) for each in entry.last],
    }


def _describe_environments(plan: Plan) -> Iterator[dict[str, object]]:
    """Those that are not simply there."""
    forgotten = {each.root.id for each in plan.forgotten}
    for each in plan.holders:
        if each.sight.state is not State.PRESENT or each.root.id in forgotten:
            yield _describe_environment(each, plan, each.root.id in forgotten)


def _describe_environment(each: Holder, plan: Plan, forgotten: bool) -> dict[str, object]:
    missing = plan.now if each.missing is None else each.missing
    return {
        "path": str(each.root.environment),
        "state": each.sight.state.value,
        "reason": each.sight.reason,
        "entries": len(each.sight.entries),
        "missing_since": missing if each.is_away else None,
        "counts_until": plan.kept_until(each),
        "forgotten": forgotten,
    }
