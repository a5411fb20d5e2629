"""Neighbours: several users of one machine, who cannot harm each other by their stores.

They live in a root filesystem with a Python and commonwheel; each has a user's number, a
group of their own, no capabilities (``setpriv``), and, but for one, the group of a team.
First each of them tries on the others' files what :mod:`endurance.intruder` knows, which
the system has to refuse. Then they put up traps where a team may write: that works, and
may not have an effect on anybody else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from endurance import intruder
from endurance.figures import Figure
from environments import run
from filesystems import Mounts, mounts
from root_filesystem import RootFilesystem
from wheelhouse import write_wheel

Completed = subprocess.CompletedProcess[str]

SUBJECT = "neighbours"
TEAM = 20100
"""The number of the team's group."""
COMMON = "/tmp"
"""Where everybody on a machine may make something."""
MEMBERS = (20001, 20002, 20003)
STRANGER = 20004
"""A user who is not in the team."""
STORE = "/srv/team/store"
SYSTEM = "/usr/share/commonwheel/store"
FOLDERS = (
    *("entries", "environments", "runs", "unused", "trash", "tmp", "locks", "runtime"),
)
_PACKAGES = (
    *("commonwheel", "filelock", "installer", "packaging", "platformdirs", "rich"),
    *("markdown_it", "mdurl", "pygments"),
)
_PLACE = "/opt/lib"
_UMASKS = ("000", "027", "077")
_LIMIT = 240.0
"""Seconds that no command takes here, whatever is in its way."""


@dataclass(frozen=True)
class Quarter:
    """Where they live: a root filesystem, with stores of a team and of the system."""

    root: RootFilesystem
    wheels: Path
    """The folder of the wheels they install, seen from outside."""

    @classmethod
    def make(cls, folder: Path, python: Path) -> Quarter:
        """A new one, with an empty store for the team, as the documentation says."""
        folder.chmod(0o755)
        root = RootFilesystem.make(folder / "root", python)
        root.add_tools()
        program = shutil.which("setpriv")
        assert program is not None, "there is no setpriv"
        shutil.copy2(program, root.folder / "bin")
        root.add_libraries([Path(program)])
        for name in _PACKAGES:
            spec = importlib.util.find_spec(name)
            assert spec is not None, name
            (source,) = spec.submodule_search_locations or ()
            target = root.folder / _PLACE[1:] / name
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        root.run(root.python, "-m", "compileall", "-q", _PLACE)
        shutil.copy2(intruder.__file__, root.folder / "opt/intruder.py")
        wheels = root.folder / "wheels"
        wheels.mkdir()
        for number in (*MEMBERS, STRANGER):
            home = root.folder / f"home/{number}"
            home.mkdir(parents=True)
            os.chown(home, number, number)
        made = cls(root, wheels)
        made.make_team_store(STORE)
        return made

    def make_team_store(self, path: str) -> Path:
        """What ``docs/clusters.md`` says: the superuser makes the store's folders."""
        store = self.outside(path)
        for each in (store, *(store / name for name in FOLDERS)):
            each.mkdir(parents=True)
            os.chown(each, 0, TEAM)
            each.chmod(0o3775)
        return store

    def outside(self, path: str) -> Path:
        """A path in the root filesystem, seen from outside."""
        return self.root.folder / path.lstrip("/")

    def wheel(self, name: str, version: str = "1.0") -> str:
        """The path of a wheel, which is the same each time."""
        known = self.wheels / f"{name}-{version}-py3-none-any.whl"
        if known.exists():
            return f"/wheels/{known.name}"
        content = f"NAME = {name!r}\nVERSION = {version!r}\n"
        files = {f"{name}/__init__.py": content, f"{name}/part/more.py": "x = 1\n"}
        path = write_wheel(self.wheels, name, version, files)
        path.chmod(0o644)
        return f"/wheels/{path.name}"

    def user(self, number: int, *stores: str) -> User:
        """Somebody who lives here; 0 is the superuser."""
        return User(self, number, stores or (STORE,))


