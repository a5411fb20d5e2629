"""``commonwheel status``: what an environment, or all of them, have from a store."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.maintenance.status import EnvironmentStatus, status
from commonwheel.maintenance.store_status import StoreStatus, store_status
from commonwheel.store import Store
from commonwheel.store_folder import is_store


class Arguments(argparse.Namespace):
    """What was asked for."""

    environment: Path | None
    store: str | None
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "status",
        help="show what an environment links to, or who uses a store",
        description="Show what an environment links to; or who uses a store, what it "
        "takes, and what that saves.",
    )
    subject = verb.add_mutually_exclusive_group()
    subject.add_argument(
        "environment",
        nargs="?",
        type=Path,
        metavar="ENV",
        help="the folder of a virtual environment, or an interpreter "
        "(default: the active one), or the folder of a store",
    )
    subject.add_argument(
        "--store",
        nargs="?",
        const="",
        metavar="DIR",
        help="of this store, not of an environment (without DIR: of the one in use)",
    )
    arguments.add_json(verb, "it")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    store = _store(asked)
    if store is not None:
        _show_store(store_status(store), asked.json)
        return 0
    found = status(arguments.environment(asked.environment, managed=True))
    if asked.json:
        arguments.print_json(_describe(found))
        return 0
    # rich takes longer to import than all the rest takes to run
    from commonwheel.frontends import console

    console.print_status(found)
    return 0


def _store(asked: Arguments) -> Store | None:
    if asked.store is not None:
        return settings.open_store(asked.store or None)
    if asked.environment is not None and is_store(asked.environment):
        return Store(asked.environment)
    return None


def _show_store(found: StoreStatus, as_json: bool) -> None:
    if as_json:
        arguments.print_json(_describe_store(found))
        return
    # rich takes longer to import than all the rest takes to run
    from commonwheel.frontends import console

    console.print_store_status(found)


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


def _describe_store(found: StoreStatus) -> dict[str, object]:
    return {
        "store": str(found.path),
        "environments": [
            {
                "path": str(each.path),
                "state": each.state.value,
                "reason": each.reason,
                "changed": each.changed,
                "missing_since": each.missing,
                "linked": vars(each.linked),
                "real": each.real,
            }
            for each in found.environments
        ],
        "stored": vars(found.stored),
        "used": vars(found.used),
        "as_copies": vars(found.copies),
        "would_be_freed": vars(found.free),
        "bytes_saved": found.bytes_saved,
        "inodes_saved": found.inodes_saved,
    }
