"""Everything that commonwheel refuses or fails at, below one root.

Errors hold what they are about as fields and say it in ``__str__``: one line that
names the thing, the reason and, where there is one, the way out. Only frontends
print them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


class CommonwheelError(Exception):
    """The root of all errors that this package raises on purpose."""


@dataclass(eq=False)
class InvalidWheel(CommonwheelError):
    """A file that is not a wheel, or a wheel that contradicts itself."""

    path: Path
    """The file."""

    reason: str
    """What is wrong with it, without a full stop."""

    member: str | None = None
    """The archive member it is about, if it is about one."""

    def __str__(self) -> str:
        about = f"{self.member!r}: " if self.member is not None else ""
        return f"{self.path} is not a valid wheel: {about}{self.reason}"


@dataclass(eq=False)
class IncompatibleWheel(CommonwheelError):
    """A wheel for another Python or platform than the environment's."""

    path: Path
    tags: str
    """The wheel's compatibility tags, as in its file name."""
    python: str
    """The environment's interpreter and version."""

    def __str__(self) -> str:
        return (
            f"{self.path} is built for {self.tags}, which {self.python} does not support"
        )


@dataclass(eq=False)
class InvalidStore(CommonwheelError):
    """A store that cannot be used: not a store, of a newer layout, not accessible."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"the store {self.path} cannot be used: {self.reason}"


@dataclass(eq=False)
class InvalidEnvironment(CommonwheelError):
    """A path that is not a Python environment, or one that cannot be linked into."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} cannot be used as an environment: {self.reason}"


@dataclass(eq=False)
class LinkConflict(CommonwheelError):
    """Two distributions want different kinds of things at the same path."""

    distribution: str
    path: str
    """Relative to site-packages."""
    holder: str
    """What is there already, and whose it is."""

    def __str__(self) -> str:
        return (
            f"{self.distribution} cannot be linked: {self.path} is already {self.holder};"
            " uninstall one of the two"
        )


@dataclass(eq=False)
class DuplicateRequest(CommonwheelError):
    """One distribution asked for twice: which of the two is meant is not ours to say."""

    distribution: str
    sources: tuple[str, ...]
    """The wheels or entries that it would come from."""

    def __str__(self) -> str:
        sources = " and ".join(self.sources)
        return f"{self.distribution} is asked for more than once: {sources}"


@dataclass(eq=False)
class ApplyFailed(CommonwheelError):
    """Changing an environment failed; what had been changed was taken back."""

    path: Path
    """The environment's site-packages."""
    reason: str
    kept: Path | None = None
    """Where files are that could not be put back, if that failed too."""

    def __str__(self) -> str:
        outcome = "nothing was changed there"
        if self.kept is not None:
            outcome = f"some of what was there before could not be put back: {self.kept}"
        return f"cannot change {self.path}: {self.reason}; {outcome}"


def explain(error: OSError) -> str:
    """What the system says, and which file it is about."""
    reason = error.strerror or str(error)
    return f"{reason} ({os.fsdecode(error.filename)})" if error.filename else reason
