"""``commonwheel install``: link wheels into an environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments, place
from commonwheel.install import WheelRequest, install_wheels


class Arguments(place.Arguments):
    """What was asked for."""

    wheels: list[Path]
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
    place.add(verb)
    arguments.add_store(verb)
    arguments.add_links(verb)
    arguments.add_json(verb)
    verb.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    environment = place.of(asked)
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
