"""The real uv: found, asked, and become."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from commonwheel.errors import CommonwheelError

VARIABLE = "COMMONWHEEL_UV"
"""The environment variable that names the real uv."""
_SIGNS = (b"commonwheel.frontends", b"commonwheel-uv", b"commonwheel uv")
"""What a script says that runs us."""
_HEAD = 4096
"""Bytes: such a script says so well before this."""


@dataclass(eq=False)
class UvNotFound(CommonwheelError):
    """There is no uv to be run, or what was named is none."""

    named: str | None = None
    """What ``COMMONWHEEL_UV`` says."""

    def __str__(self) -> str:
        if self.named is not None:
            return f"{VARIABLE} is {self.named!r}, which is not an executable uv"
        return (
            "no uv was found on PATH or beside commonwheel: install uv, or let "
            f"{VARIABLE} name it"
        )


@dataclass(frozen=True)
class Uv:
    """A uv executable."""

    path: Path

    def ask(
        self,
        arguments: Sequence[str],
        *,
        stdin: BinaryIO | None = None,
        variables: Mapping[str, str | None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run uv for its answer: nothing of it is shown.

        ``stdin`` is read from its beginning. ``variables`` are environment variables to
        change, or (None) to take away.

        :raises OSError: it does not run
        """
        if stdin is not None:
            stdin.seek(0)
        environ = dict(os.environ)
        for name, value in (variables or {}).items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value
        return subprocess.run(
            [str(self.path), *arguments],
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=environ,
            encoding="utf-8",
            errors="replace",
        )

    def become(self, arguments: Sequence[str], stdin: BinaryIO | None = None) -> int:
        """Run uv in the place of this process: what it does is what we do.

        Returns only where a process cannot be replaced (Windows): uv's exit status.

        :raises OSError: it does not run
        """
        if stdin is not None:
            stdin.seek(0)
            os.dup2(stdin.fileno(), 0)
        command = [str(self.path), *arguments]
        sys.stdout.flush()
        sys.stderr.flush()
        if os.name != "nt":
            os.execv(self.path, command)  # noqa: S606  the arguments are the user's own
        return subprocess.run(command, check=False).returncode


def find() -> Uv:
    """The uv that ``COMMONWHEEL_UV`` names, the first on ``PATH``, or the one beside us.

    Never this program: a frontend may have put it on ``PATH`` under uv's name.

    :raises UvNotFound: there is none
    """
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None or _is_ours(Path(found)):
            raise UvNotFound(named)
        return Uv(Path(found))
    for folder in (*_path(), sysconfig.get_path("scripts")):
        candidate = shutil.which("uv", path=folder)
        if candidate is not None and not _is_ours(Path(candidate)):
            return Uv(Path(candidate))
    raise UvNotFound


def _path() -> Iterator[str]:
    # an empty entry is the current folder, which nobody means
    yield from filter(None, os.environ.get("PATH", os.defpath).split(os.pathsep))


def _is_ours(program: Path) -> bool:
    """Whether a program is this one, or a script that runs it."""
    try:
        if program.samefile(sys.argv[0]):
            return True
    except OSError:
        pass  # run as a module, perhaps
    try:
        with open(program, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(b"#!") and any(sign in head for sign in _SIGNS)
