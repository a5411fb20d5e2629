"""What several commands change: an environment, or plain folders, of whichever Python."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from commonwheel.environment import Environment, of_prefix, of_target
from commonwheel.errors import InvalidSetting
from commonwheel.foreign import IMPLEMENTATIONS, ForeignPython
from commonwheel.frontends.verbs import arguments


class Arguments(argparse.Namespace):
    """What :func:`add` asks for: an environment, or plain folders."""

    python: Path | None
    break_system_packages: bool
    target: Path | None
    prefix: Path | None
    python_version: str | None
    platform: list[str]
    implementation: str | None
    abi: list[str]
    script_python: Path | None
    refuse: Callable[[str], NoReturn]
    """Ends the program: wrong usage."""


def add(verb: argparse.ArgumentParser) -> None:
    """Everything that names an environment, or plain folders; see :func:`of`."""
    arguments.add_python(verb)
    arguments.add_managed(verb)
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "--target",
        type=Path,
        metavar="DIR",
        help="the site-packages folder of a virtual environment; any other folder gets "
        "real files, for the interpreter that --python names",
    )
    where.add_argument(
        "--prefix",
        type=Path,
        metavar="DIR",
        help="put real files into lib, bin and so on below this folder",
    )
    foreign = verb.add_argument_group(
        "a Python that is not here",
        "With --target or --prefix: fill the folder for a Python on another machine. "
        "Nothing is run, compiled or built for it.",
    )
    foreign.add_argument(
        "--python-version", metavar="VERSION", help="such as 3.12 or 3.12.4"
    )
    foreign.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="PLATFORM",
        help="such as manylinux_2_28_aarch64, macosx_14_0_arm64 or win_amd64; wheels for "
        "older ones of its kind work, too (may be given more than once)",
    )
    foreign.add_argument(
        "--implementation",
        choices=IMPLEMENTATIONS,
        help="CPython (the default) or PyPy",
    )
    foreign.add_argument(
        "--abi",
        action="append",
        default=[],
        metavar="ABI",
        help="such as cp313t (may be given more than once)",
    )
    foreign.add_argument(
        "--script-python",
        type=Path,
        metavar="PATH",
        help="the interpreter that scripts name; a name without a folder is looked for "
        "when they are run (default: such as python3.12)",
    )
    verb.set_defaults(refuse=verb.error)


def of(asked: Arguments) -> Environment:
    """The environment, or the plain folders, that were named.

    :raises SystemExit: what was named does not go together
    :raises InvalidEnvironment: there is no such environment
    """
    if asked.python_version is not None:
        return _foreign(asked, asked.python_version)
    for option in ("platform", "implementation", "abi", "script_python"):
        if getattr(asked, option):
            asked.refuse(f"--{option.replace('_', '-')} needs --python-version")
    if asked.target is not None:
        return of_target(arguments.python(asked.python), asked.target)
    if asked.prefix is not None:
        return of_prefix(arguments.python(asked.python), asked.prefix)
    managed = asked.break_system_packages
    return arguments.environment(asked.python, managed=managed)


def _foreign(asked: Arguments, version: str) -> Environment:
    if asked.python is not None:
        asked.refuse("--python names a Python here, --python-version one elsewhere")
    if not asked.platform:
        asked.refuse("--python-version needs --platform")
    folder = asked.target or asked.prefix
    if folder is None:
        asked.refuse("--python-version needs --target or --prefix")
    try:
        foreign = ForeignPython(
            version,
            tuple(asked.platform),
            asked.implementation or "cp",
            tuple(asked.abi),
            asked.script_python,
        )
    except InvalidSetting as error:
        asked.refuse(str(error))
    put = foreign.in_target if asked.target is not None else foreign.in_prefix
    return put(folder)
