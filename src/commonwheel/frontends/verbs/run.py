"""``commonwheel run``: run a program with what a lock names, without an environment.

:mod:`commonwheel.frontends.run_start` comes first, and does it all when everything that
it takes is there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from commonwheel import run_place
from commonwheel.errors import InvalidEnvironment
from commonwheel.frontends import run_start, settings
from commonwheel.frontends.verbs import arguments
from commonwheel.lock_errors import HostFailed, InvalidLock, InvalidScript


class Arguments(argparse.Namespace):
    """What was asked for."""

    lock: Path | None
    wanted: list[str]
    python: str | None
    store: str | None
    extra: list[str]
    group: list[str]
    offline: bool
    allow_sdist: bool
    script: bool
    prepare: bool
    command: list[str]
    refuse: Callable[[str], NoReturn]


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "run",
        help="run a program with what a lock names",
        usage="%(prog)s --lock LOCK [option ...] [--] CMD ...\n"
        "       %(prog)s [option ...] [--] SCRIPT.py ...",
        description="Run a program with the distributions that a lock names: they can be "
        "imported, and their scripts are on PATH. No environment has to be made. What "
        "the store lacks is fetched by pip. A SCRIPT.py with metadata (PEP 723) and a "
        "lock beside it (pylock.SCRIPT.toml, SCRIPT.py.lock or pylock.toml) needs no "
        "--lock. "
        "The exit status is the program's; 127 if there is no such program.",
    )
    what = verb.add_mutually_exclusive_group()
    what.add_argument(
        "--lock", type=Path, metavar="LOCK", help="pylock.toml, or pinned requirements"
    )
    what.add_argument(
        "--with",
        dest="wanted",
        action="append",
        default=[],
        metavar="REQUIREMENT",
        help="instead of a lock: the newest that the store has of it, and of what it "
        "requires; nothing is fetched (may be given more than once)",
    )
    verb.add_argument(
        "--python",
        metavar="PY",
        help="the interpreter, a version like 3.12, or a folder of a virtual environment "
        "(default: the active one's)",
    )
    arguments.add_store(verb)
    arguments.add_selection(verb)
    verb.add_argument(
        "--offline", action="store_true", help="fetch nothing: the store has to have all"
    )
    verb.add_argument(
        "--allow-sdist", action="store_true", help="build what has no wheel"
    )
    verb.add_argument(
        "--script", action="store_true", help="CMD is a Python file, whatever its name"
    )
    verb.add_argument(
        "--prepare",
        action="store_true",
        help="run nothing; make what would be run in, and print its folder",
    )
    verb.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")
    verb.set_defaults(run=run, refuse=verb.error)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status, if it does not become a program."""
    if asked.command[:1] == ["--"]:
        del asked.command[0]
    if not asked.command and not asked.prepare:
        asked.refuse("a program to run is needed")
    asked.script = asked.script or run_start.is_script(asked.command)
    folder = _provided(asked)
    if not asked.prepare:
        run_start.become(str(folder), asked.command, script=asked.script)
    print(folder)
    return 0


def _provided(asked: Arguments) -> Path:
    """The run environment for what was asked for."""
    # the reader of locks is slow to import; a wrong command line should not wait
    from commonwheel import lock as locks
    from commonwheel import run_environment, script_header
    from commonwheel.frontends.host_pip import HostPip

    python = _interpreter(asked.python)
    store = settings.open_store(asked.store)
    chosen, links = run_place.links(os.environ), settings.link_choice()
    if asked.wanted:
        purpose = run_environment.of_names(
            asked.wanted, python, store, links=links, settings=chosen
        )
        return run_environment.provide(purpose, store, HostPip(), offline=True)
    script = Path(asked.command[0]) if asked.script and asked.command else None
    header = script_header.read(script) if script is not None else None
    path = asked.lock
    if path is None and header is not None:
        beside = run_place.lock_beside(str(header.path))
        if beside is None and not header.dependencies:
            purpose = run_environment.of_names(
                (), python, store, header=header, links=links, settings=chosen
            )
            return run_environment.provide(purpose, store, HostPip(), offline=True)
        path = _lock_beside(header.path)
    if path is None:
        asked.refuse("--lock is needed, or a script with metadata (PEP 723) and a lock")
    content = path.read_bytes()
    lock = locks.read(path, os.environ)
    if path.read_bytes() != content:
        raise InvalidLock(path, "it changed while it was read; run the command again")
    purpose = run_environment.of_lock(
        path,
        content,
        lock,
        python,
        extras=asked.extra,
        groups=asked.group,
        header=header,
        links=links,
        settings=chosen,
        allow_sdist=asked.allow_sdist,
    )
    host = HostPip(lock.options, _warn)
    try:
        with arguments.progress() as progress:
            return run_environment.provide(
                purpose, store, host, offline=asked.offline, progress=progress
            )
    except HostFailed as error:
        if asked.allow_sdist:  # of a build that fails, the reason is in there
            print(*error.said, sep="\n", file=sys.stderr)
        raise


def _interpreter(given: str | None) -> Path:
    found = run_place.interpreter(given, os.environ)
    if found is None:
        named = given or os.environ.get("VIRTUAL_ENV", "")
        raise InvalidEnvironment(Path(named), "there is no such interpreter")
    return Path(found)


def _lock_beside(script: Path) -> Path:
    """The lock of a script.

    :raises InvalidScript: it has none, or one that only uv can read
    """
    found = run_place.lock_beside(str(script))
    ours = run_place.locks_of(str(script))[0]
    export = f"uv export --script {script} --format pylock.toml -o {ours}"
    if found is None:
        reason = f"there is no lock beside it ({ours}); write one: {export}"
        raise InvalidScript(script, reason)
    if found == f"{script}.lock" and b"lock-version" not in Path(found).read_bytes():
        reason = f"only uv reads {found}; write a lock for all: {export}"
        raise InvalidScript(script, reason)
    return Path(found)


def _warn(message: str) -> None:
    arguments.complain("warning", f"pip: {message}")
