"""What accidents happen to: a store, an environment, a command; what has to hold then.

A :class:`Scene` has acts, each with a store and an environment of its own. What each of
them comes to without an accident is found out first; that is what it is compared with.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import interpreters
from endurance import victim
from environments import quiet_variables, run, this_python
from wheelhouse import write_sample, write_wheel

ENVIRONMENT = "environment"
OTHER = "other"
_OUT_OF_SIGHT = ("stage-", "done-")
"""What the names of folders begin with in which a change is made, or taken back."""
_NAMES_OF_A_STORE = {
    *("format", "entries", "environments", "runs", "unused", "trash", "tmp", "locks"),
    *("runtime", "wheels", "origins", "urls", "sizes"),
}

Snapshot = Mapping[str, str]
"""What a folder holds: relative path -> kind, mode and contents in short."""


@dataclass(frozen=True)
class Act:
    """A command that changes something, and what there is before it."""

    name: str
    command: tuple[str, ...]
    """Its arguments; ``{...}`` stand for paths of the scene, see :meth:`Scene.filled`."""
    before: tuple[tuple[str, ...], ...] = ()
    """The commands that make what there is before it."""
    spoil: Callable[[Path, Path], object] | None = None
    """What else happens before it, to the store and the environments' folder."""
    said_again: str = ""
    """What it says, and fails with, when it is run again and all is done already."""
    python: str = "{python}"
    """The interpreter of its environment."""
    in_parts: bool = False
    """Whether what can be done is done, though something else fails."""
    one_by_one: bool = False
    """Real files take the place of others one after the other: of half of an upgrade not
    all imports until the next command."""


def _install(*wheels: str, into: str = "{environment}", mode: str = "") -> Sequence[str]:
    chosen = ("--link-mode", mode) if mode else ()
    found = (f"{{wheels}}/{each}" for each in wheels)
    return ("install", "--python", into, "--store", "{store}", *chosen, *found)


def _wheels(version: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{name.replace('-', '_')}-{version}-py3-none-any.whl" for name in names)


_SOME = ("sample-bulk", "sample-ns-one", "sample-module", "sample-data", "sample-start")
_OLD = _wheels("1.0", *_SOME, "sample-overlap-one")
_MORE = _wheels("1.0", "sample-ns-two", "sample-overlap-two")
_NEW = _wheels("2.0", *_SOME, "sample-overlap-two", "sample-ns-two")


def _upgrade(mode: str = "") -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """A script changes, one goes away; a namespace and a package get a second part."""
    return (*_install(*_NEW, mode=mode),), ((*_install(*_OLD, mode=mode),),)


def _damage_entries(store: Path, environments: Path) -> None:
    for pattern in (
        "sample_module-*/tree/sample_module.py",
        "sample_bulk-*/tree/*/*.bin",
    ):
        (found,) = (store / "entries").glob(pattern)
        found.chmod(0o644)
        found.write_bytes(b"damaged")
    (lost,) = (store / "entries").glob("sample_data-*/dist-info/METADATA")
    lost.parent.chmod(0o755)
    lost.unlink()


def _damage_environment(store: Path, environments: Path) -> None:
    environment = environments / ENVIRONMENT
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "_commonwheel/view/sample_module.py").unlink()
    (site / "_commonwheel/view/sample_shared").unlink()
    script = environment / "bin/sample-console"
    script.unlink()
    (environment / "etc/sample.conf").unlink()
    (site / "_commonwheel.py").write_text("pass\n")


def _forget_other(store: Path, environments: Path) -> None:
    shutil.rmtree(environments / OTHER)


_OTHERS = ("{python}", "-m", "venv", "--without-pip", "{other}")
_REPAIR = ("--offline", "--find-links", "{wheels}")
_GONE = ("sample-data", "sample-overlap-two", "sample-ns-two", "sample-start")

