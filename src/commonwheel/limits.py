"""Limits: how large a wheel may be before it counts as a trap."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

VARIABLE = "COMMONWHEEL_WHEEL_LIMITS"
"""The environment variable that raises them; frontends read it."""


@dataclass(frozen=True)
class Limits:
    """What one wheel may take. Real ones stay far below; see ``docs/security.md``."""

    members: int = 100_000
    """Files and folders in the archive, and folders that these lie in."""
    size: int = 16 * 2**30
    """Of all files, unpacked, in bytes."""
    ratio: int = 200
    """Of that size to the archive's own."""
    path: int = 1_024
    """Of a member's name, in bytes."""
    metadata: int = 16 * 2**20
    """Of what is read as a whole, in bytes: a file of metadata, the central folder."""


def parse(text: str) -> Limits:
    """The limits that ``text`` sets, such as ``"ratio=500,members=200000"``.

    Those that it does not name are the usual ones.

    :raises ValueError: it sets something else, or to something else than a number
    """
    known = [field.name for field in fields(Limits)]
    values: dict[str, int] = {}
    text = re.sub(r"\s*=\s*", "=", text)
    for part in re.split(r"[,\s]+", text.strip(", \t\n")):
        name, _, value = part.partition("=")
        if not part:
            continue
        if name not in known:
            raise ValueError(f"{name!r} is no limit, these are: {', '.join(known)}")
        if name in values:
            raise ValueError(f"it sets {name} twice")
        if not re.fullmatch(r"[0-9]{1,18}", value) or not int(value):
            raise ValueError(f"{name} needs a number of 1 to 18 digits, not {value!r}")
        values[name] = int(value)
    return Limits(**values)


def exceeded(name: str, figure: str, limit: int, needed: int) -> str:
    """Says that ``figure`` is beyond the limit ``name``, and how to raise that."""
    return (
        f"{figure}, more than the limit of {limit:,};"
        f" if you trust it, put {name}={needed} into {VARIABLE}"
    )
