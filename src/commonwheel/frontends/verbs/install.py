"""``commonwheel install``: link wheels into an environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from commonwheel.environment import Environment, of_interpreter, of_prefix, of_target
from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.install import WheelRequest, install_wheels


class Arguments(argparse.Namespace):
    """What was asked for."""

    wheels: list[Path]
    python: Path | None
    target: Path | None
    prefix: Path | None
    store: str | None
    link_mode: str | None
    real: list[str]
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "install",
        help="link wheels into an environment",
        description="Link wheels into an environment, all or none. Nothing is resolved "
        "or downloaded. Without a WHEEL only the environment's runtime is renewed.",
    )
    arguments.add_python(verb)
    place = verb.add_mutually_exclusive_group()
    place.add_argument(
        "--target",
        type=Path,
        metavar="DIR",
        help="the site-packages folder of a virtual environment; any other folder gets "
        "real files, for the interpreter that --python names",
    )
    place.add_argument(
        "--prefix",
        type=Path,
        metavar="DIR",
        help="put real files into lib, bin and so on below this folder",
    )
    arguments.add_store(verb)
    arguments.add_links(verb)
    arguments.add_json(verb)
    verb.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    environment = _place(asked)
    store = settings.open_store(asked.store)
    for wheel in asked.wheels:
        wheel.stat()  # a file that is not there is said to be so, whatever its name
    wheels = [WheelRequest(path, lasting=True) for path in asked.wheels]
    with arguments.progress() as progress:
        done = install_wheels(
            wheels,
            environment,
            store,
            links=settings.link_choice(asked.link_mode, asked.real),
            progress=progress,
        )
    arguments.explain(done)
    if asked.json:
        arguments.print_json(arguments.describe(done))
    return 0


def _place(asked: Arguments) -> Environment:
    python = arguments.python(asked.python)
    if asked.target is not None:
        return of_target(python, asked.target)
    if asked.prefix is not None:
        return of_prefix(python, asked.prefix)
    return of_interpreter(python)