@dataclass(frozen=True)
class User:
    """Somebody, and the chain of stores that they use."""

    quarter: Quarter
    number: int
    stores: tuple[str, ...] = field(default=(STORE,))

    @property
    def home(self) -> str:
        return f"/home/{self.number}" if self.number else "/root"

    def command(self, *words: object, umask: str = "022") -> list[str]:
        """How a program is started as this user, in the root filesystem."""
        groups = f"--groups={TEAM}" if self.number in MEMBERS else "--clear-groups"
        mine = (f"--reuid={self.number}", f"--regid={self.number}", groups)
        shell = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
        chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
        root = self.quarter.root.folder
        return list(map(str, (chroot, root, "setpriv", *mine, *shell, *words)))

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": self.home,
            "PYTHONPATH": _PLACE,
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMMONWHEEL_STORE": os.pathsep.join(self.stores),
            "COMMONWHEEL_LOCK_TIMEOUT": "2",
        }

    def run(self, *words: object, check: bool = True, umask: str = "022") -> Completed:
        command = self.command(*words, umask=umask)
        variables = dict(self.variables)
        return run(command, check=check, env=variables, cwd="/", timeout=_LIMIT)

    def python(self, code: str, *words: object, check: bool = True) -> Completed:
        return self.run(self.quarter.root.python, "-c", code, *words, check=check)

    def commonwheel(
        self, *words: object, check: bool = True, umask: str = "022"
    ) -> Completed:
        python = self.quarter.root.python
        return self.run(python, "-m", "commonwheel", *words, check=check, umask=umask)

    def environment(self, name: str) -> str:
        path = f"{self.home}/{name}"
        if not self.quarter.outside(path).exists():
            self.run(self.quarter.root.python, "-m", "venv", "--without-pip", path)
        return path

    def install(self, name: str, *wheels: str, umask: str = "022") -> str:
        """Make an environment, install wheels into it; gives its path."""
        path = self.environment(name)
        self.commonwheel("install", "--python", path, *wheels, umask=umask)
        return path

    def imports(self, environment: str, *names: str) -> str:
        """What a distribution of :meth:`Quarter.wheel` says of itself, once imported."""
        code = "import sys; print(*(__import__(n).NAME for n in sys.argv[1:]))"
        python = f"{environment}/bin/python"
        return self.run(python, "-I", "-c", code, *names).stdout.strip()


def neighbours(folder: Path, python: Path, *, entries: int = 3) -> list[Figure]:
    """Let them all try, on ``entries`` entries each; figures, and what broke."""
    return [
        *trespass(_new(folder, "trespass"), python, entries=entries),
        *traps(_new(folder, "traps"), python),
        *unsafe(_new(folder, "unsafe"), python),
        *read_only(_new(folder, "read-only"), python),
    ]


def _new(folder: Path, name: str) -> Path:
    folder.chmod(0o755)
    made = folder / name
    made.mkdir()
    return made


def trespass(folder: Path, python: Path, *, entries: int) -> list[Figure]:
    """Everybody tries to change what is another's, in each kind of store."""
    quarter = Quarter.make(folder, python)
    superuser = quarter.user(0, SYSTEM)
    superuser.install("env", quarter.wheel("of_system"))
    quarter.outside(SYSTEM).chmod(0o755)
    for number, umask in zip(MEMBERS, _UMASKS, strict=True):
        member = quarter.user(number)
        names = [f"of_{number}_{each}" for each in range(entries)]
        environment = member.install("env", *map(quarter.wheel, names), umask=umask)
        assert member.imports(environment, *names) == " ".join(names)
        own = quarter.user(number, f"{member.home}/own", STORE, SYSTEM)
        own.install("chained", quarter.wheel(f"private_{number}"), umask=umask)
        _leave_unfinished(quarter, number)
    said: list[str] = []
    tried = {"refused": 0, "possible": 0}
    for by in (*MEMBERS, STRANGER):
        for store, victim in _victims(by):
            before = _holdings(quarter.outside(store), victim)
            for row in _intrude(quarter, by, store, victim):
                refused = row["said"] in ("EACCES", "EPERM", "EROFS")
                tried["refused" if refused else "possible"] += 1
                if not refused:
                    said.append(f"{by} on {victim}: {row}")
            if _holdings(quarter.outside(store), victim) != before:
                said.append(f"{by} has changed what {victim} has in {store}")
    for number, umask in zip(MEMBERS, _UMASKS, strict=True):
        said += _not_as_it_should_be(quarter, number, umask)
    superuser = quarter.user(0)
    superuser.commonwheel("verify")
    print("\n".join(said[:40]))
    note = f"{len(MEMBERS)} members of a team and a stranger; umask {', '.join(_UMASKS)}"
    what = "attempts to write, replace, link, remove or take over what is another's"
    return [Figure(SUBJECT, what, sum(tried.values()), len(said), note)]