INSTALL = Act("install", (*_install(*_OLD),))
INSTALL_COPIES = Act("install --link-mode copy", (*_install(*_OLD, mode="copy"),))
INSTALL_AUTO = Act("install --link-mode auto", (*_install(*_OLD, mode="auto"),))
UPGRADE = Act("upgrade", *_upgrade())
UPGRADE_COPIES = Act("upgrade --link-mode copy", *_upgrade("copy"), one_by_one=True)
UNINSTALL = Act(
    "uninstall",
    ("uninstall", "--python", "{environment}", *_GONE),
    ((*_install(*_OLD, *_MORE),),),
    said_again="is not installed",
)
UNINSTALL_COPIES = Act(
    "uninstall copies",
    UNINSTALL.command,
    ((*_install(*_OLD, *_MORE, mode="copy"),),),
    said_again="is not installed",
)
COLLECT = Act(
    "gc",
    ("gc", "--grace", "0", "--store", "{store}"),
    (
        (*_install(*_OLD),),
        (*_install(*_OLD[:2], *_MORE, into="{other}"),),
        (*_install(*_wheels("2.0", "sample-bulk"), into="{other}"),),
    ),
    _forget_other,
)
REPAIR_ENTRY = Act(
    "repair of entries",
    ("repair", "{store}", *_REPAIR),
    ((*_install(*_OLD),),),
    _damage_entries,
    in_parts=True,
)
REPAIR_ENVIRONMENT = Act(
    "repair of an environment",
    ("repair", "{environment}", "--store", "{store}", *_REPAIR),
    ((*_install(*_OLD),),),
    _damage_environment,
    in_parts=True,
)
BYTECODE = Act(
    "install by another Python",
    INSTALL.command,
    ((*_install(*_OLD, into="{other}"),),),
    python="{another}",
)
ACTS = (
    *(INSTALL, INSTALL_COPIES, UPGRADE, UPGRADE_COPIES, UNINSTALL, UNINSTALL_COPIES),
    *(COLLECT, REPAIR_ENTRY, REPAIR_ENVIRONMENT, BYTECODE),
)


def write_wheels(folder: Path, python: Path) -> None:
    """The wheels of all acts, of each kind one, in two versions."""
    write_sample(folder, python)
    for version in ("1.0", "2.0"):
        blob = hashlib.sha256(version.encode()).digest() * 6000
        code = (
            f"VERSION = {version!r}\nimport hashlib, os\n"
            "with open(os.path.join(os.path.dirname(__file__), 'blob.bin'), 'rb') as f:\n"
            "    told = hashlib.sha256(f.read()).hexdigest()\n"
            f"assert told == {hashlib.sha256(blob).hexdigest()!r}, told\n"
        )
        parts = {
            f"sample_bulk/part{n}.py": f"VERSION = {version!r}\n" + f"N{n} = {n}\n" * 900
            for n in range(6)
        }
        files = {"sample_bulk/__init__.py": code, "sample_bulk/blob.bin": blob, **parts}
        write_wheel(folder, "sample-bulk", version, files)


_MODULES = {
    "sample-bulk": ("sample_bulk", "sample_bulk.part0", "sample_bulk.part5"),
    "sample-ns-one": ("sample_space.one",),
    "sample-ns-two": ("sample_space.two", "sample_space.two.deep"),
    "sample-module": ("sample_module",),
    "sample-data": ("sample_data", "sample_data.in_purelib", "sample_data_plat"),
    "sample-start": ("sample_start",),
    "sample-overlap-one": ("sample_shared.one", "sample_shared.nested.one"),
    "sample-overlap-two": ("sample_shared.two", "sample_shared.nested.two"),
}
"""What each distribution has to import, in both versions."""

_PROBE = """
import importlib, importlib.metadata, json, os, sys
site, modules = sys.argv[1], json.loads(sys.argv[2])
wrong = []
for each in importlib.metadata.distributions(path=[site]):
    if not each._path.name.startswith("sample_"):
        continue
    name, record = each.metadata["Name"], each.read_text("RECORD")
    if name not in modules or not record or each.version not in ("1.0", "2.0"):
        wrong.append(f"{each._path} says {name!r} {each.version!r}")
        continue
    for module in modules[name]:
        try:
            found = importlib.import_module(module)
        except BaseException as error:
            wrong.append(f"{name} {each.version}: {module}: {error!r}")
        else:
            if getattr(found, "__file__", None) is None:
                wrong.append(f"{name} {each.version}: {module} is empty")
            elif "sample_shared.nested" not in module and found.VERSION[1:] != ".0":
                wrong.append(f"{name} {each.version}: {module} is {found.VERSION}")
    for entry in each.entry_points:
        if entry.group in ("console_scripts", "gui_scripts"):
            script = os.path.join(os.path.dirname(sys.executable), entry.name)
            if not os.path.exists(script):
                wrong.append(f"{name} {each.version}: no script {entry.name}")
print(json.dumps(wrong))
"""


