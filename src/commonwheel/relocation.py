"""Relocation: what in an environment says where it is, made to say where it will be.

That is its scripts, ``pyvenv.cfg`` and what activates it. If it is not known where it
will be, they find it out each time. The interpreter that it is based on is named by its
full path all the same: ``home`` in ``pyvenv.cfg`` has to be one (:pep:`405`).
"""

from __future__ import annotations

import fnmatch
import os
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from commonwheel import scripts

CONFIGURATION = "pyvenv.cfg"
_ABOUT_THE_MAKING = ("command", "relocatable")
"""Keys that say how an environment was made, and where."""
_ABOUT_THE_BASE = ("base-executable", "base-exec-prefix", "base-prefix")
"""Keys of virtualenv's, for its own use."""
_ACTIVATION = ("activate", "activate.*", "Activate.ps1", "deactivate.*", "pydoc.bat")


@dataclass(frozen=True)
class Relocation:
    """Where an environment is, and where it will be."""

    scripts: Collection[Path]
    """The folder of its scripts now, by all names it has."""
    bin: str
    """That, relative to the environment, with ``/``."""
    prefix: Path | None = None
    """Where it will be; None: wherever somebody puts it."""

    def script(self, content: bytes) -> bytes:
        """A script that an interpreter of the environment runs, where it will be.

        Anything else is as it was.
        """
        found = scripts.split(content)
        if found is None or found[0].parent not in self.scripts:
            return content
        python, arguments, rest = found
        if self.prefix is None:
            return scripts.relocatable_line(python.name, arguments) + rest
        line = scripts.interpreter_line(self.prefix / self.bin / python.name, arguments)
        return line + rest

    def activation(self) -> dict[str, bytes]:
        """Files that activate it in a shell, by their names."""
        depth = "/".join([".."] * len(self.bin.split("/")))
        values = {"bin": self.bin, "up": depth}
        if self.prefix is None:
            shell, fish = _SHELL_FINDS.format(**values), _FISH_FINDS.format(**values)
        else:
            shell = fish = shlex.quote(os.fspath(self.prefix))
        texts = {
            "activate": _SHELL.replace("@ROOT@", shell),
            "activate.fish": _FISH.replace("@ROOT@", fish),
        }
        return {
            name: os.fsencode(text.replace("@BIN@", self.bin))
            for name, text in texts.items()
        }


def activates(name: str) -> bool:
    """Whether a file of that name in the folder of scripts activates an environment."""
    if name == "activate_this.py":
        return False  # virtualenv's, which looks where it is
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _ACTIVATION)


def configuration(text: str, python: Path | None = None) -> str:
    """``pyvenv.cfg`` without what says where it was; ``python``: based on that one."""
    kept: list[str] = []
    replaced = {"home": python.parent, "executable": python} if python else {}
    dropped = {*_ABOUT_THE_MAKING, *(_ABOUT_THE_BASE if python else ())}
    for line in text.splitlines():
        key = line.partition("=")[0].strip().lower()
        if key in replaced:
            kept.append(f"{key} = {replaced[key]}")
        elif key not in dropped:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def has_system_packages(text: str) -> bool:
    """Whether a ``pyvenv.cfg`` lets the base interpreter's packages be seen."""
    pairs = (line.partition("=")[::2] for line in text.splitlines())
    values = {key.strip().lower(): value.strip().lower() for key, value in pairs}
    return values.get("include-system-site-packages") == "true"


_SHELL_FINDS = '"$(CDPATH= cd "$(dirname "${{BASH_SOURCE:-$0}}")/{up}" && pwd -P)"'
# `$0` of a file that is read is its name in zsh
_SHELL = """\
# To be read by bash, zsh or another POSIX shell: `. @BIN@/activate`

deactivate () {
    if [ -n "${_OLD_VIRTUAL_PATH+set}" ]; then
        PATH=$_OLD_VIRTUAL_PATH
        export PATH
    fi
    if [ -n "${_OLD_VIRTUAL_PYTHONHOME+set}" ]; then
        PYTHONHOME=$_OLD_VIRTUAL_PYTHONHOME
        export PYTHONHOME
    fi
    if [ -n "${_OLD_VIRTUAL_PS1+set}" ]; then
        PS1=$_OLD_VIRTUAL_PS1
    fi
    unset _OLD_VIRTUAL_PATH _OLD_VIRTUAL_PYTHONHOME _OLD_VIRTUAL_PS1
    unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    hash -r 2> /dev/null
    if [ "${1-}" != nondestructive ]; then
        unset -f deactivate
    fi
}

deactivate nondestructive
VIRTUAL_ENV=@ROOT@
VIRTUAL_ENV_PROMPT=$(basename "$VIRTUAL_ENV")
export VIRTUAL_ENV VIRTUAL_ENV_PROMPT
_OLD_VIRTUAL_PATH=$PATH
PATH=$VIRTUAL_ENV/@BIN@:$PATH
export PATH
if [ -n "${PYTHONHOME+set}" ]; then
    _OLD_VIRTUAL_PYTHONHOME=$PYTHONHOME
    unset PYTHONHOME
fi
if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT-}" ] && [ -n "${PS1-}" ]; then
    _OLD_VIRTUAL_PS1=$PS1
    PS1="($VIRTUAL_ENV_PROMPT) $PS1"
fi
hash -r 2> /dev/null
true
"""

_FISH_FINDS = "(realpath (dirname (status filename))/{up})"
_FISH = """\
# To be read by fish: `source @BIN@/activate.fish`

function deactivate -d "Leave the virtual environment"
    if set -q _OLD_VIRTUAL_PATH
        set -gx PATH $_OLD_VIRTUAL_PATH
        set -e _OLD_VIRTUAL_PATH
    end
    if set -q _OLD_VIRTUAL_PYTHONHOME
        set -gx PYTHONHOME $_OLD_VIRTUAL_PYTHONHOME
        set -e _OLD_VIRTUAL_PYTHONHOME
    end
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions -e deactivate
    end
end

deactivate nondestructive
set -gx VIRTUAL_ENV @ROOT@
set -gx VIRTUAL_ENV_PROMPT (basename $VIRTUAL_ENV)
set -g _OLD_VIRTUAL_PATH $PATH
set -gx PATH $VIRTUAL_ENV/@BIN@ $PATH
if set -q PYTHONHOME
    set -g _OLD_VIRTUAL_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end
"""