def _victims(by: int) -> Iterator[tuple[str, int]]:
    for victim in (0, *MEMBERS):
        if victim != by:
            yield STORE, victim
            yield (f"/home/{victim}/own" if victim else SYSTEM), victim


def _leave_unfinished(quarter: Quarter, number: int) -> None:
    """What a process that was killed leaves, and what is being removed."""
    for name in ("tmp", "trash"):
        made = quarter.outside(STORE) / name / f"ab-{number}"
        (made / "entry").mkdir(parents=True)
        (made / "entry/module.py").write_text("x = 1\n")
        for path in (made, *made.rglob("*")):
            os.chown(path, number, TEAM)
        made.chmod(0o700)


def _intrude(
    quarter: Quarter, by: int, store: str, victim: int
) -> Iterator[dict[str, str]]:
    user = quarter.user(by)
    done = user.run(quarter.root.python, "/opt/intruder.py", store, victim, check=False)
    if done.returncode != 0 and "PermissionError" in done.stderr:
        # the store itself is closed
        yield {"what": "enter", "on": store, "said": "EACCES"}
        return
    assert done.returncode == 0, done.stderr
    yield from map(json.loads, done.stdout.splitlines())


def _holdings(store: Path, owner: int) -> dict[str, object]:
    """All that somebody has in a store, as it is."""
    found: dict[str, object] = {}
    for path in sorted(store.rglob("*")):
        status = path.lstat()
        if status.st_uid == owner:
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            digest = hashlib.sha256(content).hexdigest()
            times = status.st_mtime_ns if "entries/" in str(path) else 0
            found[str(path)] = (status.st_mode, status.st_ino, times, digest)
    return found


def _not_as_it_should_be(quarter: Quarter, number: int, umask: str) -> Iterator[str]:
    """What is open in the entries that somebody made, whatever their umask was."""
    for entry in (quarter.outside(STORE) / "entries").iterdir():
        if entry.stat().st_uid != number:
            continue
        for path in (entry, *entry.rglob("*")):
            status = path.lstat()
            if path.is_dir():
                wanted = 0o2755 if path in (entry, entry / "bytecode") else 0o2555
            else:
                wanted = 0o444
            if (stat.S_IMODE(status.st_mode), status.st_gid) != (wanted, TEAM):
                yield f"{path} is {status.st_mode:o} of {status.st_gid} (umask {umask})"


Trap = Callable[[Quarter, User, User], str]
"""Somebody puts something up for somebody else; what it has done to them, or ""."""
TRAPS: list[Trap] = []


def _trap(function: Trap) -> Trap:
    TRAPS.append(function)
    return function


def traps(folder: Path, python: Path) -> list[Figure]:
    """A member puts up all that a team's store has room for, before another comes by."""
    quarter = Quarter.make(folder, python)
    failures: list[str] = []
    for number, trap in enumerate(TRAPS):
        store = f"{STORE}-{number}"
        quarter.make_team_store(store)
        intruding, victim = (quarter.user(each, store) for each in MEMBERS[:2])
        intruding.install("first", quarter.wheel("harmless"))
        try:
            broke = trap(quarter, intruding, victim)
            quarter.user(0, store).commonwheel("gc", "--grace", "0", check=False)
        except subprocess.TimeoutExpired as error:
            broke = f"it hangs: {error}"
        if broke:
            failures.append(f"{trap.__name__}: {broke}")
    print("\n".join(failures))
    what = "traps that a member of a team can put up for the others, and who fell for one"
    return [Figure(SUBJECT, what, len(TRAPS), len(failures))]


def _installs(quarter: Quarter, victim: User, name: str) -> str:
    """Whether somebody can install and use a wheel of which they know what is in it."""
    path = victim.environment(f"env-{name}")
    done = victim.commonwheel(
        "install", "--python", path, quarter.wheel(name), check=False
    )
    if done.returncode != 0:
        return f"cannot install: {done.stderr.strip()}"
    done = victim.run(
        *(f"{path}/bin/python", "-I", "-c", f"import {name}; print({name}.NAME)"),
        check=False,
    )
    return "" if done.stdout == f"{name}\n" else f"imports {done.stdout}{done.stderr}"


def _entry_name(quarter: Quarter, wheel: str) -> str:
    path = quarter.outside(wheel)
    prefix = "-".join(path.name.split("-")[:2])
    return f"{prefix}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


