"""What a binary says of itself, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Binary:
    """What one binary asks for, as it is written there."""

    needed: tuple[str, ...]
    """Libraries: names (ELF, PE; those of PE in lower case) or paths (Mach-O)."""
    search: tuple[str, ...]
    """Where they are looked for first: DT_RPATH, DT_RUNPATH, LC_RPATH."""
    name: str | None
    """What others need it by: DT_SONAME, LC_ID_DYLIB, the name in PE's export table."""
    program: bool = False
    """Whether it is one that is run, not loaded. PE programs search no folders and are
    not told apart."""
