"""Which filesystem a path is on, told so that another one at the same place shows."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOUNTS = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")


def identity(path: Path) -> str:
    """The filesystem that ``path`` is on, or would be, and where that is mounted.

    ``f_fsid`` of ``statvfs(3)`` is of the filesystem itself, where it has one (of ext4
    its UUID): device numbers are given anew each time something is mounted. Where it is
    mounted is told by ``proc_pid_mountinfo(5)``: one filesystem can be at several places,
    of which some are there at times. Empty if it cannot be told.
    """
    while True:
        try:
            status = os.stat(path)
            break
        except (FileNotFoundError, NotADirectoryError):
            path = path.parent
        except OSError:
            return ""
    number = 0
    if hasattr(os, "statvfs"):
        try:
            number = os.statvfs(path).f_fsid
        except OSError:
            return ""
    name = f"{number:x}" if number else f"device {status.st_dev:x}"
    return f"{name} {_mount_point(os.path.realpath(path))}"


def _mount_point(path: str) -> str:
    """Where what ``path`` is on is mounted; empty if the system does not say."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            fields = [line.split(" ", 5)[4] for line in file]
    except (OSError, IndexError):
        return ""
    points = (_ESCAPED.sub(lambda code: chr(int(code[1], 8)), each) for each in fields)
    above = (each for each in points if f"{path}/".startswith(f"{each.rstrip('/')}/"))
    return max(above, key=len, default="")