_GARBAGE = {
    "folder": "os.mkdir(p)",
    "full folder": "os.makedirs(p + '/tree'); open(p + '/tree/evil.py', 'w').close()",
    "closed folder": "os.mkdir(p, 0); os.chmod(p, 0)",
    "damaged entry": "os.mkdir(p); open(p + '/entry.json', 'w').write('{}')",
    "pipe": "os.mkdir(p); os.mkfifo(p + '/entry.json')",
    "file": "open(p, 'w').close()",
    "link": "os.symlink('/home', p)",
    "link to nothing": "os.symlink('/home/nowhere', p)",
}


def _taken_name(kind: str) -> Trap:
    def trap(quarter: Quarter, intruding: User, victim: User) -> str:
        wheel = quarter.wheel("wanted")
        place = f"{victim.stores[0]}/entries/{_entry_name(quarter, wheel)}"
        intruding.python(f"import os, sys; p = sys.argv[1]; {_GARBAGE[kind]}", place)
        broke = _installs(quarter, victim, "wanted")
        before = len(list(quarter.outside(f"{victim.stores[0]}/entries").iterdir()))
        broke = broke or _installs(quarter, victim, "wanted")
        after = len(list(quarter.outside(f"{victim.stores[0]}/entries").iterdir()))
        return broke or ("it was added again" if before != after else "")

    trap.__name__ = f"the name of an entry is taken by a {kind}"
    return trap


TRAPS += map(_taken_name, _GARBAGE)

_ADD = """
import sys; from pathlib import Path; from commonwheel.store import Store
store = Store(Path(sys.argv[1]))
print(store.add(Path(sys.argv[2]), None, remember=True).description.sha256)
"""
_NOTE_HASH = """
import os, sys
root, wheel, number, digest = sys.argv[1:]
s = os.stat(wheel)
stamp = f"{s.st_dev}:{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}"
for name in ("wheels", f"wheels.{number}"):
    open(f"{root}/{name}", "a").write(f"{stamp} {digest}\\n")
"""


@_trap
def forged_hash(quarter: Quarter, intruding: User, victim: User) -> str:
    """A note says of a wheel that it is another one of that name and version."""
    (store,) = victim.stores
    harmless = quarter.wheels / "harmless-1.0-py3-none-any.whl"
    digest = hashlib.sha256(harmless.read_bytes()).hexdigest()
    wanted = write_wheel(
        *(quarter.wheels / "other", "harmless", "1.0"), {"harmless.py": "x = 2\n"}
    )
    right = hashlib.sha256(wanted.read_bytes()).hexdigest()
    time.sleep(2.1)  # no younger file is ever looked for in notes
    inside = f"/wheels/other/{wanted.name}"
    intruding.python(_NOTE_HASH, store, inside, victim.number, digest)
    said = victim.python(_ADD, store, inside).stdout.strip()
    return "" if said == right else "a wheel was taken for another one"


_NOTE_ORIGIN = """
import hashlib, os, sys
root, number, origin = sys.argv[1:]
(entry,) = os.listdir(f"{root}/entries")
key = hashlib.sha256(origin.encode()).hexdigest()
for name in ("origins", f"origins.{number}"):
    open(f"{root}/{name}", "a").write(f"{key} {entry}\\n")
"""
_OF_ORIGIN = """
import sys; from pathlib import Path; from commonwheel.store import Store
print(Store(Path(sys.argv[1])).of_origin(sys.argv[2]))
"""


@_trap
def forged_origin(quarter: Quarter, intruding: User, victim: User) -> str:
    """A note says of a commit that an entry was built from it."""
    origin = "git+https://host/project@0123"
    (store,) = victim.stores
    intruding.python(_NOTE_ORIGIN, store, victim.number, origin)
    said = victim.python(_OF_ORIGIN, store, origin).stdout.strip()
    return "" if said == "None" else f"it was believed: {said}"


_LINK = "import os, sys; os.symlink(sys.argv[1], sys.argv[2])"


def _diary(quarter: Quarter, victim: User) -> Path:
    """A file that only ``victim`` may write to."""
    path = quarter.outside(f"{victim.home}/diary-{os.urandom(4).hex()}")
    path.write_text("dear diary\n")
    os.chown(path, victim.number, victim.number)
    path.chmod(0o600)
    return path


def _registered_as(victim: User, name: str) -> str:
    """What the record of an environment is called, which is not there yet."""
    site = f"{victim.environment(name)}/lib"
    (site,) = victim.quarter.outside(site).glob("python*/site-packages")
    inside = f"/{site.relative_to(victim.quarter.root.folder)}"
    return hashlib.sha256(inside.encode()).hexdigest()[:16]


