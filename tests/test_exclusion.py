"""A lock that one has alone: others wait with patience, and are told for whom."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from commonwheel import exclusion
from commonwheel.apply import changing
from commonwheel.environment import Environment
from commonwheel.errors import ApplyFailed, EnvironmentBusy, StoreBusy
from commonwheel.exclusion import Exclusion, LockFile, Patience, Wait, holders

PROCESSES = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks/one.lock"


def lock(
    path: Path, patience: float = 60, tell: Callable[[str], object] = str
) -> Exclusion:
    return Exclusion(path, Wait(StoreBusy, path.parent, Patience(patience, tell)))


def _hold(path: Path, told: Connection) -> None:
    with lock(path).held():
        told.send("held")
        told.recv()


@contextmanager
def somebody(path: Path) -> Iterator[tuple[int | None, Connection]]:
    """Another process has the lock, until it is told something."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_hold, args=(path, theirs))
    process.start()
    try:
        assert ours.poll(60)
        ours.recv()
        yield process.pid, ours
    finally:
        if process.is_alive():
            ours.send("enough")
        process.join(60)


def test_one_has_it_and_the_other_waits(path: Path) -> None:
    with somebody(path) as (_, told):
        threading.Timer(0.3, told.send, ["enough"]).start()
        begin = time.monotonic()
        with lock(path).held():
            assert time.monotonic() - begin > 0.2
            assert not lock(path).try_to_acquire()
    other = lock(path)
    assert other.try_to_acquire()
    other.release()


@pytest.mark.parametrize("patience", [0, 0.3])
def test_a_wait_ends_and_says_who_has_it(path: Path, patience: float) -> None:
    with somebody(path) as (pid, _):
        begin = time.monotonic()
        with pytest.raises(StoreBusy, match=rf"by .+ \(process {pid}\); nothing"):
            lock(path, patience).acquire()
        assert patience <= time.monotonic() - begin < patience + 3


def test_a_person_is_told_once_of_a_long_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusion, "_SILENCE", 0.1)
    told: list[str] = []
    with somebody(path) as (pid, _):
        with pytest.raises(StoreBusy):
            lock(path, 0.5, told.append).acquire()
        (line,) = told
        assert line.startswith("waiting for ")
        assert f"(process {pid}), which uses the store {path.parent}" in line


def test_it_ends_with_whoever_has_it(path: Path) -> None:
    with somebody(path) as (pid, _):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with lock(path, 30).held():
            pass


def test_only_who_has_it_is_named_and_not_who_waits(path: Path) -> None:
    with somebody(path) as (pid, _):
        waiting = subprocess.Popen(["flock", path, "true"])
        try:
            time.sleep(0.3)
            (name,) = holders(path)
        finally:
            waiting.kill()
            waiting.wait()
    assert name.endswith(f"(process {pid})")
    assert holders(path) == ()


def _released_by_children(hold: Callable[[], object], path: Path) -> list[bool]:
    """Whether a lock is free, as children see it: one after the other, of one parent."""
    seen = []
    for _ in range(2):
        child = os.fork()
        if not child:
            hold()
            os._exit(0)
        os.waitpid(child, 0)
        free = lock(path)
        seen.append(free.try_to_acquire())
        free.release()
    return seen


def test_a_forked_child_cannot_give_it_up(path: Path) -> None:
    mine = lock(path)
    with mine.held():
        assert _released_by_children(mine.release, path) == [False, False]
    file = LockFile(path)
    assert file.try_to_lock()
    assert _released_by_children(file.close, path) == [False, False]
    file.close()


