"""``commonwheel status``: what an environment links to, and what that saves."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from commonwheel.frontends.verbs import arguments
from commonwheel.maintenance.status import EnvironmentStatus, status


class Arguments(argparse.Namespace):
    """What was asked for."""

    environment: Path | None
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser("status", help="show what an environment links to")
    arguments.add_environment(verb)
    arguments.add_json(verb, "it")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    found = status(arguments.environment(asked.environment))
    if asked.json:
        arguments.print_json(_describe(found))
        return 0
    # rich takes longer to import than all the rest takes to run
    from commonwheel.frontends import console

    console.print_status(found)
    return 0


def _describe(found: EnvironmentStatus) -> dict[str, object]:
    return {
        "python": str(found.environment.python),
        "version": found.environment.version,
        "linked": [
            asdict(each) | {"entry": str(each.entry), "mode": each.mode.value}
            for each in found.linked
        ],
        "copied": found.plain,
        "bytes_saved": found.bytes_saved,
        "inodes_saved": found.inodes_saved,
    }
