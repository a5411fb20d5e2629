"""Out of room, of rights, of memory, and told to stop: nothing is left half done.

Every case runs the real program. Each time: exit status 0 and what was asked for is done;
or another one, with one line that says why, and everything is as it was before. What is
left in the store is nothing that its users see.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from endurance.crashes import NOBODY, as_nobody
from endurance.figures import Figure
from environments import Tree, quiet_variables, run, tree
from filesystems import TMPFS, mounts
from wheelhouse import write_wheel

_SUBJECT = "room"
_MODULES = 90
"""Of the larger wheel: more than one process compiles them."""
_LIMIT = 120.0
"""Seconds that no command here takes."""
_OWN = ("commonwheel: error: ", "commonwheel: interrupted")
"""How the one line begins, if a command fails."""


@dataclass(frozen=True)
class Place:
    """A store and an environment, and the folder that they may be put back from."""

    root: Path
    store: Path
    path: Path
    variables: Mapping[str, str]

    @classmethod
    def make(
        cls, root: Path, store: Path | None = None, path: Path | None = None
    ) -> Place:
        """A new environment without pip, a store that is not there yet, two wheels."""
        (root / "home").mkdir(parents=True)
        store, path = store or root / "store", path or root / "environment"
        variables = {**quiet_variables(root / "home"), "COMMONWHEEL_STORE": str(store)}
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
        run([sys.executable, "-m", "venv", "--without-pip", path])
        write_wheels(root / "wheels")
        return cls(root, store, path, variables)

    @property
    def exported(self) -> Path:
        """Where the environment is exported to."""
        return self.path.with_name("exported")

    @property
    def wheels(self) -> Path:
        """The folder of the wheels."""
        return self.root / "wheels"

    def wheel(self, name: str) -> Path:
        """The wheel of ``NAME-VERSION``."""
        return next(self.wheels.glob(f"{name}-*.whl"))

    def command(self, *words: object) -> list[str]:
        """``commonwheel``, as users run it."""
        program = Path(sys.executable).with_name("commonwheel")
        return [str(program), *map(str, words)]

    def run(
        self,
        *words: object,
        before: Callable[[], object] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``commonwheel``; ``before`` is called in the process that becomes it."""
        return run(
            self.command(*words),
            check=check,
            env=self.variables,
            preexec_fn=before,
            timeout=_LIMIT,
            cwd=self.root,
        )

    def tree(self) -> Tree:
        """What is in the environment; the lock's file may be there or not."""
        found = tree(self.path)
        if self.exported.exists():
            found["exported"] = f"{len(tree(self.exported))} files"
        return {name: kind for name, kind in found.items() if not _is_lock(name)}

    def left(self) -> list[str]:
        """What is in the store, and should not be once nobody is at work in it."""
        found = [
            path
            for folder in ("tmp", "trash")
            for path in (self.store / folder).glob("*")
        ]
        for folder in ("", "environments", "runtime", "entries"):
            found += (self.store / folder).glob(".*")
        return sorted(str(path.relative_to(self.store)) for path in found)


def _is_lock(name: str) -> bool:
    return name.endswith(("_commonwheel/lock", "site-packages/_commonwheel"))