@dataclass(frozen=True)
class Expected:
    """What an act starts from, and comes to without an accident."""

    before: Snapshot
    """The environment before it."""
    after: Snapshot
    """The environment after it."""
    damages: frozenset[str]
    """What ``verify`` says of the store before it."""
    entries: tuple[str, ...]
    """The entries that are there in the end, after a collection."""
    operations: tuple[str, ...]
    """What it changes, in order."""
    late: int
    """Which of them is the first one in the environment."""

    def spread(self, count: int, chance: random.Random) -> list[int]:
        """Numbers of ``count`` changes, spread over all, and half of them over the late.

        If there are not more than that: of all of them.
        """
        total, half = len(self.operations), count // 2
        if count >= total:
            return list(range(total))
        steps = [(i + chance.random()) / (count - half) for i in range(count - half)]
        late = [(i + chance.random()) / half for i in range(half)]
        rest = total - self.late
        return [int(x * total) for x in steps] + [self.late + int(x * rest) for x in late]


@dataclass
class Scene:
    """Folders, wheels and commands."""

    wheels: Path
    stores: Path
    """The folder in which each act has one with a store."""
    environments: Path
    """The folder in which each act has one with environments; may be the same."""
    python: Path
    another: Path
    """Interpreters, of two versions."""
    home: Path
    """Of whoever runs the commands."""
    prefix: tuple[str, ...] = ()
    """A command that starts commands as somebody else."""
    controls: tuple[str, ...] = ()
    """What is wrong with commonwheel on purpose (:data:`victim.CONTROLS`)."""
    _server: subprocess.Popen[str] | None = field(default=None, repr=False)

    def store(self, act: Act) -> Path:
        return self.stores / _folder(act) / "store"

    def environment(self, act: Act) -> Path:
        return self.environments / _folder(act) / ENVIRONMENT

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for commands; no store is named by default."""
        quiet = quiet_variables(self.home)
        quiet["COMMONWHEEL_STORE"] = str(self.home / "no store")
        quiet["PYTHONDONTWRITEBYTECODE"] = "1"
        return quiet

    def filled(self, act: Act, arguments: Sequence[str]) -> list[str]:
        """Arguments with paths in the place of names."""
        place = {
            "wheels": self.wheels,
            "store": self.store(act),
            "environment": self.environment(act),
            "other": self.environment(act).with_name(OTHER),
            "python": self.python,
            "another": self.another,
        }
        return [each.format(**place) for each in arguments]

    @contextmanager
    def running(self) -> Iterator[Scene]:
        """While this lasts, commands can be run."""
        command = [*self.prefix, sys.executable, victim.__file__]
        self._server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**self.variables, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd="/",
        )
        try:
            yield self
        finally:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait(victim.PATIENCE)
            assert self._server.stdout is not None
            self._server.stdout.close()

    def act(self, act: Act, **accident: Any) -> dict[str, Any]:
        """The act's command, and an accident; what came of it."""
        return self.command(act, act.command, controls=self.controls, **accident)

    def command(
        self, act: Act, arguments: Sequence[str], **accident: Any
    ) -> dict[str, Any]:
        """Any command, and an accident; what came of it."""
        below = {self.store(act).parent, self.environment(act).parent}
        return self._ask(
            {
                "command": self.filled(act, arguments),
                "below": sorted(f"{each}{os.sep}" for each in below),
                **accident,
            }
        )

    def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert self._server is not None
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def prepare(self, act: Act, owner: int | None = None) -> None:
        """Make what there is before an act."""
        environment = self.environment(act)
        for folder in (self.store(act).parent, environment.parent):
            folder.mkdir(parents=True, exist_ok=True)
            if owner is not None:
                os.chown(folder, owner, owner)
        for arguments in ((act.python, environment), ("{python}", f"{{{OTHER}}}")):
            python, folder = self.filled(act, [str(each) for each in arguments])
            self.run(python, "-m", "venv", "--without-pip", folder)
        self._ask_for_interpreters(act)
        for command in act.before:
            self.successful(act, command)
        if act.spoil is not None:
            act.spoil(self.store(act), environment.parent)

    def _ask_for_interpreters(self, act: Act) -> None:
        """Let the server remember what interpreters say of themselves."""
        pythons = self.filled(act, ["{environment}/bin/python", "{other}/bin/python"])
        self._ask({"command": ["--version"], "below": [], "pythons": pythons})

    def run(self, *command: object) -> str:
        """A program, run by whoever runs the commands; what it prints."""
        return run([*self.prefix, *command], env=self.variables, cwd="/").stdout

    def successful(self, act: Act, command: Sequence[str]) -> dict[str, Any]:
        done = self.command(act, command)
        assert done["status"] == 0, (command, done["out"], done["err"])
        return done

    def expected(self, act: Act) -> Expected:
        """Run an act without an accident, and a collection after it."""
        before = snapshot(self.environment(act))
        damages = frozenset(self.damages(act))
        done = self.successful(act, act.command)
        after = snapshot(self.environment(act))
        wrong = [*self.damages(act), *self._of_environment(act), *self._imports(act)]
        assert not wrong, wrong
        self._collect(act)
        entries = tuple(sorted(os.listdir(self.store(act) / "entries")))
        operations = tuple(done["trace"].splitlines())
        place = f"{self.environment(act)}{os.sep}"
        late = [n for n, each in enumerate(operations) if place in each]
        return Expected(before, after, damages, entries, operations, min(late, default=0))

    def damages(self, act: Act) -> list[str]:
        """What ``verify`` finds in the store."""
        if not (self.store(act) / "format").exists():
            return []
        return self._verify(act, "{store}")

    def _of_environment(self, act: Act) -> list[str]:
        return self._verify(act, "{environment}")

    def _verify(self, act: Act, subject: str) -> list[str]:
        done = self.command(act, ["verify", subject, "--store", "{store}"])
        lines: list[str] = done["out"].splitlines()
        if done["status"] == 0 or (lines and done["status"] == 1):
            return lines
        return [f"verify: exit status {done['status']}: {done['err'][-1000:]}"]

    def _imports(self, act: Act) -> list[str]:
        return not_importable(self.environment(act), self.variables)

    def _collect(self, act: Act) -> list[str]:
        """Two collections without grace; what goes wrong in them."""
        command = ("gc", "--grace", "0", "--all", "--store", "{store}")
        done = [self.command(act, command) for _ in range(2)]
        return [
            f"gc: exit status {each['status']}: {each['err'][-1000:]}"
            for each in done
            if each["status"] != 0
        ]

    def after_an_error(
        self, act: Act, done: Mapping[str, Any], wanted: Expected
    ) -> list[str]:
        """What does not hold after a command that met with an error."""
        found = snapshot(self.environment(act), everything=False)
        if done["status"] == 0:
            return list(_beside_the_error(wanted, found))
        if act.in_parts:
            wrong = list(self._contents(act, wanted))
        else:
            wrong = differences(wanted.before, found, "failed")
        lines = done["err"].splitlines()
        errors = [each for each in lines if "error" in each]
        if done["status"] != 1 or len(errors) != 1 or "Traceback" in done["err"]:
            wrong.append(f"exit status {done['status']}: {done['err'][-1500:]}")
        return wrong

    def after_an_accident(self, act: Act, wanted: Expected) -> list[str]:
        """What does not hold after a command did not come to its end."""
        wrong = [f"entry: {e}" for e in self.damages(act) if e not in wanted.damages]
        wrong += [f"environment: {each}" for each in self._contents(act, wanted)]
        if act.one_by_one:
            # a command that changes nothing, but for taking back what was not complete
            self.command(act, ("uninstall", "--python", "{environment}", "nothing"))
        if act.spoil not in (_damage_entries, _damage_environment):
            wrong += [f"environment: {each}" for each in self._imports(act)]
        return wrong

    def _contents(self, act: Act, wanted: Expected) -> Iterator[str]:
        """Files of the environment that are neither as before nor as after."""
        environment = self.environment(act)
        found = snapshot(environment, everything=False)
        listed = set(_listed(environment))
        for path, what in found.items():
            told = {s[path] for s in (wanted.before, wanted.after) if path in s}
            if told and what not in told and (path in wanted.before or path in listed):
                yield f"{path} is {what}, not {' or '.join(sorted(told))}"
        for path in sorted(listed - found.keys()):
            if path in wanted.before and path in wanted.after:
                yield f"{path} is missing"

    def again(self, act: Act, wanted: Expected, *, failed: bool = False) -> list[str]:
        """What does not hold when the command is run again, and garbage collected.

        ``failed``: it did, before; then what took the place of what failed may stay.
        """
        done = self.command(act, act.command)
        said = act.said_again and act.said_again in done["err"]
        wrong = []
        if done["status"] != 0 and not said:
            wrong.append(f"again: exit status {done['status']}: {done['err'][-1500:]}")
        now = snapshot(self.environment(act))
        if failed:
            wrong += _beside_the_error(wanted, now)
        else:
            wrong += differences(wanted.after, now, "again")
        wrong += [f"again, store: {each}" for each in self.damages(act)]
        wrong += [f"again, environment: {each}" for each in self._of_environment(act)]
        if wrong:
            return wrong
        wrong += self._collect(act)
        wrong += self._garbage(act, wanted)
        return wrong + [f"after gc: {each}" for each in self.damages(act)]

    def _garbage(self, act: Act, wanted: Expected) -> Iterator[str]:
        """What a collection has left in the store."""
        store = self.store(act)
        for name in sorted(set(os.listdir(store)) - _NAMES_OF_A_STORE):
            yield f"gc leaves {name}"
        for folder in ("tmp", "trash", "unused"):
            for name in os.listdir(store / folder):
                yield f"gc leaves {folder}/{name}"
        for folder in ("environments", "runtime", "entries"):
            for name in os.listdir(store / folder):
                if name.startswith("."):
                    yield f"gc leaves {folder}/{name}"
        entries = tuple(sorted(os.listdir(store / "entries")))
        if entries != wanted.entries:
            yield f"gc leaves {entries}, not {wanted.entries}"


