"""Shortage: what the system has too little of, whose limit it is, and the way out."""

from __future__ import annotations

import errno
import os
import signal

MEMORY = "there is not enough memory (or `ulimit -v` allows too little)"

_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMOVE = "remove something there (if it has the store, `commonwheel gc` does)"
THREADS = "no more threads can be started, see `ulimit -u` and `ulimit -v`"
_NO_THREAD = "can't start new thread"
"""As Python says it, by no class of its own."""
_LOST = ("without setting an exception", "without exception set")
"""As CPython says where it loses on the way that it had no memory."""

_LIMITS = {
    errno.EMFILE: "raise the limit, see `ulimit -n`",
    errno.ENFILE: "the machine's limit for all programs is reached",
    errno.EAGAIN: "no more processes may be started, see `ulimit -u`",
    errno.ENOMEM: "see `ulimit -v`, or let fewer programs run",
    errno.EFBIG: "raise the limit, see `ulimit -f`",
}


def is_one(error: OSError) -> bool:
    """Whether a limit was reached, so that it says nothing of what was tried."""
    return error.errno in _LIMITS


def of_interpreter(error: RuntimeError | SystemError) -> str | None:
    """What Python has too little of, if an error says that, which has no class for it."""
    if isinstance(error, SystemError):
        return MEMORY if any(each in str(error) for each in _LOST) else None
    return THREADS if str(error).startswith(_NO_THREAD) else None


def killed_by(number: int) -> str:
    """What it means that a process was ended by a signal."""
    if number == signal.SIGKILL:
        return "it was killed, as the system does when it is out of memory"
    try:
        return f"it was killed ({signal.Signals(number).name})"
    except ValueError:
        return f"it was killed (signal {number})"


def way_out(error: OSError, place: str | None = None) -> str:
    """What can be done about an error of the system; empty if nobody knows.

    ``place`` is a path on the filesystem that it is about, if the error names none.
    """
    if error.errno in _LIMITS:
        return _LIMITS[error.errno]
    place = path_of(error) or place
    if place is None:
        return ""
    if error.errno == errno.ENOSPC:
        return _make_room(mount_point(place))
    if error.errno == errno.EDQUOT:
        return f"the quota on {mount_point(place)} is used up; {_REMOVE}"
    if error.errno == errno.EROFS:
        return f"the filesystem at {_read_only_from(place)} is read-only"
    return ""


def path_of(error: OSError) -> str | None:
    """The file that an error is about: of two, if one could not be written, the other."""
    given = error.filename
    if error.errno in _OF_WRITING and error.filename2 is not None:
        given = error.filename2
    return os.fsdecode(given) if isinstance(given, (str, bytes, os.PathLike)) else None


def _make_room(place: str) -> str:
    """By now there may be some again: what was made was taken away."""
    what = "room"
    if hasattr(os, "statvfs"):
        found = os.statvfs(place)
        # a filesystem that counts no inodes has as many as there is room for
        if found.f_favail * found.f_blocks < found.f_bavail * found.f_files:
            what = "inodes"
    return f"the filesystem at {place} has no {what} left; {_REMOVE}"


def _read_only_from(path: str) -> str:
    """The outermost folder above ``path`` that is read-only as it is.

    A bind mount of the same filesystem is no mount point that could be seen.
    """
    found = os.path.realpath(path)
    while os.path.dirname(found) != found and _is_read_only(os.path.dirname(found)):
        found = os.path.dirname(found)
    return found


def _is_read_only(folder: str) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except FileNotFoundError:
        return True  # it is not there, so what is above it counts
    except (OSError, AttributeError):
        return False


def mount_point(path: str) -> str:
    """Where the filesystem is mounted that holds ``path``, which need not be there."""
    found = os.path.realpath(path)
    while not os.path.ismount(found):
        parent = os.path.dirname(found)
        if parent == found:
            break
        found = parent
    return found
