"""``commonwheel enable``: let an environment's pip know the shared store."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from commonwheel import installed
from commonwheel.frontends import pip_files, settings
from commonwheel.frontends.verbs import arguments
from commonwheel.install import link_entries, of_entry


class Arguments(argparse.Namespace):
    """What was asked for."""

    environment: Path | None
    break_system_packages: bool
    store: str | None


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "enable",
        help="give an environment's pip the option --use-shared-store",
        description="Give an environment's pip the option --use-shared-store, without "
        "installing commonwheel there: it stays where it is. A linked pip that was lost "
        "with its store is put back.",
    )
    arguments.add_environment(verb)
    arguments.add_managed(verb)
    arguments.add_store(verb)
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    managed = asked.break_system_packages
    environment = arguments.environment(asked.environment, managed=managed)
    store = settings.open_store(asked.store)
    pip_files.enable(environment, store)
    # what reads locks and runs pip is slow to import; other commands should not wait
    from commonwheel.frontends import seed
    from commonwheel.frontends.host_pip import HostPip

    if seed.is_lost(environment):
        with arguments.progress() as progress:
            entry = seed.pip(environment, store, HostPip(), progress)
        request = replace(of_entry(entry, settings.link_choice()), requested=False)
        link_entries([request], environment, store)
    if "pip" not in installed.read(environment):
        another = f"`pip --python {environment.python} install --use-shared-store`"
        print(
            f"{environment}: it has no pip; {another} needs none there", file=sys.stderr
        )
        return 0
    print(f"{environment}: its pip knows --use-shared-store", file=sys.stderr)
    return 0
