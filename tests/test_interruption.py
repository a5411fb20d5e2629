"""Being told to stop: the first signal is an exception, the next ones wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commonwheel.frontends import interruption
from commonwheel.frontends.interruption import Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    handlers = [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
    before = [signal.signal(n, h) for n, h in zip(SIGNALS, handlers, strict=True)]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def tell(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts_once_and_is_as_before_afterwards(number: int) -> None:
    before = signal.getsignal(number)
    cleaned = []

    def work() -> None:
        try:
            tell(number)
        finally:
            tell(signal.SIGINT)
            tell(number)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), Interruption() as interrupted:
        work()
    assert cleaned
    assert interrupted.signal == number
    assert signal.getsignal(number) is before


def test_who_waits_too_long_is_heard_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_PATIENCE", -1.0)
    with Interruption():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                tell(signal.SIGINT)


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption.end_at_once()
    with Interruption():
        tell(signal.SIGHUP)
        tell(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_an_interrupt_that_a_destructor_swallows_comes_again() -> None:
    class Swallowing:
        def __del__(self) -> None:
            tell(signal.SIGINT)

    def wait() -> None:
        del swallowing[0]
        signal.sigtimedwait([signal.SIGUSR1], 10)

    swallowing = [Swallowing()]
    with pytest.raises(KeyboardInterrupt), Interruption():
        wait()
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.mark.parametrize("number", SIGNALS)
def test_the_program_ends_without_a_word_before_it_has_begun(number: int) -> None:
    code = (
        "import os, sys; from commonwheel import __main__ as program\n"
        "class Finder:\n"
        " def find_spec(self, name, *others):\n"
        f"  if name.endswith('.cli'): os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder()); program.main()"
    )
    done = _python("-c", code)
    assert (done.returncode, done.stderr) == (-number, "")


def test_it_says_that_all_is_done_though_it_was_told_to_stop_at_the_end() -> None:
    code = (
        "import atexit, os, signal, sys; from commonwheel.__main__ import main\n"
        "for number in (2, 15, 1): atexit.register(os.kill, os.getpid(), number)\n"
        "sys.argv[1:] = ['gc', '--store', sys.argv[1]]; sys.exit(main())"
    )
    done = _python("-c", code, "/nonexistent/store")
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1


def test_programs_that_are_started_are_told_by_themselves() -> None:
    code = "import signal; print([signal.getsignal(n).name for n in (15, 1)])"
    with Interruption():
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    assert done.stdout == "['SIG_DFL', 'SIG_DFL']\n"


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(interruption.__file__).parents[2])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
