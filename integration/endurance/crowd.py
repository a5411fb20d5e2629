"""A crowd at one store: 32 workers at once, and what has to hold all the time.

Each worker runs real commands, one after the other, chosen by a seed. Some have an
environment of their own, with pip, ``commonwheel`` or ``commonwheel sync``; some share
two; others collect garbage without a grace, verify, or import from environments that
nobody changes. Meanwhile somebody looks whether a link manifest names an entry that is
not there.

Two things must fail in a crowd, are told from all else, and counted: ``uninstall`` in a
shared environment of what another worker has just uninstalled, and a command whose
entries were chosen before a collection without a grace took them out, which says so, has
changed nothing, and works when it is run again. (pip is not let loose on an environment
that others change: two pips in one fail without any store.)
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import interpreters
from endurance.figures import Figure
from environments import quiet_variables, run
from wheelhouse import write_wheel

SUBJECT = "crowds"
WORKERS = 32
_PYTHONS = ("3.10", "3.11", "3.12", "3.13")
_VERSIONS = ("1.0", "2.0")
_NAMES = tuple(f"crowd-{number:02}" for number in range(30))
_LARGE = _NAMES[::7]
"""Of 200 modules each."""
_IN_COMMON = _NAMES[1::4]
"""With a part of one namespace."""
_LIMIT = 300.0
"""Seconds that no command takes; more is a failure."""
_STARVED = 5.0
"""Seconds that nobody waits for a lock while others take it and nobody keeps it."""
_TRACE = Path(__file__).with_name("crowd_trace.py")
_GONE = "is not there any more; nothing was changed, run the command again"
_NOT_INSTALLED = re.compile(
    r"(commonwheel: waiting for .*\n)*(commonwheel: error: '[^']+' is not installed\n)+"
)


@dataclass
class Outcome:
    """What has happened, in all threads."""

    seed: int
    commands: Counter[str] = field(default_factory=Counter)
    """By what they do, those that did it."""
    as_they_must: Counter[str] = field(default_factory=Counter)
    """Failures that are in the nature of things, see above."""
    failures: list[str] = field(default_factory=list)
    """All other failures, with the command that does it again."""
    looks: int = 0
    """At link manifests."""
    dangling: set[str] = field(default_factory=set)
    """Link manifests whose entry was not there."""
    wrong: list[str] = field(default_factory=list)
    """What was wrong at the end, or imported wrongly."""


@dataclass(frozen=True)
class Stage:
    """Wheels, a store, Pythons, and commonwheel in an environment of its own."""

    root: Path
    host: Path
    pythons: tuple[Path, ...]
    """Environments to be copied. Beside each is one with a pip that knows the store."""
    outcome: Outcome
    without: str = ""
    """A mechanism that is taken out."""

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def trace(self) -> Path:
        """How long locks were waited for and held."""
        return self.root / "trace"

    @property
    def variables(self) -> dict[str, str]:
        return {
            **quiet_variables(self.root / "home"),
            "COMMONWHEEL_STORE": str(self.store),
            "PYTHONDONTWRITEBYTECODE": "1",  # root's imports would write into entries
            "CROWD_TRACE": str(self.trace),
            "CROWD_WITHOUT": self.without,
            "TMPDIR": str(self.root / "tmp"),
        }

    def wheel(self, name: str, version: str) -> Path:
        stem = f"{name.replace('-', '_')}-{version}"
        return self.root / f"wheels/{stem}-py3-none-any.whl"

    def environment(self, name: str, number: int, *, pip: bool = False) -> Path:
        """A new environment, with one of the Pythons."""
        made = self.root / "environments" / name
        template = self.pythons[number % len(self.pythons)]
        if pip:  # which is most of what has to be copied
            template = template.with_name(f"{template.name}-pip")
        run(["cp", "-a", template, made])
        for start in made.glob("lib/*/site-packages/00_commonwheel.pth"):
            text = start.read_text()
            start.write_text(text.replace(str(template), str(made)))
        return made

    def is_over(self, end: float) -> bool:
        """Whether it is later than ``end``; or what was taken out has been missed."""
        missed = self.without and (self.outcome.failures or self.outcome.dangling)
        return bool(missed) or time.monotonic() >= end

    def commonwheel(self, *arguments: object) -> list[str]:
        return [str(each) for each in (self.host, "-m", "commonwheel", *arguments)]

    def do(
        self,
        what: str,
        command: Sequence[object],
        *,
        may_fail: Callable[[str], str] = lambda said: "",
    ) -> subprocess.CompletedProcess[str] | None:
        """Run a command; None if it failed. ``may_fail`` says why it had to, or not."""
        words = [str(each) for each in command]
        try:
            done = subprocess.run(
                words,
                env=self.variables,
                cwd=self.root,
                capture_output=True,
                text=True,
                timeout=_LIMIT,
            )
        except subprocess.TimeoutExpired:
            self.outcome.failures.append(f"{what}: no end: {' '.join(words)}")
            return None
        with open(self.root / "commands", "a", encoding="utf-8") as file:
            file.write(f"{time.time():.2f} {done.returncode} {shlex.join(words)}\n")
        if done.returncode == 0:
            self.outcome.commands[what] += 1
            return done
        said = done.stdout + done.stderr
        reason = may_fail(said)
        if reason:
            self.outcome.as_they_must[reason] += 1
        else:
            line = f"{what}: exit status {done.returncode}: {shlex.join(words)}\n{said}"
            self.outcome.failures.append(f"seed {self.outcome.seed}: {line}")
        return None


def crowd(
    seconds: float,
    root: Path,
    *,
    workers: int = WORKERS,
    seed: int | None = None,
    without: str = "",
) -> list[Figure]:
    """Let ``workers`` loose on an empty store in ``root`` for so long.

    ``without`` takes out ``the shared lock`` or ``the lock of a wheel``; it ends then as
    soon as that is missed.
    """
    outcome = Outcome(random.randrange(10**6) if seed is None else seed)
    print(f"crowd: seed {outcome.seed}, {workers} workers, {seconds:.0f} s", flush=True)
    pythons = _PYTHONS if workers >= WORKERS // 2 else _PYTHONS[-2:]
    stage = prepare(root, outcome, pythons, without)
    end = time.monotonic() + seconds
    jobs = list(_jobs(stage, workers))
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(stage, over))
    watching.start()
    begin = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(job, end) for job in jobs]
        try:
            for each in running:
                each.result()
        finally:
            taken = time.monotonic() - begin
            over.set()
            watching.join()
    for each in outcome.failures:
        print(f"crowd: {each}", flush=True)
    if stage.store.joinpath("entries").is_dir():
        _inspect(stage)
    else:
        outcome.wrong.append("nothing was ever stored")
        return [Figure(SUBJECT, "commands", 0, 1, f"seed {outcome.seed}")]
    return list(_figures(stage, workers, taken))


def prepare(
    root: Path, outcome: Outcome, pythons: Iterable[str], without: str = ""
) -> Stage:
    """Wheels, Pythons, and commonwheel; no store yet."""
    for name in ("environments", "home", "tmp", "locks"):
        (root / name).mkdir(parents=True)
    write_wheels(root / "wheels")
    host = root / "host"
    run([sys.executable, "-m", "venv", "--without-pip", host])
    (site,) = host.glob("lib/python*/site-packages")
    shutil.copy(_TRACE, site / "crowd_trace.py")
    here = str(Path(__file__).parents[1])
    lines = [os.path.abspath(each) for each in sys.path if os.path.isdir(each)]
    lines = [each for each in lines if not each.startswith(here)]
    (site / "crowd.pth").write_text("\n".join([*lines, "import crowd_trace"]) + "\n")
    python = host / "bin/python"
    stage = Stage(root, python, (), outcome, without)
    made = []
    for version in pythons:
        found = interpreters.find(version)
        if found is not None:
            made.append(root / f"template-{version}")
            run([found, "-m", "venv", "--without-pip", made[-1]])
            with_pip = root / f"template-{version}-pip"
            run([found, "-m", "venv", with_pip])
            run(stage.commonwheel("enable", with_pip), env=stage.variables)
    assert made, "no Python"
    shutil.rmtree(stage.store, ignore_errors=True)  # the store is to be cold
    return Stage(root, python, tuple(made), outcome, without)


def write_wheels(folder: Path) -> None:
    """Thirty distributions, two versions each."""
    for name in _NAMES:
        module = name.replace("-", "_")
        for version in _VERSIONS:
            stated = f"NAME = {name!r}\nVERSION = {version!r}\n"
            files = {
                f"{module}/__init__.py": stated,
                f"{module}/data.txt": f"{name} {version}",
                f"{module}/only_{version[0]}.py": "",
                f"{module}_alone.py": stated,
            }
            if name in _IN_COMMON:
                files[f"crowd_space/{module}/__init__.py"] = stated
            if name in _LARGE:
                for number in range(200):
                    body = "".join(
                        f"def f{n}(x):\n    return x + {n}\n" for n in range(8)
                    )
                    files[f"{module}/part{number % 10}/m{number}.py"] = stated + body
            scripts = f"[console_scripts]\n{name} = {module}:NAME.upper\n"
            write_wheel(folder, name, version, files, entry_points=scripts)


_IMPORT = """
import importlib, sys
for each in sys.argv[1:]:
    name, version = each.split("==")
    module = name.replace("-", "_")
    found = importlib.import_module(module)
    assert (found.NAME, found.VERSION) == (name, version), (each, found.VERSION)
    assert importlib.import_module(f"{module}.only_{version[0]}")
    assert importlib.import_module(f"{module}_alone").VERSION == version
    with open(found.__file__.replace("__init__.py", "data.txt")) as file:
        assert file.read() == f"{name} {version}"
    if name in COMMON:
        assert importlib.import_module(f"crowd_space.{module}").VERSION == version
    if name in LARGE:
        assert importlib.import_module(f"{module}.part7.m197").VERSION == version