def _folder(act: Act) -> str:
    return act.name.replace(" ", "-")


def site_of(environment: Path) -> Path:
    """Its site-packages."""
    (site,) = environment.glob("lib/python*/site-packages")
    return site


def _listed(environment: Path) -> Iterator[str]:
    """What RECORD files list, by its path in the environment."""
    site = site_of(environment)
    for record in site.glob("*.dist-info/RECORD"):
        with open(record, encoding="utf-8", newline="") as file:
            for path, *_ in csv.reader(file):
                yield os.path.relpath(os.path.normpath(site / path), environment)


def snapshot(root: Path, *, everything: bool = True) -> dict[str, str]:
    """What the folder ``root`` holds; links are not followed.

    Not ``everything``: without what is on its way in or out.
    """
    found: dict[str, str] = {}
    for current, folders, names in os.walk(root):
        if os.path.basename(current) == "_commonwheel":
            names = [name for name in names if name != "lock"]  # noqa: PLW2901
            if not everything:
                folders[:] = [n for n in folders if not n.startswith(_OUT_OF_SIGHT)]
        for name in (*folders, *names):
            path = os.path.join(current, name)
            found[os.path.relpath(path, root)] = _describe(path)
    return found


def _describe(path: str) -> str:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return f"link {os.readlink(path)}"
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    if stat.S_ISDIR(status.st_mode):
        return f"folder {mode}"
    with open(path, "rb") as file:
        if path.endswith(".pyc"):
            file.seek(16)  # before that is the time of its source, which was just made
        digest = hashlib.sha256(file.read()).hexdigest()[:12]
    return f"file {mode} {status.st_size} {digest}"


