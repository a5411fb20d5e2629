"""``commonwheel install``: link wheels into an environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from commonwheel.environment import of_site_packages
from commonwheel.frontends import settings
from commonwheel.frontends.verbs import arguments
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.store import Store


class Arguments(argparse.Namespace):
    """What was asked for."""

    wheels: list[Path]
    python: Path | None
    target: Path | None
    store: str | None
    json: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "install",
        help="link wheels into an environment",
        description="Link wheels into an environment, all or none. Nothing is resolved "
        "or downloaded. Without a WHEEL only the environment's runtime is renewed.",
    )
    place = verb.add_mutually_exclusive_group()
    arguments.add_python(place)
    place.add_argument(
        "--target",
        type=Path,
        metavar="SITE_PACKAGES",
        help="the site-packages folder of a virtual environment",
    )
    arguments.add_store(verb)
    arguments.add_json(verb)
    verb.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    if asked.target is not None:
        environment = of_site_packages(asked.target)
    else:
        environment = arguments.environment(asked.python)
    store = Store(settings.store_path(asked.store))
    for wheel in asked.wheels:
        wheel.stat()  # a file that is not there is said to be so, whatever its name
    wheels = [WheelRequest(path, lasting=True) for path in asked.wheels]
    with arguments.progress() as progress:
        plan = install_wheels(wheels, environment, store, progress=progress)
    arguments.warn_of_overridden(plan)
    if asked.json:
        arguments.print_json(arguments.describe_plan(plan))
    return 0