import importlib.metadata as m
for each in sys.argv[1:]:
    name, version = each.split("==")
    assert m.version(name) == version, (each, m.version(name))
""".replace("COMMON", repr(_IN_COMMON)).replace("LARGE", repr(_LARGE))


def _jobs(stage: Stage, workers: int) -> Iterator[Callable[[float], None]]:
    """What each worker does until a time; a third of them has a kind of its own."""
    shared = [stage.environment(f"shared-{n}", n + 2) for n in range(2)]
    kinds = [_Pip, _Install, _Sync, _Install, _Pip, _Sync, _Shared, _Shared]
    others = [_collect, _import, _verify, _import, _collect]
    few = max(3, workers // 6)
    for number in range(workers):
        if number < few:
            act = others[number % len(others)]
            own = stage.environment(f"witness-{number}", number)
            yield _loop(stage, act, number, own)
        elif kinds[number % len(kinds)] is _Shared:
            yield _Shared(stage, number, shared[number % 2]).work
        else:
            kind = kinds[number % len(kinds)]
            own = stage.environment(f"own-{number}", number // 2, pip=kind is _Pip)
            yield kind(stage, number, own).work


class _Worker(ABC):
    """Who fills an environment and checks what is in it."""

    def __init__(self, stage: Stage, number: int, environment: Path) -> None:
        self.stage = stage
        self.number = number
        self.environment = environment
        self.python = environment / "bin/python"
        self.chance = random.Random(f"{stage.outcome.seed}-{number}")
        self.has: dict[str, str] = {}

    def work(self, end: float) -> None:
        while not self.stage.is_over(end):
            self.turn()

    def turn(self) -> None:
        if self.has and self.chance.random() < 0.3:
            gone = self.chance.sample(sorted(self.has), min(len(self.has), 3))
            if self.uninstall(gone):
                self.has = {k: v for k, v in self.has.items() if k not in gone}
        else:
            self.has = self.install(self.some()) or self.has
        self.check()

    def some(self) -> dict[str, str]:
        """Distributions, those that are wanted most by all more often than others."""
        number = self.chance.randrange(1, 7)
        return {
            self.chance.choice(_NAMES[: self.chance.choice((8, 30))]): self.chance.choice(
                _VERSIONS
            )
            for _ in range(number)
        }

    @abstractmethod
    def uninstall(self, names: list[str]) -> bool:
        """Returns whether it was done."""

    @abstractmethod
    def install(self, wanted: dict[str, str]) -> dict[str, str] | None:
        """Returns all that there is then; None if it failed."""

    def check(self) -> None:
        wanted = [f"{name}=={version}" for name, version in self.has.items()]
        self.stage.do("import", [self.python, "-c", _IMPORT, *wanted])


class _Pip(_Worker):
    """``pip install --use-shared-store``, and its ``uninstall``."""

    def install(self, wanted: dict[str, str]) -> dict[str, str] | None:
        done = self.stage.do(
            "pip install",
            [
                *(self.python, "-m", "pip", "install", "-q", "--use-shared-store"),
                *("--no-index", "--find-links", self.stage.root / "wheels"),
                *(f"{name}=={version}" for name, version in wanted.items()),
            ],
        )
        return {**self.has, **wanted} if done else None

    def uninstall(self, names: list[str]) -> bool:
        command = [self.python, "-m", "pip", "uninstall", "-q", "-y", *names]
        return self.stage.do("pip uninstall", command) is not None


class _Install(_Worker):
    """``commonwheel install`` and ``uninstall``."""

    def install(self, wanted: dict[str, str]) -> dict[str, str] | None:
        wheels = [self.stage.wheel(*each) for each in wanted.items()]
        done = self.stage.do(
            "commonwheel install",
            self.stage.commonwheel("install", "--python", self.python, *wheels),
        )
        return {**self.has, **wanted} if done else None

    def uninstall(self, names: list[str]) -> bool:
        command = self.stage.commonwheel("uninstall", "--python", self.python, *names)
        return self.stage.do("commonwheel uninstall", command) is not None


class _Sync(_Worker):
    """``commonwheel sync`` of locks, of which it finds the wheels itself or with pip."""

    def install(self, wanted: dict[str, str]) -> dict[str, str] | None:
        if not self.sync(wanted):
            return None
        return wanted

    def uninstall(self, names: list[str]) -> bool:
        return self.sync({k: v for k, v in self.has.items() if k not in names})

    def sync(self, wanted: dict[str, str], *options: str) -> bool:
        lock = self.lock(wanted, pylock=self.chance.random() < 0.5)
        options += () if wanted else ("--allow-empty",)
        done = self.stage.do(
            "commonwheel sync",
            self.stage.commonwheel("sync", *options, "--python", self.python, lock),
            may_fail=_collected,
        )
        return done is not None

    def lock(self, wanted: dict[str, str], *, pylock: bool) -> Path:
        """A lock of wheels in a folder: PEP 751, or pip's requirements with hashes."""
        rows = [(*each, self.stage.wheel(*each)) for each in wanted.items()]
        stem = self.stage.root / f"locks/{self.number}"
        if not pylock:
            path = stem.with_suffix(".txt")
            lines = [f"--no-index\n--find-links {self.stage.root / 'wheels'}\n"]
            lines += [f"{n}=={v} --hash=sha256:{_sha256(w)}\n" for n, v, w in rows]
            path.write_text("".join(lines))
            return path
        path = self.stage.root / f"locks/pylock.{self.number}.toml"
        text = 'lock-version = "1.0"\ncreated-by = "crowd"\n'
        text += "" if rows else "packages = []\n"
        for name, version, wheel in rows:
            text += (
                f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
                f'[[packages.wheels]]\nname = "{wheel.name}"\npath = "{wheel}"\n'
                f'[packages.wheels.hashes]\nsha256 = "{_sha256(wheel)}"\n'
            )
        path.write_text(text)
        return path


