"""Errors of locks: one that cannot be read, or that cannot be kept to.

That is also a script with metadata, and names to be chosen by, which take its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commonwheel.errors import CommonwheelError


@dataclass(eq=False)
class InvalidLock(CommonwheelError):
    """A lock file that cannot be read, or does not say what to install."""

    path: Path
    reason: str
    place: str | None = None
    """The line or key that it is about, if it is about one."""

    def __str__(self) -> str:
        place = f", {self.place}" if self.place is not None else ""
        return f"{self.path}{place}: {self.reason}"


@dataclass(eq=False)
class LockMismatch(CommonwheelError):
    """A lock that was made for another Python or platform than the environment's."""

    path: Path
    python: str
    """The environment's interpreter and version."""
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.path} is not for {self.python}: {self.reason};"
            " lock again for it, or use another environment"
        )


@dataclass(eq=False)
class MissingHash(CommonwheelError):
    """A distribution whose file nothing vouches for, though something has to."""

    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"{self.distribution} cannot be verified: {self.reason}"


@dataclass(eq=False)
class SourceRefused(CommonwheelError):
    """A distribution that has to be built, where building was not allowed."""

    distribution: str
    source: str
    """What it would be built from."""

    def __str__(self) -> str:
        return (
            f"{self.distribution} has no wheel for this environment, only {self.source};"
            " to build it, which runs its code, say --allow-sdist"
        )


@dataclass(eq=False)
class NotBuiltHere(CommonwheelError):
    """A distribution that has to be built for a Python that is not on this machine."""

    distribution: str
    source: str
    """What it would be built from."""
    python: str
    """What it would be built for."""

    def __str__(self) -> str:
        return (
            f"{self.distribution} has no wheel for {self.python}, only {self.source},"
            " which cannot be built here; build a wheel there, and lock that"
        )


@dataclass(eq=False)
class EditableRefused(CommonwheelError):
    """A project to be installed as editable in a folder that is no environment."""

    distribution: str
    path: Path
    """The folder."""

    def __str__(self) -> str:
        return (
            f"{self.distribution} is editable in the lock, which nothing can be in"
            f" {self.path}: lock it without, or sync a virtual environment"
        )


@dataclass(eq=False)
class WrongFile(CommonwheelError):
    """A file that is not the one that a lock names."""

    distribution: str
    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.distribution} was refused: {self.file} {self.reason}"


@dataclass(eq=False)
class HostFailed(CommonwheelError):
    """The installer that does what linking cannot do has failed."""

    host: str
    """Its name."""
    task: str
    """What it was to do."""
    reason: str
    """In its own words."""
    outcome: str = "nothing was changed"
    """Of the whole."""
    hint: str | None = None
    """The way out, if one is known."""
    said: tuple[str, ...] = ()
    """All that it said, line by line: of a build that fails, the reason is in there."""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint is not None else ""
        return f"{self.host} could not {self.task}: {self.reason}; {self.outcome}{hint}"


@dataclass(eq=False)
class InvalidScript(CommonwheelError):
    """A Python file whose metadata (:pep:`723`) cannot be read, or that has no lock."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"the script {self.path} cannot be run: {self.reason}"


@dataclass(eq=False)
class ScriptMismatch(CommonwheelError):
    """A script that asks for something else (:pep:`723`) than its lock has."""

    path: Path
    """The script."""
    wanted: tuple[str, ...]
    """What it asks for, and what there is instead."""
    way_out: str

    def __str__(self) -> str:
        return f"{self.path} needs {'; '.join(self.wanted)}: {self.way_out}"


@dataclass(eq=False)
class NotInStore(CommonwheelError):
    """Distributions that the store lacks, where nothing may be fetched."""

    path: Path
    """The store."""
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the store {self.path} has no {', no '.join(self.missing)}, and nothing may"
            " be fetched: run this once without --offline (in Python: offline=False), or"
            " `commonwheel sync` an environment"
        )


@dataclass(eq=False)
class NothingFits(CommonwheelError):
    """Distributions asked for by name, of which a store has none that fits."""

    path: Path
    """The store."""
    reasons: tuple[str, ...]
    """Which one is wanted by whom, and what there is."""

    def __str__(self) -> str:
        return (
            f"the store {self.path} has not what is asked for: {'; '.join(self.reasons)}."
            " Install it once into any environment with --use-shared-store, or use a lock"
        )


@dataclass(eq=False)
class ActivationFailed(CommonwheelError):
    """Distributions that could not be made importable in a running process."""

    wanted: str
    """The lock, or the names."""
    reason: str

    def __str__(self) -> str:
        return f"{self.wanted} cannot be activated: {self.reason}"
