"""The command line: ``commonwheel``, also ``python -m commonwheel``.

Exit status: 0 done, 1 refused or failed (one line says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import commonwheel
from commonwheel import shortage
from commonwheel.errors import CommonwheelError, explain
from commonwheel.frontends.interruption import Interruption
from commonwheel.frontends.verbs import (
    arguments,
    doctor,
    enable,
    export,
    gc,
    install,
    layer,
    repair,
    run,
    status,
    sync,
    uninstall,
    uv,
    venv,
    verify,
)

_TAKEN_BACK = "what was not complete was taken back"
"""Of commands that are several changes some may have come to their ends."""


class Arguments(argparse.Namespace):
    """What was asked for on the command line."""

    run: Callable[[Any], int]


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    asked = _parser().parse_args(given, namespace=Arguments())
    try:
        with Interruption():
            return _carry_out(asked)
    except KeyboardInterrupt:
        print(f"commonwheel: interrupted; {_TAKEN_BACK}", file=sys.stderr)
    return 1


def _carry_out(asked: Arguments) -> int:
    """Do what was asked for; what it cannot do is said in one line."""
    try:
        status = asked.run(asked)
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be printed is found out here
    except BrokenPipeError:
        _print_no_more()  # whoever reads has enough
    except CommonwheelError as error:
        arguments.complain("error", error)
    except MemoryError:
        arguments.complain("error", f"{shortage.MEMORY}; {_TAKEN_BACK}")
    except (RuntimeError, SystemError) as error:
        reason = shortage.of_interpreter(error)
        if reason is None:
            raise
        arguments.complain("error", f"{reason}; {_TAKEN_BACK}")
    except (OSError, ValueError) as error:
        arguments.complain("error", _explain(error))
        _print_no_more()
    else:
        return status
    return 1


def _print_no_more() -> None:
    """Python must not fail again when it flushes standard output at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="commonwheel",
        description="Environments made of links to wheels that are unpacked once.",
    )
    version = f"commonwheel {commonwheel.__version__}"
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    about_environments = (install, sync, run, uninstall, venv, enable)
    about_order = (status, gc, doctor, verify, repair)
    about_others = (export, layer)
    for verb in (*about_environments, *about_order, *about_others, uv):
        verb.add(verbs)
    return parser


def _explain(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    path = shortage.path_of(error)
    if path is None:
        return explain(error)
    hint = shortage.way_out(error)
    return f"{path}: {error.strerror}{'; ' if hint else ''}{hint}"
