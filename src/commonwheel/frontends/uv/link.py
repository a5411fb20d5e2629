"""Link what uv would install, then let uv do the rest: the story.

uv is asked what it would do (a dry run with the same arguments), and from which files
(``uv pip compile`` or ``uv export`` to a ``pylock.toml``, :pep:`751`). Of that, wheels
from an index are linked from the store. Then uv runs as it was called, finds them
installed, and does what is left: projects, editables, archives, VCS, removals, checks.

Nothing is decided here that is uv's: not what is installed, nor where, nor from which
index. If anything fails, uv installs all of it as if we were not there.

Two things uv would do for a wheel that it installs and cannot for one that it finds. It
compares hashes: so a wheel is linked only if it has one of those that requirements files
list for it. And it installs anew with ``--reinstall``, which is why that option is not
handed on for what has been linked anew.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from commonwheel.frontends.uv import inputs
from commonwheel.frontends.uv.answers import Changes
from commonwheel.frontends.uv.arguments import Command
from commonwheel.frontends.uv.program import Uv
from commonwheel.frontends.uv.questions import Asking


def run(command: Command, uv: Uv) -> int:
    """Link what can be linked of ``command``, then run uv.

    Returns uv's exit status, where uv cannot take this process's place.

    :raises OSError: uv does not run
    """
    with inputs.standard_input(command) as stdin:
        try:
            with tempfile.TemporaryDirectory(prefix="commonwheel-") as folder:
                rest = _link(Asking(command, uv, stdin, Path(folder)))
        except Exception as error:  # noqa: BLE001  nothing is lost but links: uv does it
            if not command.has("--quiet"):
                message = f"uv installs without links: {error}"
                print(f"commonwheel: warning: {message}", file=sys.stderr)
            rest = command
        return uv.become(rest.words(), stdin)


def _link(asking: Asking) -> Command:
    """Link, and return the command that does the rest.

    :raises CommonwheelError: something failed, and nothing was linked
    :raises OSError: a file cannot be read or written
    """
    command = asking.command
    given = inputs.read(command, os.environ, asking.kept_stdin())
    if not given.lasting:
        return command
    answer = asking.changes(given.directory)
    if answer is None or not answer[0].wanted:
        return command
    # it takes longer to import than uv takes to find that there is nothing to do
    from commonwheel.frontends.uv import wheels

    changes, place = answer
    linked = wheels.link(asking, given, changes, place)
    if linked and not command.has("--quiet"):
        _report(linked, changes)
    left = [name for name in changes.names if name not in linked]
    return command.reinstalling(left, done=linked) if linked else command


def _report(linked: frozenset[str], changes: Changes) -> None:
    """Say what uv, which finds it done, is not going to say."""
    noun = "package" if len(linked) == 1 else "packages"
    print(f"Linked {len(linked)} {noun}", file=sys.stderr)
    for name in sorted(linked):
        print(*changes.lines[name], sep="\n", file=sys.stderr)
