"""Who is in a store: many at a time, or one alone, who does not starve."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from commonwheel import occupancy
from commonwheel.errors import StoreBusy
from commonwheel.exclusion import Patience
from commonwheel.occupancy import Occupancy

PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def occupants(folder: Path, patience: float = 60) -> Occupancy:
    return Occupancy(folder, folder, Patience(patience))


def _stay(folder: Path, alone: bool, told: Connection) -> None:
    occupancy = occupants(folder)
    with occupancy.alone(10) if alone else occupancy.using():
        told.send("in")
        told.recv()


def _come_and_go(folder: Path, stay: float, told: Connection) -> None:
    occupancy = occupants(folder)
    told.send("in")
    while not told.poll():
        with occupancy.using():
            time.sleep(stay)


@contextmanager
def somebody(
    folder: Path, *, alone: bool = False
) -> Iterator[tuple[int | None, Connection]]:
    """Another process is in the store; it leaves when it is told something."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_stay, args=(folder, alone, theirs))
    process.start()
    try:
        assert ours.poll(30)
        ours.recv()
        yield process.pid, ours
    finally:
        if process.is_alive():
            ours.send("leave")
        process.join(30)
        assert not process.is_alive()


def test_many_may_be_in_at_once(folder: Path) -> None:
    with somebody(folder), somebody(folder), occupants(folder).using():
        pass


def test_who_wants_to_be_alone_waits_and_is_told_who_is_in(folder: Path) -> None:
    with somebody(folder) as (pid, told):
        begin = time.monotonic()
        busy = pytest.raises(StoreBusy, match=rf"\(process {pid}\)")
        with busy, occupants(folder).alone(0.3):
            pytest.fail("it was not alone")
        assert 0.3 <= time.monotonic() - begin < 3
        threading.Timer(0.3, told.send, ["leave"]).start()
        with occupants(folder).alone(30):
            pass


def test_nobody_comes_in_where_somebody_is_alone(folder: Path) -> None:
    inside = threading.Event()

    def come() -> None:
        with occupants(folder).using():
            inside.set()

    with somebody(folder, alone=True) as (pid, told):
        with pytest.raises(StoreBusy, match=str(pid)), occupants(folder).alone(0):
            pytest.fail("there were two")
        waiting = threading.Thread(target=come, daemon=True)
        waiting.start()
        assert not inside.wait(0.3)
        told.send("leave")
        assert inside.wait(30)
        waiting.join()


def test_one_that_is_killed_is_out(folder: Path) -> None:
    for alone in (False, True):
        with somebody(folder, alone=alone) as (pid, _):
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            with occupants(folder).alone(30):
                pass


def test_it_may_be_taken_again_by_who_is_in(folder: Path) -> None:
    inside = occupants(folder)
    for enter in (inside.using, lambda: inside.alone(0)):
        with enter():
            with inside.using():
                pass
            assert inside.is_inside
            with pytest.raises(StoreBusy), occupants(folder).alone(0):
                pytest.fail("it was given up too early")
        assert not inside.is_inside


def test_who_wants_to_be_alone_does_not_starve(folder: Path) -> None:
    """Sixteen that come and go without a pause hold up a plain lock for many seconds."""
    stay = 0.05
    pipes = []
    processes = []
    for _ in range(16):
        ours, theirs = PROCESSES.Pipe()
        arguments = (folder, stay, theirs)
        process = PROCESSES.Process(target=_come_and_go, args=arguments)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        for ours in pipes:
            ours.recv()
        for _ in range(3):
            begin = time.monotonic()
            with occupants(folder).alone(20):
                waited = time.monotonic() - begin
            assert waited < 2
            time.sleep(0.1)
    finally:
        for ours in pipes:
            ours.send("enough")
        for process in processes:
            process.join(30)


def _always_alone(folder: Path, told: Connection) -> None:
    occupancy = occupants(folder)
    told.send("in")
    while not told.poll():
        with occupancy.alone(60):
            time.sleep(0.05)