class _Shared(_Sync):
    """All that commonwheel does, in an environment that others change as well."""

    def turn(self) -> None:
        wanted = self.some()
        which = self.chance.random()
        if which < 0.4:
            wheels = [self.stage.wheel(*each) for each in wanted.items()]
            command = self.stage.commonwheel("install", "--python", self.python, *wheels)
            self.stage.do("commonwheel install, shared", command)
        elif which < 0.7:
            self.sync(wanted, "--inexact")
        else:
            command = self.stage.commonwheel(
                "uninstall", "--python", self.python, *wanted
            )
            self.stage.do(
                "commonwheel uninstall, shared", command, may_fail=_uninstalled_already
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _collected(said: str) -> str:
    return "told to run it again, as gc had freed what it chose" if _GONE in said else ""


def _uninstalled_already(said: str) -> str:
    found = _NOT_INSTALLED.fullmatch(said)
    return "uninstalled by another worker already" if found else ""


def _loop(
    stage: Stage,
    act: Callable[[Stage, Path, random.Random], None],
    number: int,
    witness: Path,
) -> Callable[[float], None]:
    """``act`` again and again, beside an environment that nobody changes."""
    chance = random.Random(f"{stage.outcome.seed}-{number}")

    def work(end: float) -> None:
        while not stage.is_over(end):
            act(stage, witness, chance)

    return work


def _collect(stage: Stage, witness: Path, chance: random.Random) -> None:
    options = ("--grace", "0", "--all", "--wait", "300s")
    stage.do("gc", stage.commonwheel("gc", *options))
    time.sleep(chance.random())


def _verify(stage: Stage, witness: Path, chance: random.Random) -> None:
    if stage.store.joinpath("format").is_file():
        stage.do("verify", stage.commonwheel("verify", "--store", stage.store))
    time.sleep(chance.random())


def _import(stage: Stage, witness: Path, chance: random.Random) -> None:
    """From an environment that is filled once."""
    wanted = dict.fromkeys(_NAMES[:12], _VERSIONS[0])
    full = witness / "full"
    if not full.exists():
        wheels = [stage.wheel(*each) for each in wanted.items()]
        command = ("install", "--python", witness / "bin/python", *wheels)
        if stage.do("commonwheel install", stage.commonwheel(*command)) is None:
            return
        full.touch()
    rows = [f"{name}=={version}" for name, version in wanted.items()]
    stage.do("import", [witness / "bin/python", "-c", _IMPORT, *rows])


def _watch(stage: Stage, over: threading.Event) -> None:
    """Look whether each link manifest that there is names an entry that there is."""
    while not over.wait(0.05):
        folders = stage.root.glob("environments/*/lib/*/site-packages/_commonwheel/links")
        for folder in folders:
            for path in _listed(folder):
                entry = _entry_of(path)
                stage.outcome.looks += 1
                # it must still be there after the entry was not
                if entry is None or os.path.isdir(entry[0]):
                    continue
                if _entry_of(path) == entry:
                    stage.outcome.dangling.add(f"{path}: {entry[0]}")


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(".link")]
    except OSError:
        return []