def write_wheels(folder: Path) -> None:
    """Two versions of a distribution that has much of everything, and another one."""
    for version in ("1.0", "2.0"):
        body = "".join(f"def f{n}(x):\n    return x + {n}\n" for n in range(60))
        files = {
            f"large/{part}/m{number}.py": f"VERSION = {version!r}\n{body}"
            for part in "abc"
            for number in range(_MODULES // 3)
        }
        files |= {f"large/{part}/__init__.py": "" for part in "abc"}
        files |= {
            "large/__init__.py": f"VERSION = {version!r}\n",
            f"large/only_{version[0]}.py": "",
            "large/noise.bin": os.urandom(300_000).hex(),
            "{data}/scripts/large.sh": f"#!/bin/sh\necho {version}\n",
            "{data}/data/share/large.txt": version,
        }
        points = "[console_scripts]\nlarge = large:main\n"
        write_wheel(folder, "large", version, files, entry_points=points)
    write_wheel(folder, "small", "1.0", {"small.py": "", "large_too/__init__.py": ""})


# Being told to stop


def _commonwheel(place: Place, words: Sequence[object]) -> list[str]:
    return place.command(*words)


def _pip(place: Place, words: Sequence[object]) -> list[str]:
    return [str(place.path / "bin/python"), "-m", "pip", *map(str, words)]


@dataclass(frozen=True)
class Verb:
    """A command, and what makes the place ready for it."""

    name: str
    words: Callable[[Place], Sequence[object]]
    prepare: Callable[[Place], object] = lambda place: None
    program: Callable[[Place, Sequence[object]], list[str]] = _commonwheel
    in_parts: bool = False
    """Whether it does what it can, and says a line for everything that it cannot."""


def _install(place: Place) -> list[object]:
    return ["install", "--python", place.path, place.wheel("large-2.0")]


def _sync(place: Place) -> list[object]:
    lock = place.root / "requirements.txt"
    names = ("large-2.0", "small-1.0")
    rows = (f"{n.partition('-')[0]} @ {place.wheel(n).as_uri()}\n" for n in names)
    lock.write_text("".join(rows))
    return ["sync", "--python", place.path, lock]


def _with_large(place: Place) -> None:
    place.run("install", "--python", place.path, place.wheel("large-1.0"))


def _with_pip(place: Place) -> None:
    run([place.path / "bin/python", "-m", "ensurepip"])
    place.run("enable", place.path)


def _with_pip_and_large(place: Place) -> None:
    _with_pip(place)
    _with_large(place)


def _with_garbage(place: Place) -> None:
    place.run(*_install(place))
    place.run("install", "--python", place.path, place.wheel("small-1.0"))
    place.run("uninstall", "--python", place.path, "large")


def _with_damage(place: Place) -> None:
    place.run("install", "--python", place.path, place.wheel("large-1.0"))
    site = next(place.path.glob("lib/python*/site-packages"))
    (site / "_commonwheel.py").unlink()
    (site / "_commonwheel/view/large").unlink()


def _pip_install(place: Place) -> list[object]:
    return ["install", "--use-shared-store", "--no-index", place.wheel("large-2.0")]


def _export(place: Place) -> list[object]:
    return ["export", place.path, place.exported]


def _verify(place: Place) -> list[object]:
    return ["verify", "--store", place.store]


VERBS = (
    Verb("install", _install),
    Verb("upgrade", _install, _with_large),
    Verb("sync", _sync, _with_large),
    Verb("uninstall", lambda p: ["uninstall", "--python", p.path, "large"], _with_large),
    Verb("gc", lambda p: ["gc", "--grace", "0"], _with_garbage),
    Verb("repair", lambda p: ["repair", p.path], _with_damage, in_parts=True),
    Verb("verify", _verify, _with_large),
    Verb("export", _export, _with_large),
    Verb("pip install", _pip_install, _with_pip, _pip),
    Verb("pip upgrade", _pip_install, _with_pip_and_large, _pip),
)


def room(points: int) -> Iterator[Figure]:
    """All of it, at ``points`` moments, sizes and limits each; a row for each part."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        parts = {
            "stopped by SIGINT or SIGTERM": interruptions(Path(made), points),
            "too little memory, too few or too small files": limits(Path(made), points),
            "too few processes, killed compilers": processes(Path(made), points),
            "too few blocks or inodes on a disk": full(Path(made), points),
            "rights that are lacking": rights(Path(made)),
        }
        for what, part in parts.items():
            yield _summed(f"commands, {what}", part)


def _summed(what: str, figures: Iterable[Figure]) -> Figure:
    """One row of many."""
    rows = [*figures]
    tried, failed = sum(r.tried for r in rows), sum(r.failed for r in rows)
    return Figure(_SUBJECT, what, tried, failed, f"{len(rows)} kinds")


LIMITED = ("install", "upgrade", "sync", "verify", "gc")


def interruptions(
    folder: Path,
    points: int,
    verbs: Sequence[Verb] = VERBS,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> Iterator[Figure]:
    """Each verb, stopped at ``points`` moments of its life by each of the ``signals``.

    As a terminal does it, the whole process group is told; every third time twice.
    """
    for verb in verbs:
        with _place(folder) as place, _ctrl_c():
            stage = Stage(place, verb)
            for number in signals:
                if number is not signal.SIGINT and verb.program is _pip:
                    continue  # pip dies of others at once, and leaves what it leaves
                yield _interrupted(stage, points, number)


def _interrupted(stage: Stage, points: int, number: signal.Signals) -> Figure:
    early, late = 0.0, 0
    for point in range(points):
        delay = stage.duration * 1.05 * point / points
        done = stage.stopped(delay, number, twice=point % 3 == 2)
        stage.judge(done, f"{number.name} after {delay * 1000:.0f} ms", _ENDED)
        late += done.returncode == 0
        if _is_of_python(done.stderr):
            early = max(early, delay)
    return stage.figure(
        f"{number.name} at {points} moments of {stage.duration:.1f} s",
        f"{late} came too late; Python itself, up to {early * 1000:.0f} ms",
    )


# Limits of a process

LIMITS = {
    "memory": (resource.RLIMIT_AS, 1 << 10, (30_000, 60_000)),
    "data": (resource.RLIMIT_DATA, 1 << 10, (10_000, 40_000)),
    "open files": (resource.RLIMIT_NOFILE, 1, (5, 20)),
    "file size": (resource.RLIMIT_FSIZE, 1 << 10, (0, 620)),
}
"""What is limited, in which unit, from where nothing works to where everything does."""


def limits(folder: Path, points: int, verbs: Sequence[str] = LIMITED) -> Iterator[Figure]:
    """Commands with limits at ``points`` steps, from hardly anything to enough."""
    for verb in VERBS:
        if verb.name not in verbs:
            continue
        with _place(folder) as place:
            stage = Stage(place, verb)
            for name, (kind, unit, (low, high)) in LIMITS.items():
                enough = 0
                for point in range(points):
                    limit = (low + (high - low) * point // max(1, points - 1)) * unit
                    done = stage.limited(partial(_limit, kind, limit))
                    stage.judge(done, f"{name} limited to {limit}")
                    enough += done.returncode == 0
                yield stage.figure(f"{points} limits of {name}", f"{enough} enough")


def _limit(kind: int, limit: int) -> None:
    resource.setrlimit(kind, (limit, limit))


def processes(folder: Path, points: int) -> Iterator[Figure]:
    """Somebody who may start no more processes, or whose compilers are killed."""
    with _place(folder) as place:
        stage = Stage(place, VERBS[0])
        enough = 0
        for limit in range(points):
            stage.put_back()
            stage.give_to(_LONELY)
            done = stage.limited(
                partial(_limit, resource.RLIMIT_NPROC, limit),
                [each.replace(str(NOBODY), str(_LONELY)) for each in as_nobody()],
                put_back=False,
            )
            stage.judge(done, f"{limit} processes")
            enough += done.returncode == 0
        yield stage.figure(f"{points} limits of processes", f"{enough} enough")
    with _place(folder) as place:
        stage = Stage(place, VERBS[0])
        stage.compiler_is_killed()
        for point in range(points):
            done = stage.limited()
            stage.judge(done, f"compiler killed, {point}", says="out of memory")
        yield stage.figure("the compiler is killed")


_LONELY = NOBODY - 7
"""A user who has no other processes; the superuser is not held by that limit."""


# No room


def full(
    folder: Path,
    points: int,
    verbs: Sequence[str] = tuple(verb.name for verb in VERBS),
) -> Iterator[Figure]:
    """The store's, and the environment's, filesystem has room for less and less.

    ``points`` sizes, and as many numbers of inodes, between none and all that it takes.
    """
    with tempfile.TemporaryDirectory(dir=folder) as made, mounts(Path(made)) as mounted:
        for verb in VERBS:
            for what in ("store", "environment"):
                if verb.name in verbs:
                    disk = mounted.filesystem(TMPFS, _ROOMY)
                    yield from _filled(Path(made) / verb.name, verb, disk, what, points)


_ROOMY = "size=64m,nr_inodes=10000"


def _filled(
    root: Path, verb: Verb, disk: Path, what: str, points: int
) -> Iterator[Figure]:
    place = Place.make(root / what, **{_FOLDERS[what]: disk / what})
    stage = Stage(place, verb)
    stage.put_back()
    before = os.statvfs(disk)
    stage.limited()
    after = os.statvfs(disk)
    blocks = after.f_bavail - before.f_bavail
    inodes = after.f_ffree - before.f_ffree
    needed = {"size": abs(blocks) + _SPARE, "nr_inodes": abs(inodes) + _SPARE}
    for option, most in needed.items():
        enough = 0
        for point in range(points):
            stage.put_back()
            now = os.statvfs(disk)
            free = most * point // max(1, points - 1)
            limit = now.f_files - now.f_ffree + free
            if option == "size":
                # 0 would be no limit at all
                limit = max(1, now.f_blocks - now.f_bfree + free) * now.f_frsize
            run(["mount", "-o", f"remount,{option}={limit}", disk])
            done = stage.limited(put_back=False)
            run(["mount", "-o", f"remount,{_ROOMY}", disk])
            stage.judge(done, f"{what} with {free} free ({option})", says=str(disk))
            enough += done.returncode == 0
        kind = {"size": "sizes", "nr_inodes": "numbers of inodes"}[option]
        yield stage.figure(f"{points} {kind} of the {what}", f"{enough} enough")


_FOLDERS = {"store": "store", "environment": "path"}
_SPARE = 24
"""Blocks, or inodes, that a command takes for a while and gives back."""


# No rights


def rights(
    folder: Path, verbs: Sequence[str] = ("install", "upgrade", "uninstall", "sync")
) -> Iterator[Figure]:
    """What may not be written, or is not there; somebody who is not the superuser."""
    for name in verbs:
        verb = next(each for each in VERBS if each.name == name)
        with _place(folder) as place:
            stage = Stage(place, verb, modes=False)
            for case, take_away in RIGHTS.items():
                stage.put_back()
                stage.give_to(NOBODY)
                variables = take_away(place) or {}
                done = stage.limited(
                    prefix=as_nobody(), put_back=False, variables=variables
                )
                stage.judge(done, case)
            yield stage.figure(f"{len(RIGHTS)} rights that are lacking")


def _site(place: Place) -> Path:
    return next(place.path.glob("lib/python*/site-packages"))


def _read_only(*folders: Callable[[Place], Path]) -> Callable[[Place], None]:
    def take_away(place: Place) -> None:
        for folder in folders:
            for path in (folder(place), *folder(place).rglob("*")):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o555)

    return take_away


def _of_somebody_else(folder: Callable[[Place], Path]) -> Callable[[Place], None]:
    def take_away(place: Place) -> None:
        for path in (folder(place), *folder(place).rglob("*")):
            os.chown(path, 0, 0, follow_symlinks=False)

    return take_away


RIGHTS: dict[str, Callable[[Place], Mapping[str, str] | None]] = {
    "the environment is read-only": _read_only(lambda place: place.path),
    "site-packages is somebody else's": _of_somebody_else(_site),
    "the folder of scripts is read-only": _read_only(lambda place: place.path / "bin"),
    "the store cannot be made": lambda place: {"COMMONWHEEL_STORE": "/proc/store"},
    "the store is read-only": _read_only(lambda place: place.store),
    "the registry is": _read_only(lambda place: place.store / "environments"),
    "no temporary folder": lambda place: {"TMPDIR": "/nonexistent"},
    "no home": lambda place: {"HOME": "/nonexistent"},
    "no home, no store": lambda place: {"HOME": "", "COMMONWHEEL_STORE": ""},
}


@contextmanager
def _place(folder: Path) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        os.chmod(made, 0o755)
        yield Place.make(Path(made) / "place")


def _make_writable(folder: Path) -> None:
    for current, _, _ in os.walk(folder):
        os.chmod(current, 0o700)


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C works in what is started, though a shell runs us in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class Stage:
    """A verb that is tried again and again, each time from the same beginning."""

    place: Place
    verb: Verb
    modes: bool = True
    """Whether permission bits count, of what is to be as before."""
    tried: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.verb.prepare(self.place)
        self._kept = self.place.root / "kept"
        self._command = self.verb.program(self.place, self.verb.words(self.place))
        self._keep()
        self.before = self._tree()
        self.duration = max(self._time() for _ in range(2))
        self.after = self._tree()

    def figure(self, what: str, note: str = "") -> Figure:
        """What was tried since the last one."""
        found = Figure(
            _SUBJECT, f"{self.verb.name}, {what}", self.tried, self.failed, note
        )
        self.tried = self.failed = 0
        return found

    def judge(
        self,
        done: subprocess.CompletedProcess[str],
        case: str,
        ends: Sequence[int] = (1,),
        says: str = "",
    ) -> None:
        """Count a case; what does not hold is printed."""
        self.tried += 1
        wrong = list(self._wrong(done, ends, says))
        self.failed += bool(wrong)
        for each in wrong:
            print(f"{self.verb.name}, {case}: {each}", file=sys.stderr, flush=True)

    def _wrong(
        self, done: subprocess.CompletedProcess[str], ends: Sequence[int], says: str
    ) -> Iterator[str]:
        wrong = [] if _is_of_python(done.stderr) else [*self._unsaid(done, ends, says)]
        wrong += self._undone(done)
        if self.place.left():
            self.place.run("gc", "--grace", "0", "--all", check=False)
        if self.place.left():
            wrong.append(f"left in the store: {self.place.left()}")
        return (f"{each}\n    {done.stderr.strip()}" for each in wrong)

    def _unsaid(
        self, done: subprocess.CompletedProcess[str], ends: Sequence[int], says: str
    ) -> Iterator[str]:
        """What is wrong with how it ended, and what it said."""
        said, status = done.stderr, done.returncode
        if "Traceback" in said or "Exception ignored" in said:
            yield "an error that is not ours"
        if status not in (0, *ends):
            yield f"exit status {status}"
        begins = ("ERROR:",) if self.verb.program is _pip else _OWN
        lines = [line for line in said.splitlines() if line.startswith(begins)]
        wanted = {0: (0,), 1: (1,)}.get(status, (0, 1))
        if not self.verb.in_parts and len(lines) not in wanted:
            yield "not one line"
        if status == 1 and says not in said:
            yield f"it does not name {says}"

    def _undone(self, done: subprocess.CompletedProcess[str]) -> Iterator[str]:
        """What is wrong with what it left of the environment."""
        now = self._tree()
        if self.verb.in_parts:
            now = self._in_parts(now)
        if now not in (self.before, self.after):
            yield f"neither as before nor as after: {_difference(self.before, now)}"
        elif done.returncode == 0 and now != self.after:
            yield "it says that it is done"
        elif "nothing was changed" in done.stderr and now != self.before:
            yield "it says that nothing was changed"

    def _tree(self) -> Tree:
        found = self.place.tree()
        if self.modes:
            return found
        return {name: _MODE.sub(r"\1", kind) for name, kind in found.items()}

    def _in_parts(self, now: Tree) -> Tree:
        """What was before, if each thing is as before or after, and not all is done."""
        either = (self.before, self.after)
        names = {*self.before, *self.after, *now}
        fine = all(now.get(n) in [each.get(n) for each in either] for n in names)
        return self.before if fine and now != self.after else now

    def stopped(
        self, delay: float, number: signal.Signals, *, twice: bool
    ) -> subprocess.CompletedProcess[str]:
        """Run the verb, and tell it to stop after ``delay`` seconds."""
        self.put_back()
        process = self._start(start_new_session=True)
        time.sleep(delay)
        for _ in range(2 if twice else 1):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            time.sleep(0.02 if twice else 0)
        return self._end(process)

    def limited(
        self,
        limit: Callable[[], object] | None = None,
        prefix: Sequence[str] = (),
        *,
        put_back: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the verb; ``limit`` is called in the process that becomes it."""
        if put_back:
            self.put_back()
        return self._end(self._start(prefix, variables, preexec_fn=limit))

    def give_to(self, user: int) -> None:
        """Let all that is there belong to somebody who is not the superuser."""
        for path in (self.place.root, *self.place.root.rglob("*")):
            if self._kept not in (path, *path.parents):
                os.chown(path, user, user, follow_symlinks=False)

    def compiler_is_killed(self) -> None:
        """From now on the environment's interpreter is, when it is to compile."""
        python = self._kept / "environment/bin/python"
        real = python.resolve()
        python.unlink()
        python.write_text(
            '#!/bin/bash\ncase "$*" in *_compile.py*) kill -KILL $$;; esac\n'
            f'exec -a "$0" {real} "$@"\n'
        )
        python.chmod(0o755)
        self.put_back()
        self.before = self._tree()

    def put_back(self) -> None:
        """Everything is as it was before the verb."""
        for name, path in (
            ("environment", self.place.path),
            ("store", self.place.store),
            ("exported", self.place.exported),
        ):
            if path.exists():
                _make_writable(path)
                shutil.rmtree(path)
            if (self._kept / name).exists():
                shutil.copytree(self._kept / name, path, symlinks=True)

    def _keep(self) -> None:
        shutil.copytree(self.place.path, self._kept / "environment", symlinks=True)
        if self.place.store.exists():
            shutil.copytree(self.place.store, self._kept / "store", symlinks=True)

    def _time(self) -> float:
        self.put_back()
        start = time.monotonic()
        done = self._end(self._start())
        assert done.returncode == 0, done
        return time.monotonic() - start

    def _start(
        self,
        prefix: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*prefix, *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.place.variables, **(variables or {})},
            cwd=self.place.root,
            **kwargs,
        )

    def _end(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        said, complaint = process.communicate(timeout=_LIMIT)
        return subprocess.CompletedProcess(
            self._command, process.returncode, said, complaint
        )


_MODE = re.compile(r"^(file|folder) \d+")
_ENDED = (1, 130, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP)
"""As whom a signal ends, before anything was begun or by itself."""


def _is_of_python(said: str) -> bool:
    """Whether the interpreter itself has failed, before our first line or in its own.

    Or pip, which is as it ever was, before it comes to us.
    """
    ours = ("/commonwheel/", "pip_hook.py", "pip_client.py")
    return "Traceback" in said and not any(name in said for name in ours)


def _difference(before: Tree, now: Tree) -> str:
    names = [name for name in {*before, *now} if before.get(name) != now.get(name)]
    return f"{len(names)} differ, such as {sorted(names)[:4]}"