def differences(wanted: Snapshot, found: Snapshot, when: str) -> list[str]:
    """Where two snapshots differ."""
    return [
        f"{when}: {path} is {found.get(path, 'missing')}, not {wanted.get(path, 'there')}"
        for path in sorted(wanted.keys() | found.keys())
        if wanted.get(path) != found.get(path)
    ]


def _beside_the_error(wanted: Expected, found: Snapshot) -> Iterator[str]:
    """Where an environment is not what it should be though a command found a way out.

    That may have been a copy in the place of a hard link, which has a mode of its own,
    or a folder that is empty and stays.
    """
    for path in sorted(wanted.after.keys() | found.keys()):
        told, is_so = wanted.after.get(path, ""), found.get(path, "")
        stays = is_so.startswith("folder") and is_so == wanted.before.get(path)
        if told.replace("444", "644") != is_so.replace("444", "644") and not stays:
            yield f"in the end: {path} is {is_so or 'missing'}, not {told or 'there'}"


def not_importable(environment: Path, variables: Mapping[str, str]) -> list[str]:
    """What does not import that the metadata of an environment lists."""
    site, python = site_of(environment), environment / "bin/python"
    command = [python, "-I", "-B", "-c", _PROBE, site, json.dumps(_MODULES)]
    done = run(command, check=False, env=variables, cwd="/")
    if done.returncode or done.stderr:
        return [f"imports: {done.returncode} {done.stdout}{done.stderr[-1000:]}"]
    wrong: list[str] = json.loads(done.stdout)
    return wrong


def python_here() -> Path:
    """The interpreter of environments."""
    return this_python()


def another_python() -> Path:
    """One of another version."""
    return interpreters.require("3.12" if sys.version_info[:2] != (3, 12) else "3.11")
