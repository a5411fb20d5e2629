"""Failing on purpose: the n-th change of the filesystem below a folder goes wrong.

The interpreter itself reports what it is about to do (:pep:`578`), whichever function of
whichever library asks for it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from commonwheel.errors import ApplyFailed
from folders import snapshot

_CHANGES = frozenset(
    {
        *("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"),
        *("os.symlink", "os.truncate", "open"),
    }
)


class _Fault:
    def __init__(self, root: Path, number: int, error: BaseException | None) -> None:
        self.root = str(root)
        self.left = number
        self.error = error

    @property
    def happened(self) -> bool:
        return self.left < 0


_active: list[_Fault] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    if not _active or event not in _CHANGES:
        return
    if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
        return
    fault = _active[0]
    if any(isinstance(a, (str, Path)) and str(a).startswith(fault.root) for a in args):
        fault.left -= 1
        if fault.left == -1:
            if fault.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise fault.error


_WRITING = os.O_WRONLY | os.O_RDWR
sys.addaudithook(_hook)  # for the life of the process


@contextmanager
def fault(root: Path, number: int, error: BaseException | None) -> Iterator[_Fault]:
    """While this lasts, change ``number`` (from 0) below ``root`` raises ``error``.

    Or kills the process, if that is None.
    """
    planned = _Fault(root, number, error)
    _active.append(planned)
    try:
        yield planned
    finally:
        _active.clear()


def killed(root: Path, number: int, act: Callable[[], object]) -> bool:
    """Whether ``act`` is killed before change ``number`` below ``root``, not done."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with fault(root, number, None):
                act()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def all_or_nothing(
    root: Path, prepare: Callable[[], Callable[[], object]], error: BaseException
) -> Iterator[Callable[[], object]]:
    """Let the changes that an act makes below ``root`` fail, one after the other.

    ``prepare`` fills ``root`` and returns the act. After each failure ``root`` has to be
    as it was before. An act that goes well all the same, because there was another way
    or no need, is yielded, and prepared anew.
    """
    act = prepare()
    before = snapshot(root)
    failures = 0
    for number in itertools.count():
        with fault(root, number, error) as planned:
            try:
                act()
            except (ApplyFailed, KeyboardInterrupt):
                assert snapshot(root) == before, f"change {number}"
                failures += 1
                continue
        yield act
        if not planned.happened:
            break
        shutil.rmtree(root)
        act = prepare()
        before = snapshot(root)
    assert failures > 15