def _entry_of(path: Path) -> tuple[str, int] | None:
    """The entry that a link manifest names, and which file it was."""
    try:
        with open(path, encoding="utf-8") as file:
            inode = os.fstat(file.fileno()).st_ino
            for line in file:
                if line.startswith("entry: "):
                    return line.removeprefix("entry: ").strip(), inode
    except OSError:
        pass
    return None


def _inspect(stage: Stage) -> None:
    """At the end all has to be whole, and nothing left."""
    wrong = stage.outcome.wrong
    digests: dict[str, str] = {}
    for entry in sorted((stage.store / "entries").iterdir()):
        sha256 = json.loads((entry / "entry.json").read_text())["sha256"]
        if sha256 in digests:
            wrong.append(f"{entry.name} and {digests[sha256]} are of one wheel")
        digests[sha256] = entry.name
    checks = [("verify", stage.commonwheel("verify", "--store", stage.store))]
    for path in sorted((stage.root / "environments").iterdir()):
        checks.append((f"doctor {path.name}", stage.commonwheel("doctor", path)))
        left = path.glob("lib/*/site-packages/_commonwheel/*-*")
        wrong += [f"{each} was left" for each in left]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = [
            pool.submit(run, command, env=stage.variables, check=False)
            for _, command in checks
        ]
    for (what, _), each in zip(checks, done, strict=True):
        answer = each.result()
        if answer.returncode:
            wrong.append(f"{what}: {answer.stdout}{answer.stderr}")
    wrong += [f"{each} was left" for each in (stage.store / "tmp").iterdir()]
    run(stage.commonwheel("gc", "--grace", "0", "--all"), env=stage.variables)
    wrong += [f"{each} was left" for each in (stage.store / "trash").iterdir()]


