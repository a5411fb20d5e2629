"""Commands of commonwheel that meet with an accident: a process that starts them.

It is told on its standard input what to run, and what is to happen before which change
of the filesystem: the process is killed, the change fails, the disk is cut off, or all
that was written so far is brought to the disk. The interpreter itself reports what it is
about to change (:pep:`578`), whichever function of whichever library asks for it.

Everything is imported once; each command then runs in a process of its own, by
``fork(2)``, which is twenty times quicker than starting one.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import json
import os
import pkgutil
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import commonwheel
from commonwheel import apply, entry_folder, environment, files
from commonwheel.frontends import cli
from commonwheel.store_folder import StoreFolder

CUT = 77
"""The exit status of a process that has cut off its disk."""
PATIENCE = 120
"""Seconds after which a command counts as hanging."""

_CHANGES = frozenset(
    {
        *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename"),
        *("os.rmdir", "os.symlink", "os.truncate", "os.utime", "open"),
        *("shutil.copyfile", "fcntl.flock"),
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_PATHS = (str, bytes, Path)
_SHUT_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN; its argument says what becomes of the log
_CLONE = 0x40049409  # FICLONE
_START_SYNC = 0x80089418  # BTRFS_IOC_START_SYNC
_WAIT_SYNC = 0x40089416  # BTRFS_IOC_WAIT_SYNC


class Accident:
    """What happens to one command, and when; see :class:`crashes.Accident`."""

    def __init__(self, planned: Mapping[str, Any], trace: int) -> None:
        self._below = tuple(planned["below"])
        self._kill = planned.get("kill", -1)
        self._fail = planned.get("fail", -1)
        self._error = planned.get("errno", errno.EIO)
        self._cut = planned.get("cut", -1)
        self._syncs = frozenset(planned.get("syncs", ()))
        self._commits = frozenset(planned.get("commits", ()))
        self._mounts = [os.open(each, os.O_RDONLY) for each in planned.get("disks", ())]
        self._log = planned.get("log")
        self._copies = planned.get("copies", ())
        self._locks = self._error == errno.ENOLCK
        self._trace = trace
        self._number = 0
        self._busy = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by the interpreter before everything that it does."""
        if event not in _CHANGES or self._busy or not self._concerns(event, arguments):
            return
        self._busy = True
        try:
            self._before(self._number, event, arguments)
        finally:
            self._number += 1
            self._busy = False

    def _concerns(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "fcntl.flock":
            return self._locks and not arguments[1] & fcntl.LOCK_UN
        if self._locks:
            return False
        if event == "open":
            flags = arguments[2]
            if not (isinstance(flags, int) and flags & _WRITING):
                return False
            arguments = arguments[:1]
        named = [os.fsdecode(each) for each in arguments if isinstance(each, _PATHS)]
        if not named:  # by its descriptor
            return event in ("os.chmod", "os.truncate", "os.utime")
        # or relative to a folder that is open; where this process is, it changes nothing
        return any(each.startswith(self._below) or each[:1] != "/" for each in named)

    def _before(self, number: int, event: str, arguments: tuple[Any, ...]) -> None:
        names = [os.fsdecode(each) for each in arguments if isinstance(each, _PATHS)]
        os.write(self._trace, f"{event} {' '.join(names)}\n".encode("utf-8", "replace"))
        if number in self._syncs:
            for each in self._mounts:
                _libc.syncfs(each)
        if number in self._commits:
            for each in self._mounts:
                _commit(each)
        if number == self._cut:
            for source, copy in self._copies:
                clone(source, copy)
            for each in self._mounts if self._log is not None else ():
                fcntl.ioctl(each, _SHUT_DOWN, struct.pack("=I", self._log))
            os._exit(CUT)
        if number == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == self._fail:
            raise OSError(self._error, os.strerror(self._error), *names[:1])


_libc = ctypes.CDLL(None, use_errno=True)


def _commit(mount: int) -> None:
    """Bring the names on a filesystem to its disk, and not what the files hold."""
    try:
        number = bytearray(8)
        fcntl.ioctl(mount, _START_SYNC, number)
        fcntl.ioctl(mount, _WAIT_SYNC, number)
    except OSError:  # it is not btrfs; others bring the whole journal there
        file = os.open("journal", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=mount)
        os.write(file, b".")
        os.fsync(file)
        os.close(file)


def clone(source: str, copy: str) -> None:
    """What ``source`` holds now, as ``copy``; takes no time, whatever its size."""
    taken = os.open(source, os.O_RDONLY)
    made = os.open(copy, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.ioctl(made, _CLONE, taken)
    finally:
        os.close(taken)
        os.close(made)


def _without_sync() -> None:
    """Nothing is brought to the disk before it is published."""
    files.sync_filesystem = lambda path: None


def _entries_first() -> None:
    """Entries are published first and filled then."""
    make = entry_folder.make

    def fill(archive: Any, made: Path, identifier: str, *others: Any) -> object:
        return make(
            archive, made.parents[2] / "entries" / identifier, identifier, *others
        )

    def publish(self: StoreFolder, made: Path, identifier: str) -> object:
        files.sync_filesystem(self.root)
        return self._published(self.root / "entries" / identifier)

    entry_folder.make = fill
    StoreFolder._publish = publish


def _metadata_first() -> None:
    """Distributions count as installed first and are linked then."""
    link, publish = apply._make_importable, apply._make_known

    def known(plan: Any, change: Any) -> None:
        publish(plan, change)
        link(plan, change)

    apply._make_importable = known
    apply._make_known = lambda plan, change: None


CONTROLS: Mapping[str, Callable[[], None]] = {
    "without sync": _without_sync,
    "entries first": _entries_first,
    "metadata first": _metadata_first,
}
"""What makes a commonwheel that must not pass."""


def _run(asked: Mapping[str, Any], outputs: tuple[int, int, int]) -> int:
    """The command, in a process of its own; the exit status."""
    out, err, trace = outputs
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    try:
        for control in asked.get("controls", ()):
            CONTROLS[control]()
        sys.addaudithook(Accident(asked, trace).hook)
        return cli.main(asked["command"])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _answer(asked: Mapping[str, Any]) -> dict[str, object]:
    outputs = tuple(os.memfd_create(name) for name in ("out", "err", "trace"))
    child = os.fork()
    if not child:
        os._exit(_run(asked, outputs))
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(PATIENCE)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        **dict(zip(("out", "err", "trace"), map(_read, outputs), strict=True)),
    }


def _read(descriptor: int) -> str:
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def main() -> None:
    """Answer requests, one a line, until there are no more."""
    os.environ.pop("PYTHONPATH", None)  # it is for this process
    for module in pkgutil.walk_packages(commonwheel.__path__, "commonwheel."):
        if "__main__" not in module.name and ".tox" not in module.name:
            try:
                importlib.import_module(module.name)
            except ImportError:
                continue  # a plugin of what is not here
    ask = environment._ask
    answers: dict[object, Any] = {}

    def ask_once(*given: Any) -> Any:
        if given not in answers:
            answers[given] = ask(*given)
        return answers[given]

    environment._ask = ask_once
    for line in sys.stdin:
        asked = json.loads(line)
        for python in asked.get("pythons", ()):
            environment.of_interpreter(Path(python))  # remembered, here
        print(json.dumps(_answer(asked)), flush=True)


if __name__ == "__main__":
    main()