def _linked_name(name: str) -> Trap:
    def trap(quarter: Quarter, intruding: User, victim: User) -> str:
        (store,) = victim.stores
        diary = _diary(quarter, victim)
        names = {
            "number": victim.number,
            "id": _registered_as(victim, "env-wanted"),
            "entry": _entry_name(quarter, quarter.wheel("wanted")),
        }
        place = f"{store}/{name.format(**names)}"
        target = f"{victim.home}/{diary.name}"
        for each in (target, f"{target}-new"):
            if each != target:
                quarter.outside(place).unlink()
            intruding.python(_LINK, each, place)
            broke = _installs(quarter, victim, "wanted")
            quarter.user(0, store).commonwheel("gc", "--grace", "0", check=False)
            if broke:
                return broke
            if not os.path.islink(quarter.outside(place)):
                break
        if diary.read_text() != "dear diary\n" or diary.stat().st_mode & 0o777 != 0o600:
            return "a file that a link led to has changed"
        made = quarter.outside(f"{target}-new").exists()
        return "a file was made where a link led" if made else ""

    trap.__name__ = f"{name} is a link"
    return trap


TRAPS += map(
    _linked_name,
    (
        *("wheels.{number}", "urls.{number}", "sizes.{number}", ".wheels", "sizes"),
        *("environments/{id}.json", "environments/{id}.entries"),
        *("environments/{id}.missing", "unused/{entry}"),
    ),
)


@_trap
def folders(quarter: Quarter, intruding: User, victim: User) -> str:
    """Folders are where another's notes would be."""
    (store,) = victim.stores
    record, number = _registered_as(victim, "env-wanted"), victim.number
    names = [f"environments/{record}.{each}" for each in ("entries", "missing")]
    names += [f"unused/{_entry_name(quarter, quarter.wheel('wanted'))}"]
    names += [f"{each}.{number}" for each in ("wheels", "urls", "sizes", "origins")]
    for name in (*names, ".wheels", "environments/.x", "runtime/.x"):
        code = "import os, sys; os.makedirs(sys.argv[1] + '/full')"
        intruding.python(code, f"{store}/{name}")
    broke = _installs(quarter, victim, "wanted") or _survives(quarter, victim, "wanted")
    shutil.rmtree(quarter.outside(f"{victim.home}/env-wanted"))
    for _ in range(3):
        said = quarter.user(0, store).commonwheel("gc", "--grace", "0", check=False)
        broke = broke or said.stderr
    return broke


@_trap
def linked_leftovers(quarter: Quarter, intruding: User, victim: User) -> str:
    """Links in the place of what was left in ``tmp`` and ``trash`` lead to a home."""
    (store,) = victim.stores
    name = _entry_name(quarter, quarter.wheel("wanted"))
    digits = name.rpartition("-")[2][:2]
    home = quarter.outside(victim.home)
    private = home / "private"
    (private / "below").mkdir(parents=True)
    for path in (private, private / "below"):
        os.chown(path, victim.number, victim.number)
        path.chmod(0o750)
    inside = f"{victim.home}/private"
    for place in (f"tmp/{digits}-0", "trash/x", "runs/x"):
        intruding.python(_LINK, inside, f"{store}/{place}")
    intruding.python(
        "import os, sys; p = sys.argv[1]; os.makedirs(p + '/x');"
        "os.symlink(sys.argv[2], p + '/x/y'); os.utime(p, (0, 0))",
        *(f"{store}/tmp/{digits}-1", inside),
    )
    broke = _installs(quarter, victim, "wanted")
    for _ in range(2):
        quarter.user(0, store).commonwheel("gc", "--grace", "0", "--older-than", "0")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (private, private / "below")}
    return broke or ("" if modes == {0o750} else f"what a link led to is {modes}")


_FORGE_RECORD = """
import json, sys
path, site = sys.argv[1:]
fields = {"format": 1, "environment": site, "sites": [site], "filesystem": "x"}
open(path + ".json", "w").write(json.dumps(fields))
open(path + ".entries", "w").close()
"""


@_trap
def forged_record(quarter: Quarter, intruding: User, victim: User) -> str:
    """The record of another's environment says that it is elsewhere, and has nothing."""
    (store,) = victim.stores
    record = f"{store}/environments/{_registered_as(victim, 'env-wanted')}"
    intruding.python(_FORGE_RECORD, record, "/nowhere/site-packages")
    return _installs(quarter, victim, "wanted") or _survives(quarter, victim, "wanted")