@dataclass(frozen=True)
class _Times:
    """Of one kind of locks, in seconds."""

    kind: str
    waits: tuple[float, ...]
    longest_hold: float
    free: tuple[float, ...]
    """What of each wait nobody else had the lock for: somebody was quicker to take it."""


_KINDS = ("store", "wheel", "environment")


def _times(trace: Path) -> Iterator[_Times]:
    """What locks were waited for, against what they were held for."""
    rows = [json.loads(line) for line in trace.read_text().splitlines()]
    for kind in _KINDS:
        ours = [row for row in rows if _kind(row[1]) == kind]
        held: dict[str, list[tuple[float, float, int]]] = {}
        for what, path, begin, end, pid in ours:
            if what == "held":
                held.setdefault(path, []).append((begin, end, pid))
        waits = [row for row in ours if row[0] == "wait"]
        free = [
            end - begin - _covered(begin, end, pid, held.get(path, ()))
            for _, path, begin, end, pid in waits
        ]
        yield _Times(
            kind,
            tuple(end - begin for _, _, begin, end, _ in waits),
            max((e - b for each in held.values() for b, e, _ in each), default=0.0),
            tuple(free),
        )


def _kind(path: str) -> str:
    name = os.path.basename(path)
    if name == "lock":
        return "environment"
    return "store" if name in ("use.lock", "turnstile.lock", "queue.lock") else "wheel"


