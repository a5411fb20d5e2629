"""What several commands are about: a store, or an environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from commonwheel.environment import Environment
from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.holdings import read_links
from commonwheel.store import Store


class Arguments(argparse.Namespace):
    """What :func:`add` asks for."""

    subject: Path | None
    store: str | None


def add(verb: argparse.ArgumentParser) -> None:
    """``ENV`` or ``STORE``; see :func:`of`."""
    verb.add_argument(
        "subject",
        nargs="?",
        type=Path,
        metavar="ENV|STORE",
        help="the folder of a virtual environment, an interpreter, or a store's folder "
        "(default: the active environment if it has links, else the store)",
    )
    arguments.add_store(verb)


def of(asked: Arguments) -> Store | Environment:
    """What the command is about.

    :raises InvalidEnvironment: it is neither
    :raises InvalidStore: it is a store that cannot be used
    """
    given = asked.subject
    if given is not None and (given / "format").is_file() and not _has_pyvenv(given):
        return settings.open_store(str(given))
    if given is None and asked.store is not None:
        return settings.open_store(asked.store)
    environment = arguments.environment(given)
    if given is None and not any(any(read_links(each)) for each in environment.sites):
        return settings.open_store(asked.store)
    return environment


def _has_pyvenv(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file()


def name_of(subject: Store | Environment) -> str:
    """What a person calls it."""
    return settings.name_of(subject) if isinstance(subject, Store) else str(subject)