@_trap
def forged_clocks(quarter: Quarter, intruding: User, victim: User) -> str:
    """An entry is said to be unused, an environment to be missing, for ages."""
    (store,) = victim.stores
    broke = _installs(quarter, victim, "wanted")
    record = _registered_as(victim, "env-wanted")
    for name in (f"environments/{record}.missing", "unused/"):
        code = (
            "import os, sys; p, e = sys.argv[1:];"
            "p = p + e if p.endswith('/') else p;"
            "open(p, 'w').close(); os.utime(p, (0, 0))"
        )
        entry = _entry_name(quarter, "/wheels/wanted-1.0-py3-none-any.whl")
        intruding.python(code, f"{store}/{name}", entry)
    return broke or _survives(quarter, victim, "wanted")


def _survives(quarter: Quarter, victim: User, name: str) -> str:
    """Whether what is in use stays, however often the superuser collects."""
    for _ in range(2):
        done = quarter.user(0, *victim.stores).commonwheel(
            "gc", "--grace", "0", check=False
        )
        if done.returncode != 0:
            return f"gc fails: {done.stderr}"
    done = victim.run(
        *(f"{victim.home}/env-{name}/bin/python", "-I", "-c", f"import {name}"),
        check=False,
    )
    return done.stderr.strip()


@_trap
def forged_runtime(quarter: Quarter, intruding: User, victim: User) -> str:
    """The bytecode that starts with every environment is somebody else's."""
    (store,) = victim.stores
    kept = quarter.outside(f"{store}/runtime")
    (right,) = kept.iterdir()
    name = right.name.removesuffix(f".{intruding.number}")
    for each in (name, f"{name}.{victim.number}"):
        code = "import sys; open(sys.argv[1], 'w').write('evil')"
        intruding.python(code, f"{store}/runtime/{each}")
    broke = _installs(quarter, victim, "wanted")
    found = quarter.outside(f"{victim.home}/env-wanted").rglob("_commonwheel.*.pyc")
    content = [each.read_bytes() for each in found]
    return broke or ("" if content == [right.read_bytes()] else "it was believed")


@_trap
def pipes(quarter: Quarter, intruding: User, victim: User) -> str:
    """Pipes, on which whoever reads them waits for ever."""
    (store,) = victim.stores
    names = (f"wheels.{victim.number}", "environments/evil.entries", "unused/pipe")
    for name in (*names, "runtime/pipe", "trash/pipe", "tmp/pipe"):
        intruding.python("import os, sys; os.mkfifo(sys.argv[1])", f"{store}/{name}")
    broke = _installs(quarter, victim, "wanted") or _survives(quarter, victim, "wanted")
    (link,) = quarter.outside(f"{intruding.home}/first").rglob("harmless.link")
    link.unlink()
    os.mkfifo(link)
    broke = broke or _survives(quarter, victim, "wanted")
    shutil.rmtree(quarter.outside(f"{intruding.home}/first"))
    pipe = f"{store}/environments/evil.json"
    intruding.python("import os, sys; os.mkfifo(sys.argv[1])", pipe)
    said = quarter.user(0, store).commonwheel("gc", check=False).stderr
    named = f"{pipe} cannot be read" in said and said.count("\n") == 1
    return broke or ("" if named else f"gc says {said}")


@_trap
def damaged_record(quarter: Quarter, intruding: User, victim: User) -> str:
    """What nobody can read stops the collector, who says so, and nobody else."""
    (store,) = victim.stores
    path = f"{store}/environments/evil.json"
    intruding.python("import sys; open(sys.argv[1], 'w').write('{')", path)
    said = quarter.user(0, store).commonwheel("gc", check=False).stderr
    named = f"{path} cannot be read" in said and said.count("\n") == 1
    return _installs(quarter, victim, "wanted") or ("" if named else f"gc says {said}")


@_trap
def many_names(quarter: Quarter, intruding: User, victim: User) -> str:
    """All folders are full of what means nothing."""
    (store,) = victim.stores
    code = (
        "import os, sys\n"
        "for f in sys.argv[2:]:\n"
        "  for n in range(300): os.mkdir(f'{sys.argv[1]}/{f}/wanted-1.0-{n:08x}')\n"
    )
    intruding.python(code, store, *FOLDERS)
    broke = _installs(quarter, victim, "wanted") or _survives(quarter, victim, "wanted")
    left = len(list(quarter.outside(f"{store}/entries").iterdir()))
    return broke or ("" if left < 10 else f"{left} of them are left")


