"""The start of ``commonwheel run``: what it takes when everything is there.

It reads the usual command lines, asks :mod:`commonwheel.run_place` and becomes the
program, within a few milliseconds. Whatever is unusual, lacking or wrong is for the
command itself (:mod:`commonwheel.frontends.verbs.run`), which knows why.
"""

from __future__ import annotations

import os
import sys

import commonwheel.run_place as run_place  # `from` would ask the package first

TYPE_CHECKING = False  # known to type checkers; `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""As shells and ``env(1)`` end if they cannot start a program: 1 and 2 may be its own."""


class Call:
    """What was asked for, as far as it can be asked without a parser."""

    def __init__(self) -> None:
        self.lock: str | None = None
        self.python: str | None = None
        self.store: str | None = None
        self.extra: list[str] = []
        self.group: list[str] = []
        self.script = False
        self.command: list[str] = []


def start(arguments: Sequence[str]) -> None:
    """Become the program if all is there for it; return if not."""
    call = _read(arguments)
    found = _find(call) if call is not None else None
    if call is not None and found is not None:
        become(found, call.command, script=call.script)


def _read(arguments: Sequence[str]) -> Call | None:
    """What was asked for; None if it takes a parser to tell."""
    call, rest = Call(), list(arguments)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option == "--" and not equals:
            break
        if option in ("--offline", "--script") and not equals:
            call.script = call.script or option == "--script"
            continue
        if not equals:
            value = rest.pop(0) if rest else ""
        if not value:
            return None
        if option in ("--lock", "--python", "--store"):
            setattr(call, option[2:], value)
        elif option in ("--extra", "--group"):
            getattr(call, option[2:]).append(value)
        else:
            return None
    call.command = rest
    call.script = call.script or is_script(rest)
    return call if rest else None


def is_script(command: Sequence[str]) -> bool:
    """Whether a command is a Python file, which Python has to be started for.

    The scripts of distributions may have such names, too; those are programs.
    """
    return bool(command) and command[0].endswith(".py") and os.path.isfile(command[0])


def _find(call: Call) -> str | None:
    python = run_place.interpreter(call.python, os.environ)
    if python is None or run_place.is_wrapper(python):
        return None
    script = call.command[0] if call.script else None
    try:
        header = run_place.header_of(script) if script is not None else b""
        lock = call.lock
        if lock is None and header and script is not None:
            lock = run_place.lock_beside(script)
        if lock is None:
            return None
        with open(lock, "rb") as file:
            content = file.read()
        wanted = run_place.identity(
            content,
            python,
            extras=call.extra,
            groups=call.group,
            header=header,
            links=run_place.links(os.environ),
        )
    except OSError:
        return None
    return run_place.find(run_place.stores(call.store, os.environ), wanted)


def become(folder: str, command: Sequence[str], *, script: bool) -> NoReturn:
    """Become the program ``command``, in the run environment ``folder``.

    A ``script`` is run by the environment's interpreter. What the system passes on to a
    program (its descriptors, signals, exit status) is the program's own.

    :raises SystemExit: it cannot be started; or it has ended, where a process cannot
        become another one (Windows)
    """
    variables = dict(os.environ)
    scripts = os.path.join(folder, run_place.SCRIPTS)
    # what `activate` of a virtual environment sets
    variables["VIRTUAL_ENV"] = folder
    variables["PATH"] = os.pathsep.join((scripts, variables.get("PATH", os.defpath)))
    variables.pop("PYTHONHOME", None)
    given = [run_place.python_of(folder), *command] if script else [*command]
    try:
        if sys.platform == "win32":
            import subprocess  # there is no exec, and elsewhere it is not needed

            raise SystemExit(subprocess.run(given, env=variables, check=False).returncode)
        _restore_signals()
        os.execvpe(given[0], given, variables)
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        reason = "no such program" if missing else error.strerror
        print(f"commonwheel: error: {given[0]}: {reason}", file=sys.stderr)
        raise SystemExit(NOT_FOUND if missing else NOT_EXECUTABLE) from None


def _restore_signals() -> None:
    """Signals that Python ignores, and programs do not expect to be ignored.

    As :mod:`subprocess` does it.
    """
    # `signal`, which is made of it, takes 2 ms to import
    import _signal  # type: ignore[import-not-found]

    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if hasattr(_signal, name):
            _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