def _covered(
    begin: float, end: float, pid: int, held: Iterable[tuple[float, float, int]]
) -> float:
    """For how long of a time another process had it."""
    total, last = 0.0, begin
    for since, until, holder in sorted(held):
        if holder != pid and until > last and since < end:
            total += min(until, end) - max(since, last)
            last = min(until, end)
    return total


def _figures(stage: Stage, workers: int, taken: float) -> Iterator[Figure]:
    outcome = stage.outcome
    for each in (*sorted(outcome.dangling), *outcome.wrong):
        print(f"crowd: {each}", flush=True)
    done = sum(outcome.commands.values())
    kinds = ", ".join(f"{n:,} {what}" for what, n in sorted(outcome.commands.items()))
    print(f"crowd: {kinds}", flush=True)
    must = ", ".join(f"{n:,} {why}" for why, n in sorted(outcome.as_they_must.items()))
    tried = done + sum(outcome.as_they_must.values()) + len(outcome.failures)
    yield Figure(
        SUBJECT,
        f"commands of {workers} workers at one store",
        tried,
        len(outcome.failures),
        f"seed {outcome.seed}, {taken:.0f} s" + (f"; {must}" if must else ""),
    )
    yield Figure(
        SUBJECT,
        "looks at a link manifest, whether its entry is there",
        outcome.looks,
        len(outcome.dangling),
    )
    entries = len(os.listdir(stage.store / "entries"))
    environments = len(os.listdir(stage.root / "environments"))
    yield Figure(
        SUBJECT,
        "entries and environments at the end: verified, once each, nothing left over",
        entries + environments,
        len(outcome.wrong),
    )
    for times in _times(stage.trace):
        yield Figure(
            SUBJECT,
            f"waits for the lock of {_OF[times.kind]}",
            len(times.waits),
            sum(each > _STARVED for each in times.free),
            f"longest {max(times.waits, default=0):.1f} s, held for"
            f" {times.longest_hold:.1f} s at most, and free for"
            f" {max(times.free, default=0):.1f} s of one wait at most",
        )


_OF = {"store": "the store", "wheel": "a wheel", "environment": "an environment"}
