"""Scripts: real files, tied to one environment's interpreter by their first line."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Literal

from installer.scripts import Script

Launcher = Literal["win-ia32", "win-amd64", "win-arm64"]
"""Which program starts a script on Windows, as ``installer`` names them."""

TEMPLATE = """\
import sys
from %(module)s import %(import_name)s
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(%(func)s())
"""
"""What a generated script does; a frontend may bring its own with these fields."""

_LONGEST_SHEBANG = 512 if sys.platform == "darwin" else 127
"""In bytes, ``#!`` and line break included; kernels cut off or refuse longer ones."""


def interpreter_line(python: Path) -> bytes:
    """The first line of a script that ``python`` runs.

    A name without a folder is looked for on ``PATH`` when the script is run. Where the
    kernel cannot take the path (it has a space or is too long), the line starts a shell
    that does, as in scripts that pip writes.
    """
    path = os.fsencode(python)
    if re.fullmatch(rb"[\w.-]+", path):
        return b"#!/usr/bin/env " + path + b"\n"
    if len(path.split()) == 1 and len(path) + 3 <= _LONGEST_SHEBANG:
        return b"#!" + path + b"\n"
    quoted = os.fsencode(shlex.quote(os.fspath(python)))
    return b"#!/bin/sh\n'''exec' " + quoted + b' "$0" "$@"\n' + b"' '''\n"


def generate(
    name: str,
    module: str,
    attribute: str,
    gui: bool,
    python: Path,
    template: str,
    launcher: Launcher | None = None,
) -> tuple[str, bytes]:
    """The file name and contents of the script for an entry point.

    With a ``launcher`` it is a program for Windows.

    https://packaging.python.org/en/latest/specifications/entry-points/
    """
    if launcher is not None:
        script = Script(name, module, attribute, "gui" if gui else "console")
        return script.generate(str(python), launcher)
    body = template % {
        "module": module,
        "import_name": attribute.partition(".")[0],
        "func": attribute,
    }
    return name, interpreter_line(python) + body.encode("utf-8")


def adapt(content: bytes, python: Path) -> bytes:
    """A wheel's own script with ``#!python`` replaced by the environment's interpreter.

    https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    (installing a wheel, step "rewrite ``#!python``")
    """
    if not content.startswith(b"#!python"):
        return content
    stream = io.BytesIO(content)
    stream.readline()
    return interpreter_line(python) + stream.read()


def entry_point_of(name: str) -> str:
    """The entry point that a wheel's script is a wrapper for, as setuptools names it."""
    for suffix in (".exe", "-script.py", "-script.pyw"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
