"""Access: whether a folder can be read by somebody else than who runs this.

The superuser installs into environments of others, who then import what is linked there.
It is decided by owners and permission bits; what an access control list adds is not seen.
"""

from __future__ import annotations

import os
import stat
import sys
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import pwd


def can_read(user: int, folder: Path) -> bool:
    """Whether the user of this number can list a folder, and get to it.

    :raises OSError: it is not there
    """
    if sys.platform == "win32" or user == 0:
        return True  # they say nothing there; the superuser is not held by them
    place = Path(os.path.realpath(folder))
    way = all(_allows(user, each.stat(), stat.S_IXOTH) for each in place.parents)
    return way and _allows(user, place.stat(), stat.S_IROTH | stat.S_IXOTH)


def _allows(user: int, folder: os.stat_result, bits: int) -> bool:
    """Whether a folder allows a user what ``bits`` allow others.

    Its owner and its group are asked for by bits of their own.
    """
    if folder.st_uid == user:
        bits <<= 6
    elif folder.st_gid in _groups(user):
        bits <<= 3
    return folder.st_mode & bits == bits


@cache
def _groups(user: int) -> frozenset[int]:
    try:
        found = pwd.getpwuid(user)
    except KeyError:
        return frozenset()  # nothing is known of them
    return frozenset(os.getgrouplist(found.pw_name, found.pw_gid))


def name_of(user: int) -> str:
    """What a user is called, for a person."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
