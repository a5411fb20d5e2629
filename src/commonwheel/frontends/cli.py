"""The command line: ``commonwheel``, also ``python -m commonwheel``.

Exit status: 0 done, 1 refused or failed (one line says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import commonwheel
from commonwheel.errors import CommonwheelError
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


class Arguments(argparse.Namespace):
    """What was asked for on the command line."""

    run: Callable[[Any], int]


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    if sys.stderr is None:  # closed by whoever started us
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    asked = _parser().parse_args(given, namespace=Arguments())
    try:
        with _ending_as_after_ctrl_c():
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


@contextmanager
def _ending_as_after_ctrl_c() -> Iterator[None]:
    """While this lasts, what was begun is taken back when the process is told to end."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, n, None) for n in ("SIGTERM", "SIGHUP")]
    # not what is ignored, as `nohup` has it
    found = [n for n in numbers if n and signal.getsignal(n) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        found = []
    for number in found:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in found:
            signal.signal(number, signal.SIG_DFL)


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
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
