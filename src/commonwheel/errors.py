"""Everything that commonwheel refuses or fails at, below one root.

Errors hold what they are about as fields and say it in ``__str__``: one line that
names the thing, the reason and, where there is one, the way out. Only frontends
print them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from commonwheel import shortage
from commonwheel.wheel_rules import WheelRule


class CommonwheelError(Exception):
    """The root of all errors that this package raises on purpose."""


@dataclass(eq=False)
class InvalidWheel(CommonwheelError):
    """A file that is not a wheel, or a wheel that contradicts itself."""

    path: Path
    """The file."""

    rule: WheelRule
    """The rule that it breaks."""

    reason: str
    """What is wrong with it, without a full stop."""

    member: str | None = None
    """The archive member it is about, if it is about one."""

    def __str__(self) -> str:
        about = f"{self.member!r}: " if self.member is not None else ""
        # a reason may quote the file: line breaks, and what a terminal would obey
        reason = "".join(c if c.isprintable() else " " for c in self.reason)
        rule = self.rule.value
        return f"{self.path} is not a valid wheel: {about}{reason} [{rule}]"


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
class EntryGone(CommonwheelError):
    """An entry that was collected after it was chosen and before it was linked."""

    path: Path
    """The entry's folder."""

    def __str__(self) -> str:
        return (
            f"the store entry {self.path} is not there any more; nothing was changed,"
            " run the command again"
        )


@dataclass(eq=False)
class Busy(CommonwheelError):
    """Something that somebody else uses, and that was waited for in vain."""

    path: Path
    holders: tuple[str, ...]
    """The programs that use it, as far as they are known."""
    waited: float = 0.0
    """How long it was waited for, in seconds."""

    @property
    def thing(self) -> str:
        """What it is, for a person."""
        return str(self.path)

    @property
    def waiting(self) -> str:
        """What a person is told meanwhile."""
        return f"waiting for {self._users}, which uses {self.thing}"

    @property
    def _users(self) -> str:
        return " and ".join(self.holders) or "another program"

    def __str__(self) -> str:
        since = f", and was for {self.waited:.0f} s" if self.waited >= 1 else ""
        return (
            f"{self.thing} is in use by {self._users}{since}; nothing was changed,"
            " try again when that is done"
        )


class StoreBusy(Busy):
    """A store that somebody uses, where nobody else may; or one entry of it."""

    @property
    def thing(self) -> str:
        return f"the store {self.path}"


class EnvironmentBusy(Busy):
    """An environment that somebody else changes."""

    @property
    def thing(self) -> str:
        return f"the environment {self.path}"


@dataclass(eq=False)
class InvalidRegistry(CommonwheelError):
    """A record of a store's registry that cannot be read: nobody knows what it needs."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be read: {self.reason}; as long as it is there nothing"
            " can be collected. Its environment writes it anew when `commonwheel status"
            " ENV` is run on it; if that is gone, remove the file"
        )


@dataclass(eq=False)
class NothingRegistered(CommonwheelError):
    """A store with entries and no environment: whether they are used is not known."""

    path: Path
    entries: int
    """How many there are."""

    def __str__(self) -> str:
        entries = "1 entry" if self.entries == 1 else f"{self.entries:,} entries"
        return (
            f"no environment is registered in the store {self.path}, so nobody is known"
            f" to use its {entries}; nothing was collected. If that is right, say --all"
        )


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
class LinkModeUnavailable(CommonwheelError):
    """A link mode that was asked for, and does not work between these two folders."""

    mode: str
    source: Path
    """In the store."""
    target: Path
    """In the environment."""
    reason: str

    def __str__(self) -> str:
        return (
            f"link mode {self.mode} does not work from {self.source} to {self.target}:"
            f" {self.reason}; choose another one, or auto"
        )


@dataclass(eq=False)
class NoSymbolicLinks(CommonwheelError):
    """An environment on a filesystem (or system) where no symbolic link can be made."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return (
            f"no symbolic link can be made at {self.path}: {self.reason};"
            " choose link mode auto"
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
            outcome = (
                f"some of what was there before is not put back yet: the next command"
                f" does it, or remove {self.kept} to give it up"
            )
        return f"cannot change {self.path}: {self.reason}; {outcome}"


@dataclass(eq=False)
class InvalidSetting(CommonwheelError):
    """An environment variable (or the like) whose value means nothing."""

    name: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} cannot be {self.value!r}: {self.reason}"


def explain(error: OSError, place: Path | None = None) -> str:
    """What the system says, which file it is about, and the way out if one is known.

    Errors of writing name no file; ``place`` is then a folder that it was in.
    """
    reason = error.strerror or str(error)
    about = shortage.path_of(error)
    if about and error.filename2 and about == os.fsdecode(error.filename):
        reason = f"{reason} ({about} -> {os.fsdecode(error.filename2)})"
    elif about:
        reason = f"{reason} ({about})"
    hint = shortage.way_out(error, os.fspath(place) if place is not None else None)
    return f"{reason}: {hint}" if hint else reason
