"""How somebody stops this program: with Ctrl-C, SIGTERM or SIGHUP.

Before anything was begun a signal simply ends the process. While something is done, the
first one is raised as :exc:`KeyboardInterrupt`, for what was begun to be taken back; the
next ones are not heard for a while, so that they do not stop that, too. When all is done
they come too late. The handlers are functions: programs that are started do not inherit
them, as they would inherit that a signal is ignored.
"""

from __future__ import annotations

# `signal`, which is made of it, takes 2 ms to import, which `commonwheel run` has not
import _signal  # type: ignore[import-not-found]
import sys
import time

TYPE_CHECKING = False  # known to type checkers; `typing` is slow to import
if TYPE_CHECKING:
    from types import TracebackType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 10.0
"""Seconds that taking back has before a further signal stops that as well."""
_ALARM: int | None = getattr(_signal, "SIGALRM", None)
_AGAIN = 0.01
"""Seconds after which an interrupt is raised again that went lost."""


def end_at_once() -> None:
    """From now on Ctrl-C ends the process without a word: it has begun nothing yet.

    Where it is ignored (a shell has put us into the background) it stays ignored.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def come_too_late() -> None:
    """From now on no signal changes how the process ends: all is done."""
    for number in _heard():
        _signal.signal(number, lambda *_: None)


class Interruption:
    """While this context lasts, being told to stop is a :exc:`KeyboardInterrupt`.

    Only the main thread is told. What was before is so again afterwards.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """By which signal it was told, if it was."""
        self._when = 0.0
        self._before: dict[int, object] = {}
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Interruption:  # noqa: PYI034  `Self` is younger than 3.10
        try:
            for number in _heard():
                self._before[number] = _signal.signal(number, self._stop)
        except ValueError:
            return self  # not the main thread
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._raise_later
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before:
            sys.unraisablehook = self._unraisable
        if _ALARM is not None and _ALARM in self._before:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            _signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        if self.signal is None or time.monotonic() > self._when + _PATIENCE:
            self.signal, self._when = number, time.monotonic()
            raise KeyboardInterrupt

    def _raise_later(self, lost: sys.UnraisableHookArgs) -> None:
        """An exception in a destructor goes no further; an interrupt has to."""
        if lost.exc_type is not KeyboardInterrupt or _ALARM is None:
            self._unraisable(lost)
            return
        if _ALARM not in self._before:
            self._before[_ALARM] = _signal.signal(_ALARM, _raise)
        _signal.setitimer(_signal.ITIMER_REAL, _AGAIN)


def _raise(*_: object) -> None:
    raise KeyboardInterrupt


def _heard() -> list[int]:
    """The signals that would end this process; not what is ignored, as by ``nohup``."""
    numbers = [getattr(_signal, name) for name in _NAMES if hasattr(_signal, name)]
    ends = (_signal.SIG_DFL, _signal.default_int_handler)
    return [each for each in numbers if _signal.getsignal(each) in ends]
