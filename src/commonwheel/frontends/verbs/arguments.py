"""What several commands take, and how they answer."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from commonwheel.apply import Applied
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import CommonwheelError
from commonwheel.frontends import settings
from commonwheel.registration import register

Verbs = argparse._SubParsersAction  # noqa: SLF001  argparse has no other name for it
Progress = Callable[[str, int, int], object]


def add_python(verb: argparse._ActionsContainer) -> None:
    """``--python``, which names an environment; see :func:`environment`."""
    verb.add_argument(
        "--python",
        type=Path,
        metavar="PY",
        help="the environment's interpreter, or the folder of a virtual environment "
        "(default: the active one)",
    )


def add_environment(verb: argparse.ArgumentParser) -> None:
    """``ENV``, which names an environment; see :func:`environment`."""
    verb.add_argument(
        "environment",
        nargs="?",
        type=Path,
        metavar="ENV",
        help="the folder of a virtual environment, or an interpreter "
        "(default: the active one)",
    )


def add_managed(verb: argparse.ArgumentParser) -> None:
    """``--break-system-packages``, as pip has it (:pep:`668`)."""
    verb.add_argument(
        "--break-system-packages",
        action="store_true",
        help="change an interpreter that is managed by somebody else (PEP 668)",
    )


def add_store(verb: argparse.ArgumentParser) -> None:
    """``--store``."""
    verb.add_argument(
        "--store", metavar="DIR", help="the store's folder, or several, as PATH has"
    )


def add_links(verb: argparse.ArgumentParser) -> None:
    """``--link-mode`` and ``--real``; see :func:`commonwheel.frontends.settings`."""
    verb.add_argument(
        "--link-mode",
        choices=settings.LINK_MODES,
        metavar="MODE",
        help="manifest (links, the default), or real files: reflink, hardlink, copy, or "
        "auto for the first of the three that works",
    )
    verb.add_argument(
        "--real",
        action="append",
        default=[],
        metavar="NAMES",
        help="install these distributions as real files (may be given more than once)",
    )


def add_selection(verb: argparse.ArgumentParser) -> None:
    """``--extra`` and ``--group``: what is wanted of a lock."""
    verb.add_argument(
        "--extra", action="append", default=[], metavar="NAME", help="of the lock"
    )
    verb.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME",
        help="a dependency group, beside the lock's default groups",
    )


def add_json(verb: argparse.ArgumentParser, what: str = "what was done") -> None:
    """``--json``."""
    verb.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def environment(given: Path | None, *, managed: bool = False) -> Environment:
    """The environment that was named, else the active one, else commonwheel's own.

    ``managed``: it may be one that is managed by somebody else (:pep:`668`). If it has
    moved its stores are told; that they cannot be told is no obstacle.
    """
    patience = settings.patience()
    found = of_interpreter(python(given), managed=managed)
    try:
        register(found, patience)
    except (CommonwheelError, OSError, ValueError) as error:
        complain("warning", f"{found} is not registered: {error}")
    return found


def python(given: Path | None) -> Path:
    """The interpreter, or the environment's folder, that :func:`environment` asks."""
    return given or Path(os.environ.get("VIRTUAL_ENV") or sys.executable)


@contextmanager
def progress() -> Iterator[Progress]:
    """Shows what is going on, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda task, done, total: None
        return
    # rich takes longer to import than a warm installation takes to run
    from commonwheel.frontends import console

    with console.progress_bar() as show:
        yield show


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of what is done meanwhile are about ``path``, if they name nothing.

    :raises OSError: the same
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def complain(kind: str, message: object) -> None:
    """Tell a person something, on standard error. ``kind``: ``error`` or ``warning``.

    If that cannot be written to either, the exit status has to do.
    """
    with suppress(OSError):
        print(f"commonwheel: {kind}: {message}", file=sys.stderr)


def explain(done: Applied) -> None:
    """Say what was not as it was wanted."""
    for remark in done.remarks():
        complain("warning", remark)


def print_json(data: object) -> None:
    """Answer a program, on standard output."""
    print(json.dumps(data, indent=1))


def describe(done: Applied) -> dict[str, object]:
    """What was installed and removed, for JSON."""
    return {
        "installed": [
            {
                "name": each.name,
                "version": each.version,
                "site": str(each.site),
                "mode": done.modes[each.name].value,
            }
            for each in done.plan.installations
        ],
        "removed": [
            {"name": each.name, "version": each.version, "site": str(each.site)}
            for each in done.plan.removals
        ],
    }
