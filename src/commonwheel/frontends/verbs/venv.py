"""``commonwheel venv``: make an environment whose pip is linked and knows the store."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from commonwheel.environment import of_interpreter
from commonwheel.errors import CommonwheelError, InvalidEnvironment
from commonwheel.files import remove_tree
from commonwheel.frontends import pip_files, settings
from commonwheel.frontends.verbs import arguments
from commonwheel.install import link_entries, of_entry


class Arguments(argparse.Namespace):
    """What was asked for."""

    folder: Path
    python: str | None
    store: str | None
    prompt: str | None
    clear: bool
    system_site_packages: bool
    no_pip: bool


def add(verbs: arguments.Verbs[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    verb = verbs.add_parser(
        "venv",
        help="make a virtual environment that is ready to be linked",
        description="Make a virtual environment with Python's own venv module. Its pip "
        "is linked and knows --use-shared-store; ensurepip is not needed.",
    )
    verb.add_argument(
        "--python",
        metavar="PY",
        help="the interpreter, a version like 3.12, or a folder of a virtual environment "
        "(default: commonwheel's own)",
    )
    arguments.add_store(verb)
    verb.add_argument(
        "--no-pip", action="store_true", help="leave pip out; `pip --python DIR` works"
    )
    verb.add_argument(
        "--clear", action="store_true", help="empty the folder first, if it is there"
    )
    verb.add_argument("--prompt", metavar="TEXT", help="as of `python -m venv`")
    verb.add_argument(
        "--system-site-packages", action="store_true", help="as of `python -m venv`"
    )
    verb.add_argument("folder", type=Path, metavar="DIR")
    verb.set_defaults(run=run)


def run(asked: Arguments) -> int:
    """Carry the command out; returns the exit status."""
    store = settings.open_store(asked.store)
    existed = asked.folder.exists()
    if existed and not asked.clear and any(asked.folder.iterdir()):
        reason = "there is something in it already; --clear empties it"
        raise InvalidEnvironment(asked.folder, reason)
    _make(asked)
    try:
        environment = of_interpreter(asked.folder)
        requests = []
        if not asked.no_pip:
            # the reader of locks is slow to import; a wrong command line should not wait
            from commonwheel.frontends import seed
            from commonwheel.frontends.host_pip import HostPip

            with arguments.progress() as progress:
                entry = seed.pip(environment, store, HostPip(), progress)
            request = of_entry(entry, settings.link_choice())
            requests.append(replace(request, requested=False))
        given = pip_files.additions()
        link_entries(requests, environment, store, additions=given)
    except (CommonwheelError, OSError, KeyboardInterrupt):
        if not existed:
            remove_tree(asked.folder)
        raise
    print(f"{environment}: ready", file=sys.stderr)
    return 0


def _make(asked: Arguments) -> None:
    """Run ``python -m venv``.

    :raises InvalidEnvironment: it fails
    """
    python = _interpreter(asked.python)
    options = [f"--prompt={asked.prompt}"] if asked.prompt is not None else []
    options += ["--clear"] if asked.clear else []
    options += ["--system-site-packages"] if asked.system_site_packages else []
    command = [python, "-I", "-m", "venv", "--without-pip", *options, str(asked.folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        reason = f"it does not run ({error.strerror})"
        raise InvalidEnvironment(Path(python), reason) from error
    if made.returncode != 0:
        lines = (made.stdout + made.stderr).strip().splitlines()
        failed = lines[:1] == ["Traceback (most recent call last):"]
        reason = lines[-1 if failed else 0] if lines else f"status {made.returncode}"
        raise InvalidEnvironment(asked.folder, f"{python} -m venv fails: {reason}")


def _interpreter(given: str | None) -> str:
    """The program to run.

    :raises InvalidEnvironment: there is no such program
    """
    if given is None:
        return sys.executable
    if Path(given).is_dir():
        return str(of_interpreter(Path(given), managed=True).python)
    for name in (given, f"python{given}"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise InvalidEnvironment(Path(given), "no such interpreter is on PATH")
