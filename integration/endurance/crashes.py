"""Crashes: commands that are killed, or whose changes of the filesystem fail.

An accident happens before any change that a command makes below its store and its
environment. What has to hold then is said by :mod:`endurance.scenes`. To do one again:
``once(scene, act, "kill", 17)``.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from endurance import scenes
from endurance.figures import Figure
from endurance.scenes import Act, Expected, Scene
from environments import run
from filesystems import TMPFS, mounts

NOBODY = 65534
KILL = "SIGKILL"
ERRORS = ("EIO", "ENOSPC", "EDQUOT")
NO_LOCK = "ENOLCK"
_REACHING = ("+dac_read_search",)
"""So that somebody who is not the superuser can start interpreters in a home folder; it
lets him read everything, and write nothing."""


def as_nobody() -> tuple[str, ...]:
    """The start of a command line that is not run by the superuser."""
    allowed = ",".join(_REACHING)
    return (
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--inh-caps={allowed}", f"--ambient-caps={allowed}"),
    )


@dataclass(frozen=True)
class Accident:
    """What happens before one change of one act."""

    act: Act
    kind: str
    """``SIGKILL``, or the name of an error."""
    number: int

    def __str__(self) -> str:
        return f"{self.act.name}: {self.kind} before change {self.number}"

    @property
    def planned(self) -> dict[str, int]:
        """As the victim is told."""
        if self.kind == KILL:
            return {"kill": self.number}
        return {"fail": self.number, "errno": getattr(errno, self.kind)}


@contextmanager
def scene(*, nobody: bool = False, layered: bool = False) -> Iterator[Scene]:
    """A scene in the memory, with its wheels.

    ``layered``: on an overlay of two filesystems, where a file has another device than
    its folder, and the folder lists another inode for it.
    """
    python = scenes.python_here()
    with tempfile.TemporaryDirectory() as folder, mounts(Path(folder)) as mounted:
        os.chmod(folder, 0o755)
        memory = mounted.filesystem(TMPFS, "size=2G,mode=0755")
        if layered:
            memory = mounted.overlay(mounted.filesystem(TMPFS), memory)
        scenes.write_wheels(memory / "wheels", python)
        home = memory / "home"
        home.mkdir()
        if nobody:
            os.chown(home, NOBODY, NOBODY)
        prefix = as_nobody() if nobody else ()
        work, another = memory / "work", scenes.another_python()
        made = Scene(memory / "wheels", work, work, python, another, home, prefix)
        with made.running():
            yield made


class Stage:
    """One act of a scene, which can be begun again and again."""

    def __init__(self, scene: Scene, act: Act) -> None:
        self.scene = scene
        self.act = act
        self._work = scene.store(act).parent
        self._kept = self._work.with_name(f"{self._work.name}-before")
        scene.prepare(act, NOBODY if scene.prefix else None)
        run(["cp", "-a", self._work, self._kept])
        self.expected: Expected = scene.expected(act)

    def begin(self) -> None:
        """Everything is as before the act."""
        shutil.rmtree(self._work)
        run(["cp", "-a", self._kept, self._work])

    def meet(self, accident: Accident) -> list[str] | None:
        """What does not hold after an accident; None if it did not come to it."""
        self.begin()
        act, scene, wanted = self.act, self.scene, self.expected
        done = scene.act(act, **accident.planned)
        if len(done["trace"].splitlines()) <= accident.number:
            return None
        if accident.kind == KILL:
            assert done["status"] == -9, done
            wrong = scene.after_an_accident(act, wanted)
        else:
            wrong = scene.after_an_error(act, done, wanted)
        return wrong or scene.again(act, wanted, failed=accident.kind != KILL)

    def told(self, accident: Accident) -> str:
        """An accident, with the change that it comes before."""
        if accident.kind == NO_LOCK:
            return str(accident)
        return f"{accident} ({self.expected.operations[accident.number]})"


def _accidents(stage: Stage, count: int, chance: random.Random) -> Iterator[Accident]:
    """Two thirds of ``count`` are kills; locks fail at each of them."""
    wanted = stage.expected
    for number in wanted.spread(count * 2 // 3, chance):
        yield Accident(stage.act, KILL, number)
    for number in wanted.spread(count // 3, chance):
        yield Accident(stage.act, chance.choice(ERRORS), number)
    yield from (Accident(stage.act, NO_LOCK, number) for number in range(4))


def crashes(
    states: int,
    *,
    nobody: bool = False,
    layered: bool = False,
    seed: int = 0,
    acts: Sequence[Act] = scenes.ACTS,
) -> Iterator[Figure]:
    """Let about ``states`` accidents happen, shared out among the acts.

    ``nobody``: the commands are not run by the superuser. ``layered``: see :func:`scene`.
    What does not hold is printed.
    """
    chance = random.Random(seed)
    who = "not as root" if nobody else "as root"
    if layered:
        who += ", on an overlay of two filesystems"
    tried: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    changes = 0
    begin = time.monotonic()
    with scene(nobody=nobody, layered=layered) as made:
        for act in acts:
            stage = Stage(made, act)
            changes += len(stage.expected.operations)
            accidents = _accidents(stage, states // len(acts), chance)
            for kind, is_held in _met(stage, accidents, who):
                tried[kind] += 1
                failed[kind] += not is_held
    minutes = (time.monotonic() - begin) / 60
    note = f"{len(acts)} commands, which make {changes:,} changes; {minutes:.0f} min"
    for kind, number in tried.items():
        yield Figure("crashes", f"commands {kind}, {who}", number, failed[kind], note)


@dataclass(frozen=True)
class Call:
    """A system call of a whole process, and what becomes of it (``strace -e inject``)."""

    act: Act
    name: str
    number: int
    """Which call of that name, from 1."""
    fault: str
    """``signal=KILL``, or ``error=`` and the name of an error."""

    def __str__(self) -> str:
        return f"{self.act.name}: {self.name} {self.number}: {self.fault}"


STRACE = ("strace", "-f", "-qq")
_CALLS = {
    **dict.fromkeys(("write", "fsync", "syncfs", "mkdir", "symlink", "link"), ERRORS),
    **dict.fromkeys(("rename", "renameat2", "openat", "copy_file_range"), ERRORS),
    **dict.fromkeys(("fchmod", "ftruncate", "unlink", "unlinkat", "rmdir"), ("EIO",)),
    "flock": (NO_LOCK,),
}
"""System calls that change something, and the errors that they may end with."""


def system_calls(states: int, *, seed: int = 0) -> Iterator[Figure]:
    """As :func:`crashes`, of whole processes, and before and in single system calls.

    Some of what a process does no audit event tells: that data is written, locked, or
    brought to the disk.
    """
    chance = random.Random(seed)
    acts = (scenes.INSTALL, scenes.UPGRADE_COPIES, scenes.UNINSTALL, scenes.COLLECT)
    failed = tried = 0
    ends: Counter[int] = Counter()
    begin = time.monotonic()
    with scene() as made:
        for act in acts:
            stage = Stage(made, act)
            calls = [*_calls(stage)]
            for call in chance.sample(calls, min(len(calls), states // len(acts))):
                status, wrong = _met_in(stage, call)
                ends[status] += 1
                tried += 1
                if wrong:
                    failed += 1
                    print(f"{call}:", *wrong[:4], sep="\n    ", flush=True)
    note = f"{ends[-9]} killed, {ends[1]} failed; {time.monotonic() - begin:.0f} s"
    yield Figure("crashes", "system calls of whole processes", tried, failed, note)


def _traced(stage: Stage, *options: object) -> subprocess.CompletedProcess[str]:
    arguments = stage.scene.filled(stage.act, stage.act.command)
    command = (*(sys.executable, "-m", "commonwheel"), *arguments)
    variables = stage.scene.variables
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return run([*STRACE, *options, *command], check=False, env=variables, cwd="/")


def _calls(stage: Stage) -> Iterator[Call]:
    """What can happen to the calls that a command makes in its store or environment."""
    stage.begin()
    listed = stage.scene.home / "calls"
    done = _traced(stage, *listing(listed, _CALLS))
    assert done.returncode == 0, done.stderr
    place = str(stage.scene.store(stage.act).parent)
    for name, number in calls_in(listed, place):
        for fault in (*(f"error={each}" for each in _CALLS[name]), "signal=KILL"):
            yield Call(stage.act, name, number, fault)


def listing(file: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Options of strace that list system calls in a file."""
    trace = f"trace={','.join(names)}"
    return ("-y", "-s", "300", "-o", str(file), "-e", trace)


