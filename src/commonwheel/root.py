"""Roots: the environments that hold entries of a store, and how they are recorded.

A root is what the collector starts from. Its record is a file of the registry,
:mod:`commonwheel.registry`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from commonwheel import files, filesystem
from commonwheel.environment import Environment

FOR_ALL = 0o644
"""Permission bits: whoever may collect must know what everybody needs."""
_FORMAT = 1


@dataclass(frozen=True)
class Root:
    """An environment that holds entries, as the registry knows it."""

    id: str
    environment: Path
    """What a person calls it."""
    sites: tuple[Path, ...]
    """Its site-packages folders, without links, and as they were called."""
    filesystem: str
    """That it was on (:func:`commonwheel.filesystem.identity`)."""
    record: Path
    """Where that is written."""

    def beside(self, kind: str) -> Path:
        """A file of the registry beside the record."""
        return self.record.with_name(f"{self.id}.{kind}")


def root_of(environment: Environment, folder: Path) -> Root:
    """The root that ``environment`` is, with its record in ``folder``."""
    identifier = identifier_of(environment.sites[0])
    # By both names: with a link above it an environment can go on under the same path
    # elsewhere, and with another link be found where it is under another one.
    named = (Path(os.path.abspath(each)) for each in environment.sites)
    return Root(
        identifier,
        environment.scheme.data,
        tuple(dict.fromkeys((*map(_real, environment.sites), *named))),
        filesystem.identity(environment.sites[0]),
        folder / f"{identifier}.json",
    )


def identifier_of(site: Path) -> str:
    """What the environment with this site-packages folder is called in a registry."""
    return hashlib.sha256(os.fsencode(_real(site))).hexdigest()[:16]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def write(root: Root) -> None:
    """Write a record; it is on the disk before anything depends on it.

    :raises OSError: the store cannot be written
    """
    fields = {
        "format": _FORMAT,
        "environment": os.path.abspath(root.environment),
        "sites": [str(site) for site in root.sites],
        "filesystem": root.filesystem,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    content = json.dumps(fields, indent=1) + "\n"
    files.write_atomically(root.record, content.encode("utf-8"), FOR_ALL)


def is_recorded(root: Root) -> bool:
    """Whether there is a record, and it is of the same environment."""
    try:
        return read(root.record).sites[0] == root.sites[0]
    except (OSError, ValueError):
        return False


def read(path: Path) -> Root:
    """What a record says.

    :raises ValueError: it is none, or of another commonwheel
    :raises OSError: it cannot be read
    """
    found = json.loads(files.read(path).decode("utf-8"))
    try:
        if found["format"] != _FORMAT:
            raise ValueError("another commonwheel wrote it")
        sites = tuple(found["sites"])
        told = (found["environment"], found["filesystem"], *sites)
    except (LookupError, TypeError) as error:
        raise ValueError("it is damaged") from error
    if not sites or not all(isinstance(each, str) for each in told):
        raise ValueError("it is damaged")
    if not all(map(os.path.isabs, sites)):
        raise ValueError("it is damaged")
    environment, lies_on, *_ = told
    paths = tuple(map(Path, sites))
    return Root(path.stem, Path(environment), paths, lies_on, path)


def read_moved(path: Path) -> Root:
    """What an environment has said of itself at its start: the runtime wrote it.

    :raises ValueError: it is no such note
    :raises OSError: it cannot be read
    """
    site = Path(os.fsdecode(files.read(path).rstrip(b"\n")))
    if not site.is_absolute():
        raise ValueError("it names no folder")
    environment = next(
        (each for each in site.parents if (each / "pyvenv.cfg").exists()), site
    )
    # on whichever filesystem it is: should it go, that is what was removed
    lies_on = filesystem.identity(site)
    sites = tuple(dict.fromkeys((_real(site), site)))
    return Root(path.name, environment, sites, lies_on, path)
