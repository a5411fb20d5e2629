"""The plan of an export: what a copy of an environment consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from commonwheel.environment import Environment


@dataclass(frozen=True)
class ExportedFile:
    """A file of the copy: by its contents, or like another one."""

    source: Path | None = None
    content: bytes | None = None
    executable: bool = False
    shared: bool = False
    """Whether it may be one with ``source``, a store's."""
    compiled_from: str = ""
    """The source file that it is bytecode of."""


@dataclass(frozen=True)
class Export:
    """What a copy of an environment consists of; paths are relative to it, with ``/``."""

    environment: Environment
    folders: tuple[str, ...]
    files: Mapping[str, ExportedFile] = field(hash=False)
    links: tuple[tuple[str, str], ...]
    """Symbolic links, and where they lead."""
    compiled: Mapping[str, tuple[str, ...]] = field(hash=False)
    """Source files to compile, relative to the site-packages folder they are in."""
    remarks: tuple[str, ...]
    """What a person should be told."""
