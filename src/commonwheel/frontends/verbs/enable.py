"""``commonwheel enable``: let an environment's pip know the shared store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from commonwheel.frontends import pip_files, settings
from commonwheel.frontends.verbs import arguments
from commonwheel.store import Store


class Arguments(argparse.Namespace):
    """What was asked for."""

    environment: Path | None
    store: str | None


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "enable",
        help="give an environment's pip the option --use-shared-store",
        description="Give an environment's pip the option --use-shared-store, without "
        "installing commonwheel there: it stays where it is.",
    )
    arguments.add_environment(verb)
    arguments.add_store(verb)
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    environment = arguments.environment(asked.environment)
    pip_files.enable(environment, Store(settings.store_path(asked.store)))
    print(f"{environment}: its pip knows --use-shared-store", file=sys.stderr)
    return 0
