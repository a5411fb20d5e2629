"""An entry: one unpacked wheel in a store, as linking needs to know it.

Frozen data. :mod:`commonwheel.store` reads and writes it; what lies where in a store
is known there alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FORMAT = 1
"""Of ``entry.json``; raised when an older commonwheel could not read it rightly."""


@dataclass(frozen=True)
class StoredFile:
    """A file of an entry that becomes a real file in an environment."""

    path: str
    """Within its area, with ``/``."""
    hash: str
    """As in RECORD."""
    size: int
    """In bytes."""
    executable: bool


@dataclass(frozen=True)
class Script:
    """A script to generate for an entry point."""

    name: str
    module: str
    attribute: str
    gui: bool


@dataclass(frozen=True)
class Description:
    """What ``entry.json`` says: everything about a wheel that linking it needs."""

    id: str
    """The entry's name in the store: ``NAME-VERSION-HASH8[-N]``."""
    sha256: str
    """Of the wheel file, in hexadecimal."""
    filename: str
    """Of the wheel."""
    name: str
    """Of the distribution, normalized."""
    version: str
    dist_info: str
    """The name of the ``.dist-info`` folder."""
    root_is_purelib: bool
    tags: tuple[str, ...]
    links: tuple[str, ...]
    """What the view has to show, relative to the tree; a folder ends with ``/``."""
    real: tuple[StoredFile, ...]
    """Files of the tree that only work as real files in site-packages."""
    metadata: tuple[str, ...]
    """Files of the ``.dist-info`` folder, RECORD aside."""
    added: tuple[str, ...]
    """Those of them that the wheel has not; only a linked distribution needs them."""
    script_files: tuple[StoredFile, ...]
    headers: tuple[StoredFile, ...]
    data: tuple[StoredFile, ...]
    scripts: tuple[Script, ...]
    files: int
    """How many files the tree holds, bytecode aside."""
    folders: int
    """How many folders the tree holds."""
    size: int
    """Of the tree's files, in bytes, bytecode aside."""
    beside: tuple[str, ...]
    """Folders of site-packages that its binaries search for what it has not itself."""
    above: tuple[str, ...]
    """Where out of site-packages they search for that, as they say it (``$ORIGIN/...``):
    links do not help them, real files do."""
    wanted: tuple[str, ...]
    """Libraries that they need, and neither it nor the system has."""
    remarks: tuple[str, ...] = ()
    """What whoever installs it should know; entries made before had none."""


_FIELDS = tuple(field.name for field in fields(Description))


@dataclass(frozen=True)
class Entry:
    """A complete entry and the folders of its parts."""

    description: Description
    root: Path
    tree: Path
    dist_info: Path
    scripts: Path
    headers: Path
    data: Path
    record: str
    """The RECORD rows that are the same in every environment, as text."""


def encode(description: Description) -> str:
    """The text of ``entry.json``."""
    return json.dumps({"format": FORMAT, **asdict(description)}, indent=1) + "\n"


def decode(text: str) -> Description:
    """The description that ``entry.json`` holds.

    :raises ValueError: it is damaged, or of a newer format
    """
    found: dict[str, Any] = json.loads(text)
    try:
        if found["format"] != FORMAT:
            raise ValueError("of another format; a newer commonwheel wrote it")
        for key in ("real", "script_files", "headers", "data"):
            found[key] = tuple(StoredFile(**each) for each in found[key])
        found["scripts"] = tuple(Script(**each) for each in found["scripts"])
        for key in ("tags", "links", "metadata", "added", "beside", "above", "wanted"):
            found[key] = tuple(found[key])
        found["remarks"] = tuple(found.get("remarks", ()))
        return Description(**{key: found[key] for key in _FIELDS})
    except (TypeError, LookupError) as error:
        raise ValueError(f"damaged: {error!r}") from error
