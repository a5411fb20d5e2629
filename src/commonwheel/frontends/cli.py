"""The command line: ``commonwheel``, also ``python -m commonwheel``.

Exit status: 0 done, 1 refused or failed (one line says why), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from packaging.utils import canonicalize_name

import commonwheel
from commonwheel.environment import Environment, of_interpreter, of_site_packages
from commonwheel.errors import CommonwheelError
from commonwheel.frontends import settings
from commonwheel.install import WheelRequest, install_wheels, uninstall
from commonwheel.maintenance import doctor
from commonwheel.maintenance.status import EnvironmentStatus, status
from commonwheel.plan import Plan
from commonwheel.store import Store


class Arguments(argparse.Namespace):
    """What was asked for on the command line."""

    command: Callable[[Arguments], int]
    wheels: list[Path]
    names: list[str]
    python: Path | None
    target: Path | None
    store: str | None
    environment: Path | None
    json: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    asked = _parser().parse_args(arguments, namespace=Arguments())
    try:
        return asked.command(asked)
    except BrokenPipeError:
        # Whoever reads has enough. Python must not fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except CommonwheelError as error:
        print(f"commonwheel: error: {error}", file=sys.stderr)
    except (OSError, ValueError) as error:
        print(f"commonwheel: error: {_explain(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("commonwheel: interrupted, nothing was changed", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="commonwheel",
        description="Environments made of links to wheels that are unpacked once.",
    )
    version = f"commonwheel {commonwheel.__version__}"
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    verb = verbs.add_parser(
        "install",
        help="link wheels into an environment",
        description="Link wheels into an environment, all or none. Nothing is resolved "
        "or downloaded. Without a WHEEL only the environment's runtime is renewed.",
    )
    place = verb.add_mutually_exclusive_group()
    place.add_argument(
        "--python",
        type=Path,
        metavar="PY",
        help="the environment's interpreter, or the folder of a virtual environment "
        "(default: the active one)",
    )
    place.add_argument(
        "--target",
        type=Path,
        metavar="SITE_PACKAGES",
        help="the site-packages folder of a virtual environment",
    )
    verb.add_argument("--store", metavar="DIR", help="the store's folder")
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")
    verb.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL")
    verb.set_defaults(command=_install)

    verb = verbs.add_parser("uninstall", help="remove distributions, linked or not")
    verb.add_argument(
        "--python",
        type=Path,
        metavar="PY",
        help="the environment's interpreter, or the folder of a virtual environment "
        "(default: the active one)",
    )
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")
    verb.add_argument("names", nargs="+", metavar="NAME")
    verb.set_defaults(command=_uninstall)

    verb = verbs.add_parser("status", help="show what an environment links to")
    _add_environment(verb)
    verb.add_argument("--json", action="store_true", help="print it as JSON")
    verb.set_defaults(command=_status)

    verb = verbs.add_parser(
        "doctor",
        help="say what is wrong with an environment",
        description="Say what is wrong with an environment, one line each, and how to "
        "mend it. The exit status is 1 if there is anything.",
    )
    _add_environment(verb)
    verb.add_argument("--json", action="store_true", help="print it as JSON")
    verb.set_defaults(command=_doctor)
    return parser


def _add_environment(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "environment",
        nargs="?",
        type=Path,
        metavar="ENV",
        help="the folder of a virtual environment, or an interpreter "
        "(default: the active one)",
    )


def _install(asked: Arguments) -> int:
    if asked.target is not None:
        environment = of_site_packages(asked.target)
    else:
        environment = _environment(asked.python)
    store = Store(settings.store_path(asked.store))
    for wheel in asked.wheels:
        wheel.stat()  # a file that is not there is said to be so, whatever its name
    wheels = [WheelRequest(path, lasting=True) for path in asked.wheels]
    with _progress() as progress:
        plan = install_wheels(wheels, environment, store, progress=progress)
    for path, earlier, later in plan.overridden:
        message = f"{path} is in {earlier} and in {later}; the latter's is used"
        print(f"commonwheel: warning: {message}", file=sys.stderr)
    if asked.json:
        print(json.dumps(_describe_plan(plan), indent=1))
    return 0


def _uninstall(asked: Arguments) -> int:
    asked_for = {canonicalize_name(name): name for name in asked.names}
    plan = uninstall(list(asked_for), _environment(asked.python))
    if asked.json:
        print(json.dumps(_describe_plan(plan), indent=1))
    missing = asked_for.keys() - {each.name for each in plan.removals}
    for name in sorted(missing):
        message = f"{asked_for[name]!r} is not installed"
        print(f"commonwheel: error: {message}", file=sys.stderr)
    return 1 if missing else 0


def _describe_plan(plan: Plan) -> dict[str, object]:
    return {
        "installed": [
            {"name": each.name, "version": each.version, "site": str(each.site)}
            for each in plan.installations
        ],
        "removed": [
            {"name": each.name, "version": each.version, "site": str(each.site)}
            for each in plan.removals
        ],
    }


def _status(asked: Arguments) -> int:
    found = status(_environment(asked.environment))
    if asked.json:
        print(json.dumps(_describe_status(found), indent=1))
        return 0
    # rich takes longer to import than all the rest takes to run
    from commonwheel.frontends import console

    console.print_status(found)
    return 0


def _describe_status(found: EnvironmentStatus) -> dict[str, object]:
    return {
        "python": str(found.environment.python),
        "version": found.environment.version,
        "linked": [asdict(each) | {"entry": str(each.entry)} for each in found.linked],
        "copied": found.plain,
        "bytes_saved": found.bytes_saved,
        "inodes_saved": found.inodes_saved,
    }


def _doctor(asked: Arguments) -> int:
    environment = _environment(asked.environment)
    findings = doctor.examine(environment)
    if asked.json:
        print(json.dumps([asdict(each) for each in findings], indent=1))
    else:
        for each in findings:
            print(each)
        if not findings:
            print(f"{environment}: nothing is wrong", file=sys.stderr)
    return 1 if findings else 0


def _environment(given: Path | None) -> Environment:
    """The environment that was named, else the active one, else commonwheel's own."""
    active = os.environ.get("VIRTUAL_ENV")
    return of_interpreter(given or Path(active or sys.executable))


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], object]]:
    if not sys.stderr.isatty():
        yield lambda task, done, total: None
        return
    # rich takes longer to import than a warm installation takes to run
    from commonwheel.frontends import console

    with console.progress_bar() as show:
        yield show


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
