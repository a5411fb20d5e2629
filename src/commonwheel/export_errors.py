"""Errors of exports and layers: what cannot be taken along, and who was to pack it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commonwheel.errors import CommonwheelError


@dataclass(eq=False)
class NotSelfContained(CommonwheelError):
    """An environment that needs something outside of it, so that no copy could do."""

    path: Path
    """The environment."""
    reasons: tuple[str, ...]
    way_out: str

    def __str__(self) -> str:
        reasons = "; ".join(self.reasons)
        return f"{self.path} cannot be exported: {reasons}. {self.way_out}"


@dataclass(eq=False)
class NotInLayer(CommonwheelError):
    """What a layer was to hold, and no store has."""

    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"no store here has {', nor '.join(self.missing)}; `commonwheel sync` an"
            " environment first, which fetches what is missing"
        )


@dataclass(eq=False)
class ProgramMissing(CommonwheelError):
    """A program that somebody else makes, and that is not there."""

    name: str
    package: str
    """What most distributions of Linux call the package that has it."""

    def __str__(self) -> str:
        return f"this needs the program {self.name}; install the package {self.package}"


@dataclass(eq=False)
class ProgramFailed(CommonwheelError):
    """A program that somebody else makes, and that fails."""

    name: str
    reason: str
    """In its own words."""

    def __str__(self) -> str:
        return f"{self.name} fails: {self.reason}"
