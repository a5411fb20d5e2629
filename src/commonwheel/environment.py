"""An environment: a place that distributions are installed into, and its interpreter."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import packaging

from commonwheel import shortage
from commonwheel.errors import InvalidEnvironment
from commonwheel.scripts import Launcher

_QUERY = Path(__file__).with_name("environment_query.py")
_PACKAGING = str(Path(packaging.__file__).parent)
OLDEST = (3, 9)
"""The oldest Python that can be linked into."""


@dataclass(frozen=True)
class Scheme:
    """The folders of an environment, named as :mod:`sysconfig` names them."""

    purelib: Path
    platlib: Path
    scripts: Path
    headers: Path
    """Each distribution gets a folder of its name in it."""
    data: Path


@dataclass(frozen=True)
class Environment:
    """What has to be known of an environment to link distributions into it."""

    python: Path
    """Its interpreter, as scripts name it."""
    version: str
    """Of the interpreter, as in ``3.12.1``."""
    cache_tag: str
    """Names the interpreter's bytecode files (:pep:`3147`)."""
    scheme: Scheme
    tags: tuple[str, ...] | None = None
    """The compatibility tags that it supports, the best one first.

    None: the frontend has seen to it.
    """
    markers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The variables of environment markers, if the interpreter was asked for them."""
    plain: bool = False
    """Whether it is just folders (``--target``), which get what pip puts there and
    nothing else: real files."""
    foreign: str = ""
    """The Python and platform that it is for, if those are not on this machine, so that
    nothing can be run for it."""
    launcher: Launcher | None = "win-amd64" if os.name == "nt" else None
    """What its scripts are started by, if they have to be programs."""

    def site_packages(self, root_is_purelib: bool) -> Path:
        """Where a wheel's root goes."""
        return self.sites[0 if root_is_purelib else -1]

    @property
    def sites(self) -> tuple[Path, ...]:
        """Its site-packages folders, one or two.

        Two names of one folder are one (``lib64`` is often a link to ``lib``).
        """
        purelib, platlib = self.scheme.purelib, self.scheme.platlib
        if os.path.realpath(purelib) == os.path.realpath(platlib):
            return (purelib,)
        return (purelib, platlib)

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders that it consists of, without links, ending with a slash."""
        scheme = self.scheme
        folders = (*self.sites, scheme.scripts, scheme.headers, scheme.data)
        return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)

    def __str__(self) -> str:
        return self.foreign or f"{self.python} (Python {self.version})"


def of_interpreter(python: Path, *, managed: bool = False) -> Environment:
    """The environment of the interpreter ``python``, which is run to ask it.

    ``python`` may also be the folder of a virtual environment. ``managed``: it may also
    be one that is managed by somebody else (:pep:`668`).

    :raises InvalidEnvironment: it does not run, is too old, or is managed by somebody
        else
    """
    python = _interpreter(python)
    fields = _ask(python)
    _check(python, fields)
    if fields["externally_managed"] and not managed:
        raise InvalidEnvironment(python, _refusal(Path(fields["externally_managed"])))
    return _environment(fields)


def of_target(python: Path, target: Path) -> Environment:
    """The folder ``target``, for the interpreter ``python``, as ``pip --target`` has it.

    The environment whose site-packages it is, if it is one's; else a plain folder, which
    gets everything: modules, and the folders ``bin``, ``include`` and so on.

    :raises InvalidEnvironment: the interpreter does not run, or is too old
    """
    target = Path(os.path.abspath(target))
    environment = _with_site_packages(target)
    if environment is not None:
        return environment
    fields = _ask(_interpreter(python), "home", str(target))
    _check(python, fields)
    found = _environment(fields)
    scheme = replace(found.scheme, purelib=target, platlib=target)
    return replace(found, scheme=scheme, plain=True)


def of_prefix(python: Path, prefix: Path) -> Environment:
    """The plain folders below ``prefix`` that ``pip --prefix`` fills for ``python``.

    :raises InvalidEnvironment: the interpreter does not run, or is too old
    """
    fields = _ask(_interpreter(python), "prefix", os.path.abspath(prefix))
    _check(python, fields)
    return replace(_environment(fields), plain=True)


def _refusal(marker: Path) -> str:
    """Why an interpreter is left alone, and what can be done.

    https://packaging.python.org/en/latest/specifications/externally-managed-environments/
    """
    told = _told(marker)
    reason = f"it is externally managed ({told})" if told else "it is externally managed"
    ways_out = "make a virtual environment (`commonwheel venv DIR`)"
    return f"{reason}; {ways_out}, or say --break-system-packages"


def _told(marker: Path) -> str:
    """The first paragraph of what the one who manages an interpreter says, as one line.

    Empty if there is nothing in the file ``marker``, or nothing that can be read.
    """
    import configparser  # noqa: PLC0415  next to nobody needs it

    found = configparser.ConfigParser(interpolation=None)
    try:
        found.read_string(marker.read_text("utf-8"))
        text = found["externally-managed"]["Error"]
    except (OSError, ValueError, KeyError, configparser.Error):
        return ""
    first = re.split(r"\n\s*\n", text.strip())[0]
    return "".join(filter(str.isprintable, " ".join(first.split())))


def _check(python: Path, fields: Mapping[str, Any]) -> None:
    if tuple(map(int, fields["version"].split(".")[:2])) < OLDEST:
        reason = f"Python {fields['version']} is too old (3.9 or later is needed)"
        raise InvalidEnvironment(python, reason)


def _environment(fields: Mapping[str, Any]) -> Environment:
    return Environment(
        python=Path(fields["python"]),
        version=fields["version"],
        cache_tag=fields["cache_tag"],
        scheme=Scheme(
            **{
                key: Path(fields[key])
                for key in ("purelib", "platlib", "scripts", "headers", "data")
            }
        ),
        tags=tuple(fields["tags"]),
        markers=fields["markers"],
    )


def _ask(python: Path, *below: str) -> dict[str, Any]:
    """What :mod:`commonwheel.environment_query` says, run by ``python``."""
    command = [str(python), "-I", str(_QUERY), _PACKAGING, *below]
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        if shortage.is_one(error):
            raise
        reason = f"it does not run ({error.strerror})"
        raise InvalidEnvironment(python, reason) from error
    if answer.returncode != 0:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {answer.returncode}"
        if answer.returncode < 0:
            reason = shortage.killed_by(-answer.returncode)
        raise InvalidEnvironment(python, f"its interpreter fails: {reason}")
    # Start-up files of the environment may print something before it.
    for line in answer.stdout.splitlines():
        if line.startswith(b'{"commonwheel":'):
            fields: dict[str, Any] = json.loads(line)
            return fields
    raise InvalidEnvironment(python, "it is not a Python interpreter")


def _with_site_packages(folder: Path) -> Environment | None:
    """The virtual environment that the folder ``folder`` is the site-packages of."""
    for parent in (*folder.parents, *folder.resolve().parents):
        if (parent / "pyvenv.cfg").is_file():
            environment = of_interpreter(parent)
            if any(_same(folder, site) for site in environment.sites):
                return environment
    return None


def _interpreter(python: Path) -> Path:
    """The interpreter that ``python`` is, or that the folder ``python`` has."""
    if not python.is_dir():
        return python
    folder = python
    for name in ("bin/python", "Scripts/python.exe", "bin/python3"):
        if (folder / name).exists():
            return folder / name
    raise InvalidEnvironment(folder, "it has no interpreter (bin/python)")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