_HOLD = """
import fcntl, os, sys, time
for name in sys.argv[2:]:
    os.umask(0)
    file = os.open(f"{sys.argv[1]}/locks/{name}", os.O_RDWR | os.O_CREAT, 0o664)
    fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def _holding(intruding: User, *names: str) -> Iterator[None]:
    """While this lasts, somebody does not give locks back."""
    command = intruding.command(
        *(intruding.quarter.root.python, "-c", _HOLD, *intruding.stores, *names)
    )
    variables = dict(intruding.variables)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=variables) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


def _held_lock(name: str) -> Trap:
    def trap(quarter: Quarter, intruding: User, victim: User) -> str:
        entry = _entry_name(quarter, quarter.wheel("wanted"))
        digits = entry.rpartition("-")[2][:2]
        with _holding(intruding, name.format(digits=digits)):
            begin = time.monotonic()
            said = _installs(quarter, victim, "wanted")
            waited = time.monotonic() - begin
            if "in use by" not in said or said.count("\n"):
                return f"it says {said!r}"
            if waited > 120:
                return f"it waits for {waited:.0f} s"
        return _installs(quarter, victim, "wanted")

    trap.__name__ = f"{name} is held for ever"
    return trap


@_trap
def linked_lock(quarter: Quarter, intruding: User, victim: User) -> str:
    """A lock file, which was made by who was there first, is a link now."""
    (store,) = victim.stores
    diary = _diary(quarter, victim)
    for name in ("use.lock", "turnstile.lock"):
        path = f"{store}/locks/{name}"
        code = "import os, sys; os.unlink(sys.argv[2]); os.symlink(*sys.argv[1:])"
        for target in (diary.name, "nowhere"):
            intruding.python(code, f"{victim.home}/{target}", path)
            said = _installs(quarter, victim, "wanted")
            if f"{store}/locks/" not in said or "\n" in said:
                return f"it says {said!r}"
    if (diary.parent / "nowhere").exists():
        return "a file was made where a link led"
    return "" if diary.read_text() == "dear diary\n" else "a file has changed"


@_trap
def closed_lock(quarter: Quarter, intruding: User, victim: User) -> str:
    """A lock file cannot be opened by others."""
    entry = _entry_name(quarter, quarter.wheel("wanted"))
    path = f"{victim.stores[0]}/locks/{entry.rpartition('-')[2][:2]}.lock"
    intruding.python("import os, sys; os.open(sys.argv[1], os.O_CREAT, 0)", path)
    said = _installs(quarter, victim, "wanted")
    return "" if path in said and "\n" not in said else f"it says {said!r}"


TRAPS += map(_held_lock, ("use.lock", "turnstile.lock", "{digits}.lock"))


def unsafe(folder: Path, python: Path) -> list[Figure]:
    """Stores that somebody could have made, or could change, are not used."""
    quarter = Quarter.make(folder, python)
    victim = quarter.user(MEMBERS[1])
    wheel = quarter.wheel("wanted")
    failures: list[str] = []
    cases = 0
    for path, reason in _unsafe_stores(quarter):
        user = quarter.user(victim.number, path)
        install = ("install", "--python", user.environment("env"), wheel)
        for words in (("gc",), ("verify",), install):
            cases += 1
            done = user.commonwheel(*words, check=False)
            (line, *others) = done.stderr.splitlines() or [""]
            way_out = "chmod" in line or "--store" in line
            if done.returncode != 1 or others or reason not in line or not way_out:
                failures.append(f"{path}: {words[0]}: {done.returncode} {done.stderr}")
    print("\n".join(failures))
    what = "commands on stores that somebody else could have changed"
    return [Figure(SUBJECT, what, cases, len(failures), "each refused, with the way out")]


def _unsafe_stores(quarter: Quarter) -> Iterator[tuple[str, str]]:
    """Stores that each have one fault, and the reason that has to be told."""
    wheel = quarter.wheel("first")
    for name, mode, group in (
        ("for-all", 0o777, 0),
        ("for-all-sticky", 0o1777, 0),
        ("not-sticky", 0o2775, TEAM),
        ("not-setgid", 0o1775, TEAM),
    ):
        path = f"/srv/{name}"
        quarter.make_team_store(path)
        quarter.user(0, path).install("env", wheel)
        os.chown(quarter.outside(path), 0, group)
        quarter.outside(path).chmod(mode)
        yield path, "may write to it"
    for name, mode in (("open", 0o777), ("of-the-team", 0o775)):
        path = f"/srv/{name}/store"
        quarter.make_team_store(path)
        quarter.user(0, path).install("env", wheel)
        above = quarter.outside(path).parent
        os.chown(above, 0, TEAM)
        above.chmod(mode)
        yield path, f"may write to /srv/{name}, and replace"
    path = "/srv/folder/store"
    quarter.make_team_store(path)
    quarter.user(0, path).install("env", wheel)
    (quarter.outside(path) / "entries").chmod(0o2775)
    yield path, f"may write to {path}/entries"
    path = f"{COMMON}/store"
    intruding = quarter.user(MEMBERS[0], path)
    intruding.install("bait", wheel)
    quarter.outside(path).chmod(0o755)
    yield path, f"as anybody can make one in {COMMON}"
    own = f"{intruding.home}/own"
    quarter.user(MEMBERS[0], own).install("own-bait", wheel)
    quarter.outside(own).chmod(0o755)
    path = f"{COMMON}/link"
    intruding.python(_LINK, own, path)
    yield path, f"as anybody can make one in {COMMON}"


def read_only(folder: Path, python: Path) -> list[Figure]:
    """Stores on which nobody can write serve what they have, and say what they cannot."""
    with ExitStack() as stack:
        (folder / "mounts").mkdir()
        made = stack.enter_context(mounts(folder / "mounts"))
        return [*_read_only(folder, python, made)]


def _read_only(folder: Path, python: Path, made: Mounts) -> Iterator[Figure]:
    quarter = Quarter.make(folder, python)
    maker = quarter.user(0, "/srv/made")
    wheel, other = quarter.wheel("thing"), quarter.wheel("other")
    maker.install("env", wheel)
    quarter.outside("/srv/made").chmod(0o755)
    failures: list[str] = []
    tried = 0
    (folder / "image").mkdir()
    shutil.copytree(quarter.outside("/srv/made"), folder / "image", dirs_exist_ok=True)
    places = {"squashfs": made.image_of(folder / "image")}
    places["bind, ro"] = made.bind(quarter.outside("/srv/made"))
    run(["mount", "-o", "remount,bind,ro", places["bind, ro"]])
    for number, (kind, place) in enumerate(places.items()):
        seen = f"/srv/mounted-{number}"
        quarter.outside(seen).mkdir()
        made.bind(place, at=quarter.outside(seen))
        for user in (quarter.user(0, seen), quarter.user(MEMBERS[0], seen)):
            for broke in _served(quarter, user, wheel, other):
                tried += 1
                if broke:
                    failures.append(f"{kind}, user {user.number}: {broke}")
    print("\n".join(failures))
    what = "commands on a read-only store (squashfs, bind mount)"
    note = "served, or refused in one line that says why"
    yield Figure(SUBJECT, what, tried, len(failures), note)


def _served(quarter: Quarter, user: User, wheel: str, other: str) -> Iterator[str]:
    """What is wrong with each of the commands on a store that cannot be written."""
    (store,) = user.stores
    name = f"ro-{store[5:]}"
    path = user.environment(name)
    lock = quarter.outside(f"{user.home}/requirements.txt")
    digest = hashlib.sha256(quarter.outside(wheel).read_bytes()).hexdigest()
    lock.write_text(f"thing==1.0 --hash=sha256:{digest}\n")
    target = f"{user.home}/export-{store[5:]}"
    served: Sequence[tuple[object, ...]] = (
        ("install", "--python", path, wheel),
        ("sync", "--python", path, f"{user.home}/requirements.txt"),
        ("status", path),
        ("status",),
        ("doctor", path),
        ("verify",),
        ("verify", path),
        ("repair", path),
        ("gc", "--dry-run", "--all"),
        ("export", path, target),
    )
    for words in served:
        done = user.commonwheel(*words, check=False)
        yield "" if done.returncode == 0 else f"{words}: {done.stdout}{done.stderr}"
    said = user.imports(path, "thing")
    yield "" if said == "thing" else f"imports {said}"
    refused: Sequence[tuple[object, ...]] = (
        ("install", "--python", path, other),
        ("gc", "--all"),
        ("run", "--lock", f"{user.home}/requirements.txt", "python", "-c", "0"),
    )
    for words in refused:
        done = user.commonwheel(*words, check=False)
        clear = any(
            each in done.stderr
            for each in ("ead-only", "belongs to", "cannot be written")
        )
        one = len(done.stderr.strip().splitlines()) == 1
        wrong = done.returncode != 1 or not clear or not one
        yield f"{words}: {done.returncode} {done.stderr}" if wrong else ""
