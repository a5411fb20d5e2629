"""``commonwheel doctor``: what is wrong with an environment."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from commonwheel.frontends.verbs import arguments
from commonwheel.maintenance import doctor


class Arguments(argparse.Namespace):
    """What was asked for."""

    environment: Path | None
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "doctor",
        help="say what is wrong with an environment",
        description="Say what is wrong with an environment, one line each, and how to "
        "mend it. The exit status is 1 if there is anything.",
    )
    arguments.add_environment(verb)
    arguments.add_json(verb, "it")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    environment = arguments.environment(asked.environment, managed=True)
    findings = doctor.examine(environment)
    if asked.json:
        arguments.print_json([asdict(each) for each in findings])
    else:
        for each in findings:
            print(each)
        if not findings:
            print(f"{environment}: nothing is wrong", file=sys.stderr)
    return 1 if findings else 0
