"""``commonwheel verify``: whether a store, or an environment, is what it should be."""

from __future__ import annotations

import argparse
import sys

from commonwheel.environment import Environment
from commonwheel.frontends.verbs import arguments, subject
from commonwheel.maintenance.verify import (
    Finding,
    Verified,
    verify_environment,
    verify_store,
)
from commonwheel.store import Store


class Arguments(subject.Arguments):
    """What was asked for."""

    quick: bool
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "verify",
        help="compare a store, or an environment, with what is recorded of it",
        description="Hash all files of a store, or of an environment and the entries "
        "that it links to, and say what was changed, is missing or does not belong "
        "there, one line each. The exit status is 1 if there is anything.",
    )
    subject.add(verb)
    verb.add_argument(
        "--quick",
        action="store_true",
        help="read only files whose size or time stamps say that they were written to",
    )
    arguments.add_json(verb, "it")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    wanted = subject.of(asked)
    with arguments.progress() as progress:
        if isinstance(wanted, Store):
            found = verify_store(wanted, quick=asked.quick, progress=progress)
        else:
            found = verify_environment(wanted, quick=asked.quick, progress=progress)
    if asked.json:
        arguments.print_json(_described(wanted, found))
    else:
        for each in found.findings:
            print(each)
    read = f", {found.read:,} of them read" if asked.quick else ""
    print(_summary(wanted, found, read), file=sys.stderr)
    return 1 if found.findings else 0


def _described(wanted: Store | Environment, found: Verified) -> dict[str, object]:
    return {
        "of": str(subject.name_of(wanted)),
        "entries": found.entries,
        "files": found.files,
        "bytes": found.size,
        "read": found.read,
        "findings": [_finding(each) for each in found.findings],
    }


def _finding(each: Finding) -> dict[str, object]:
    damage = each.damage
    return {
        "place": str(damage.place),
        "path": damage.path,
        "fault": damage.fault.value,
        "detail": damage.detail,
        "distribution": damage.distribution,
        "seen_by": [str(path) for path in each.seen_by],
    }


def _summary(wanted: Store | Environment, found: Verified, read: str) -> str:
    wrong = f"{len(found.findings):,} things are" if found.findings else "nothing is"
    if len(found.findings) == 1:
        wrong = "1 thing is"
    return (
        f"{subject.name_of(wanted)}: {_entries(found.entries)}, {found.files:,} files, "
        f"{found.size / 1e6:,.1f} MB verified{read}; {wrong} wrong"
    )


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"
