"""``commonwheel uv``: uv, with links. The same as ``commonwheel-uv``."""

from __future__ import annotations

import argparse

from commonwheel.frontends.uv import shim
from commonwheel.frontends.verbs import arguments


class Arguments(argparse.Namespace):
    """What was asked for."""

    arguments: list[str]


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "uv",
        help="run uv; what it would install from wheels is linked",
        add_help=False,
        # uv's options are not ours: nothing begins one here
        prefix_chars="\0",
    )
    verb.add_argument("arguments", nargs=argparse.REMAINDER)
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status, if uv does not take our place."""
    return shim.main(asked.arguments)