def calls_in(listed: Path, place: str) -> Iterator[tuple[str, int]]:
    """The calls that change something in a place, of the process that makes the most.

    Their names, and which one of this name each is, from 1.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    for line in listed.read_text("utf-8", "replace").splitlines():
        process, call = line.split(maxsplit=1)
        name = call.partition("(")[0]
        numbers[process, name] += 1
        reads = name == "openat" and "O_CREAT" not in call
        if place in call and not reads and "LOCK_UN" not in call:
            found.setdefault(process, []).append((name, numbers[process, name]))
    return iter(max(found.values(), key=len))


def _met_in(stage: Stage, call: Call) -> tuple[int, list[str]]:
    """How a process ended of which a call went wrong, and what does not hold then."""
    stage.begin()
    inject = f"inject={call.name}:{call.fault}:when={call.number}"
    done = _traced(stage, "-o", os.devnull, "-e", f"trace={call.name}", "-e", inject)
    act, scene, wanted = stage.act, stage.scene, stage.expected
    if done.returncode == -9:
        wrong = scene.after_an_accident(act, wanted)
    else:
        told = {"status": done.returncode, "err": done.stderr}
        wrong = scene.after_an_error(act, told, wanted)
    was_killed = done.returncode == -9
    return done.returncode, wrong or scene.again(act, wanted, failed=not was_killed)


def broken_by(control: str, act: Act, states: int) -> set[str]:
    """What does not hold when a commonwheel is killed that must not pass.

    ``entry``, ``environment``; ``control`` is one of :data:`victim.CONTROLS`.
    """
    found: set[str] = set()
    with scene() as made:
        stage = Stage(made, act)
        made.controls = (control,)
        for number in stage.expected.spread(states, random.Random(0)):
            wrong = stage.meet(Accident(act, KILL, number)) or ()
            found |= {each.partition(":")[0] for each in wrong}
    return found & {"entry", "environment"}


def _met(
    stage: Stage, accidents: Iterable[Accident], who: str
) -> Iterator[tuple[str, bool]]:
    """Of each accident that there was what it was, and whether everything held."""
    for each in accidents:
        wrong = stage.meet(each)
        if wrong is None:
            continue
        if wrong:
            print(f"{stage.told(each)}, {who}:", *wrong[:4], sep="\n    ", flush=True)
        yield ("killed" if each.kind == KILL else "failing"), not wrong
