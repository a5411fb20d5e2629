"""``commonwheel layer``: a store of what an environment or a lock needs, to be shared."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from commonwheel import archive, bytecode
from commonwheel.environment import Environment
from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.install import compiler_of
from commonwheel.maintenance import layer
from commonwheel.store import Store


class Arguments(argparse.Namespace):
    """What was asked for."""

    source: Path
    destination: Path
    python: Path | None
    store: str | None
    prefix: str
    extra: list[str]
    group: list[str]
    json: bool
    refuse: Callable[[str], NoReturn]
    """Ends the program: wrong usage."""


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "layer",
        help="make a read-only store of what an environment or a lock needs",
        description="Make a store of just what an environment or a lock needs, to be put "
        "under others in a chain: COMMONWHEEL_STORE=~/own:/mnt/layer. DEST is a folder, "
        "or a file: .squashfs or .erofs to be mounted, .tar, .tar.gz or .tar.zst for the "
        "image of a container. From Python 3.11 on the same entries give the same bytes.",
    )
    verb.add_argument(
        "--python",
        type=Path,
        metavar="PY",
        help="with a LOCK: whom it is for, and who compiles (default: the active "
        "environment)",
    )
    arguments.add_store(verb)
    verb.add_argument(
        "--prefix",
        default=layer.PLACE,
        metavar="DIR",
        help=f"where the store is in a tar archive (default: {layer.PLACE})",
    )
    arguments.add_selection(verb)
    arguments.add_json(verb)
    verb.add_argument(
        "source",
        type=Path,
        metavar="ENV|LOCK",
        help="the folder of a virtual environment or its interpreter, or a lock",
    )
    verb.add_argument("destination", type=Path, metavar="DEST")
    verb.set_defaults(run=run, refuse=verb.error)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    store = settings.open_store(asked.store)
    environment, wanted = _wanted(asked, store)
    compiler = compiler_of(environment)
    assert compiler is not None, "only a foreign Python has none"
    target = asked.destination.absolute()
    if archive.is_archive(target) and not bytecode.is_reproducible(environment.version):
        said = "so this file is another each time"
        arguments.complain("warning", f"bytecode of {environment} varies, {said}")
    with arguments.progress() as progress:
        layer.write_layer(
            wanted,
            store,
            compiler,
            target,
            below=asked.prefix,
            time=settings.source_date(archive.TIME),
            progress=progress,
        )
    number = len(wanted.entries)
    print(f"{target}: a store of {number} distributions", file=sys.stderr)
    if asked.json:
        entries = [each.description.id for each in wanted.entries]
        arguments.print_json({"path": str(target), "entries": entries})
    return 0


def _wanted(asked: Arguments, store: Store) -> tuple[Environment, layer.Layer]:
    """Whom the layer is for, and what it is to hold."""
    if not _is_lock(asked.source):
        if asked.python is not None or asked.extra or asked.group:
            asked.refuse("--python, --extra and --group are for a LOCK")
        environment = arguments.environment(asked.source, managed=True)
        return environment, layer.of_environment(environment)
    # packaging's reader of locks is slow to import
    from commonwheel import lock as locks

    environment = arguments.environment(asked.python, managed=True)
    lock = locks.read(asked.source, os.environ)
    groups = [*lock.default_groups, *asked.group] if asked.group else None
    pins = lock.select(environment, asked.extra, groups)
    return environment, layer.of_lock(pins, environment, store)


def _is_lock(source: Path) -> bool:
    """Whether it is neither a folder nor a program."""
    return source.is_file() and not os.access(source, os.X_OK)