@pytest.mark.parametrize("kind", ["exclusion", "file"])
@pytest.mark.parametrize("ends", ["released", "killed"])
def test_a_forked_child_does_not_keep_it(path: Path, kind: str, ends: str) -> None:
    """Nor do children of children; the parent may be a pool's (multiprocessing)."""
    take = {
        "exclusion": "held = Exclusion(path, Wait(StoreBusy, path, Patience(0)));"
        " held.acquire(); give_up = held.release",
        "file": "held = LockFile(path); assert held.try_to_lock(); give_up = held.close",
    }
    code = f"""
import multiprocessing, os, sys, time
from pathlib import Path
from commonwheel.errors import StoreBusy
from commonwheel.exclusion import Exclusion, LockFile, Patience, Wait
path = Path(sys.argv[1])
path.parent.mkdir(exist_ok=True)
{take[kind]}
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
child.start()
print(child.pid, flush=True)
sys.stdin.readline()
if {ends == "released"}:
    give_up()
    print("released", flush=True)
    sys.stdin.readline()
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        child = int(parent.stdout.readline())
        try:
            assert not lock(path).try_to_acquire()
            parent.stdin.write("go on\n")
            parent.stdin.flush()
            if ends == "released":
                assert parent.stdout.readline() == "released\n"
            else:
                parent.wait(60)
            os.kill(child, 0)  # it lives, and may just be beginning to
            with lock(path, 30).held():
                pass
        finally:
            parent.kill()
            os.kill(child, signal.SIGKILL)


def test_programs_that_are_started_do_not_inherit_it(path: Path) -> None:
    path.parent.mkdir()
    file = LockFile(path)
    with lock(path.with_name("other.lock")).held():
        assert file.try_to_lock()
        shown = subprocess.run(
            ["ls", "-l", "/proc/self/fd"],
            capture_output=True,
            text=True,
            close_fds=False,
            check=True,
        )
    file.close()
    assert ".lock" not in shown.stdout


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", ["exclusion", "file", "file to read"])
def test_where_a_link_leads_nothing_is_locked_or_made(
    path: Path, tmp_path: Path, kind: str, there: bool
) -> None:
    """Else whoever may put one there lets others make files, or wait for anything."""
    path.parent.mkdir()
    target = tmp_path / "target"
    path.symlink_to(target)
    if there:
        target.touch()
    flags = os.O_RDONLY if kind == "file to read" else os.O_RDWR | os.O_CREAT
    attempt = lock(path).try_to_acquire if kind == "exclusion" else LockFile
    arguments = () if kind == "exclusion" else (path, flags)
    with pytest.raises(OSError) as found:  # noqa: PT011  Pythons word it differently
        attempt(*arguments)
    assert found.value.errno == errno.ELOOP
    assert target.exists() is there


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_filesystem_without_locks_is_an_error_that_says_so(
    path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path.parent.mkdir()

    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for attempt in (lock(path).acquire, LockFile(path).try_to_lock):
        with pytest.raises(OSError, match="its filesystem gives no locks: ") as found:
            attempt()
        assert found.value.errno == number
    with pytest.raises(ApplyFailed, match="no locks"), changing(environment):
        pytest.fail("it was changed without a lock")


def test_whose_environment_it_is_is_said(environment: Environment) -> None:
    folder = environment.sites[0] / "_commonwheel"
    with (
        somebody(folder / "lock") as (pid, _),
        pytest.raises(EnvironmentBusy) as found,
        changing(environment, Patience(0)),
    ):
        pytest.fail("two change it")
    said = str(found.value)
    assert said.startswith(f"the environment {environment.scheme.data} is in use by ")
    assert f"(process {pid})" in said


def test_the_lock_of_an_environment_may_go_while_others_wait(
    environment: Environment,
) -> None:
    """Where nothing is linked the folder goes with the lock; who waits makes another."""
    order: list[str] = []
    folder = environment.sites[0] / "_commonwheel"

    def change(name: str) -> None:
        with changing(environment, Patience(30)):
            order.append(name)
            time.sleep(0.05)
            order.append(name)

    threads = [threading.Thread(target=change, args=(str(n),)) for n in range(8)]
    with changing(environment):
        for thread in threads:
            thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join(60)
    assert len(order) == 16
    assert order[::2] == order[1::2]
    assert not folder.exists()


def test_a_lock_whose_folder_goes_while_it_is_made_is_taken_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder that is there, and then not, pathlib says that it exists."""
    mkdir = Path.mkdir
    gone = iter([True])

    def make(self: Path, *args: Any, **options: Any) -> None:
        if self == path.parent and next(gone, False):
            raise FileExistsError(errno.EEXIST, "File exists", str(self))
        mkdir(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", make)
    with lock(path).held():
        assert path.exists()


def test_a_file_where_the_folder_of_a_lock_should_be_is_an_error(path: Path) -> None:
    path.parent.touch()
    with pytest.raises(OSError, match=r"exists|directory"):
        lock(path).acquire()


def test_a_lock_whose_folder_was_removed_is_taken_all_the_same(path: Path) -> None:
    with lock(path).held():
        shutil.rmtree(path.parent)
        with lock(path, 0).held():
            pass