@pytest.mark.parametrize("number", [1, 3])
def test_who_is_alone_again_and_again_lets_others_in_between(
    folder: Path, number: int
) -> None:
    """Some collect in a loop, without a pause: users wait for some of it, not all.

    Without the queue one that did so kept a user out for 10 s on average, and up to 40;
    with it for 0.05 s.
    """
    pipes = [PROCESSES.Pipe() for _ in range(number)]
    processes = [
        PROCESSES.Process(target=_always_alone, args=(folder, theirs))
        for _, theirs in pipes
    ]
    for process in processes:
        process.start()
    try:
        for ours, _ in pipes:
            ours.recv()
        waits = []
        for _ in range(10):
            time.sleep(0.1)  # they come back meanwhile
            begin = time.monotonic()
            with occupants(folder).using():
                waits.append(time.monotonic() - begin)
        assert max(waits) < 8, waits
        assert sum(waits) / len(waits) < 2, waits
    finally:
        for ours, _ in pipes:
            ours.send("enough")
        for process in processes:
            process.join(60)


def test_who_has_no_patience_is_told_who_is_alone(folder: Path) -> None:
    with somebody(folder, alone=True) as (pid, _):
        for patience in (0, 0.3):
            begin = time.monotonic()
            refused = pytest.raises(StoreBusy, match=rf"\(process {pid}\)")
            with refused as found, occupants(folder, patience).using():
                pytest.fail("there were two")
            assert patience <= time.monotonic() - begin < patience + 3
            assert str(found.value).startswith(f"the store {folder} is in use by ")
    with occupants(folder, 0).using():
        pass


def test_threads_come_and_go_by_themselves(folder: Path) -> None:
    shared = occupants(folder)
    seen: list[bool] = []

    def come_and_go() -> None:
        seen.append(shared.is_inside)
        with shared.using():
            seen.append(shared.is_inside)

    with shared.using():
        thread = threading.Thread(target=come_and_go)
        thread.start()
        thread.join(30)
        assert seen == [False, True]
        with pytest.raises(StoreBusy), occupants(folder).alone(0):
            pytest.fail("the other thread gave up what this one has")
    with occupants(folder).alone(0):
        pass


@pytest.mark.parametrize("alone", [False, True])
def test_a_forked_child_neither_has_nor_gives_up_what_its_parent_has(
    folder: Path, alone: bool
) -> None:
    occupancy = occupants(folder)
    child = 0
    with occupancy.alone(0) if alone else occupancy.using():
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert occupancy.is_inside
            with pytest.raises(StoreBusy), occupants(folder).alone(0):
                pytest.fail("the child gave it up")
        else:
            inside = occupancy.is_inside
    if not child:  # it has left, as its parent does later
        os._exit(inside)
    with occupants(folder).alone(0):
        pass


@pytest.mark.parametrize("alone", [False, True])
def test_a_forked_child_that_lives_on_keeps_nobody_out(folder: Path, alone: bool) -> None:
    occupancy = occupants(folder)
    with occupancy.alone(0) if alone else occupancy.using():
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        with pytest.raises(StoreBusy), occupants(folder).alone(0):
            pytest.fail("the child gave up its parent's lock")
    try:
        with occupants(folder).alone(0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_without_lock_files_nobody_is_alone_and_everybody_may_use(
    tmp_path: Path,
) -> None:
    nowhere = Occupancy(tmp_path, tmp_path / "locks")
    with nowhere.using():
        assert not nowhere.is_inside
    with pytest.raises(FileNotFoundError), nowhere.alone(0):
        pytest.fail("there is no lock")


def test_a_lock_file_that_cannot_be_written_is_locked_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with occupants(folder).using():
        pass
    real = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(occupancy.os, "open", refuse)
        reader = occupants(folder)
        reader_in = reader.using()
        reader_in.__enter__()
    with pytest.raises(StoreBusy), occupants(folder).alone(0):
        pytest.fail("it was not alone")
    reader_in.__exit__(None, None, None)


def test_no_locks_are_an_error_and_no_leave(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for enter in (occupants(folder).using, lambda: occupants(folder).alone(0)):
        with pytest.raises(OSError, match="No locks"), enter():
            pytest.fail("there is no lock")
