"""The command line: ``commonwheel``, also ``python -m commonwheel``.

Exit status: 0 done, 1 refused or failed (one line says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import commonwheel
from commonwheel.errors import CommonwheelError
from commonwheel.frontends.verbs import (
    arguments,
    doctor,
    enable,
    install,
    status,
    sync,
    uninstall,
    uv,
    venv,
)


class Arguments(argparse.Namespace):
    """What was asked for on the command line."""

    run: Callable[[Any], int]


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    asked = _parser().parse_args(given, namespace=Arguments())
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # `nohup` has it ignored
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _stop)
    try:
        return asked.run(asked)
    except BrokenPipeError:
        # Whoever reads has enough. Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except CommonwheelError as error:
        arguments.complain("error", error)
    except (OSError, ValueError) as error:
        arguments.complain("error", _explain(error))
    except KeyboardInterrupt:
        print("commonwheel: interrupted, nothing was changed", file=sys.stderr)
    return 1


def _stop(*_: object) -> None:
    """End as after Ctrl-C: what was begun is taken back."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="commonwheel",
        description="Environments made of links to wheels that are unpacked once.",
    )
    version = f"commonwheel {commonwheel.__version__}"
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in (install, sync, uninstall, venv, enable, status, doctor, uv):
        verb.add(verbs)
    return parser


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
