"""``commonwheel uninstall``: remove distributions, linked or not."""

from __future__ import annotations

import argparse
from pathlib import Path

from packaging.utils import canonicalize_name

from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.install import uninstall


class Arguments(argparse.Namespace):
    """What was asked for."""

    names: list[str]
    python: Path | None
    break_system_packages: bool
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser("uninstall", help="remove distributions, linked or not")
    arguments.add_python(verb)
    arguments.add_managed(verb)
    arguments.add_json(verb)
    verb.add_argument("names", nargs="+", metavar="NAME")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    asked_for = {canonicalize_name(name): name for name in asked.names}
    managed = asked.break_system_packages
    environment = arguments.environment(asked.python, managed=managed)
    done = uninstall(list(asked_for), environment, settings.patience())
    arguments.explain(done)
    if asked.json:
        arguments.print_json(arguments.describe(done))
    missing = asked_for.keys() - {each.name for each in done.plan.removals}
    for name in sorted(missing):
        arguments.complain("error", f"{asked_for[name]!r} is not installed")
    return 1 if missing else 0
