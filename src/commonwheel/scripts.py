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


def interpreter_line(python: Path, arguments: bytes = b"") -> bytes:
    """The first line of a script that ``python`` runs, with ``arguments`` as they are.

    A name without a folder is looked for on ``PATH`` when the script is run. Where the
    kernel cannot take the path (it has a space or is too long), the line starts a shell
    that does, as in scripts that pip writes.
    """
    path = os.fsencode(python)
    if re.fullmatch(rb"[\w.-]+", path):
        return b"#!/usr/bin/env " + path + b"\n"
    line = b" ".join(filter(None, (path, arguments)))
    if len(path.split()) == 1 and len(line) + 3 <= _LONGEST_SHEBANG:
        return b"#!" + line + b"\n"
    quoted = os.fsencode(shlex.quote(os.fspath(python)))
    return _by_shell(quoted, arguments)


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


def relocatable_line(name: str, arguments: bytes = b"") -> bytes:
    """The first lines of a script that the program ``name`` beside it runs.

    Kernels look for a relative path where the user is, so a shell looks beside the
    script: it takes ``sh``, ``dirname`` and ``readlink -f``. Links to the script are
    followed.
    """
    program = b'"$(dirname "$(readlink -f "$0")")"/' + os.fsencode(shlex.quote(name))
    return _by_shell(program, arguments)


def _by_shell(program: bytes, arguments: bytes) -> bytes:
    """Lines that a shell takes for a command, and Python for a string."""
    words = b" ".join(filter(None, (program, arguments, b'"$0" "$@"')))
    return b"#!/bin/sh\n'''exec' " + words + b"\n' '''\n"


def split(content: bytes) -> tuple[Path, bytes, bytes] | None:
    """The interpreter that a script names, arguments for it, and what follows.

    It understands the lines of :func:`interpreter_line`, of pip and of uv. None of
    anything else.
    """
    found = _BY_SHELL.match(content)
    if found is None:
        found = _DIRECT.match(content)
        if found is None:
            return None
        return Path(os.fsdecode(found[1])), found[2] or b"", content[found.end() :]
    try:
        words = shlex.split(os.fsdecode(found[1]))
    except ValueError:
        return None
    if len(words) < 3 or not os.path.isabs(words[0]):
        return None
    arguments = os.fsencode(shlex.join(words[1:-2]))
    return Path(words[0]), arguments, content[found.end() :]


_DIRECT = re.compile(rb"#![ \t]*(/[^\s]+)(?:[ \t]+([^\r\n]*?))?[ \t]*\r?\n")
_BY_SHELL = re.compile(rb"#!/bin/sh\n'''exec' ([^\0]*?)\n' '''\n")


def entry_point_of(name: str) -> str:
    """The entry point that a wheel's script is a wrapper for, as setuptools names it."""
    for suffix in (".exe", "-script.py", "-script.pyw"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
