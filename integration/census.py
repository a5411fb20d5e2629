"""The census: what the most downloaded packages do as copies, and linked.

Run by `tox -e census -- --wheels FOLDER [COUNT | NAME...]`. Each name is installed alone
with what it requires, twice: by pip, and by commonwheel. Fresh interpreters then import
every top-level name, load every entry point and read all metadata; whatever is not the
same is a difference. Wheels come from the folders that are given (`pip download` fills
one): no index is asked. A name that they cannot install is skipped, and said to be.

If the superuser runs it, packages are imported as another user, who owns the environment
and can read the store: permission bits do not hold the superuser. A package that writes
into its own folder is seen by what it leaves behind in the copy, whether or not it says
anything when it may not.

Results are lines of JSON in the output folder. Another run goes on where one ended; the
folder is to be removed when commonwheel has changed.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

HERE = Path(__file__).parent
PROBE = HERE / "census_probe.py"
LISTED = HERE / "top-packages.csv"
COUNT = 300
JOBS = 2
SECONDS = 300
"""How long one interpreter may take; on a busy machine, large packages take long."""
MISSING = "(not there)"
NOBODY = 65534
MAY_FAIL = ("install", "import", "load", "metadata")
"""What facts are called that are text if something fails, else a list or "ok"."""
_DISTURBING = ("PIP_", "UV_", "PYTHON", "COMMONWHEEL_", "VIRTUAL", "COVERAGE", "XDG_")

Facts = dict[str, Any]
Snapshot = dict[str, tuple[int, ...]]


class Rule(NamedTuple):
    """Facts that differ for every package, by design; docs/design.md says why."""

    where: str
    """Pattern for the whole name of a fact."""
    why: str


class Explanation(NamedTuple):
    """A difference that is known, and what is behind it."""

    name: str
    """Of a distribution in the environment; the one that was asked for or another."""
    where: str
    """Pattern for the whole name of a fact."""
    why: str


BY_DESIGN = (
    Rule(r"file _commonwheel/.*", "RECORD lists the manifest and the links"),
    Rule(r"file (.*/)?\.[^/]*\.commonwheel", "marks whose a shared folder is"),
    Rule(r"file (.*/)?\.[^/]*\.kept", "a link that waits for its place"),
    Rule(r"file [^/]*\.dist-info/top_level\.txt", "generated where a wheel has none"),
)
EXPLAINED: tuple[Explanation, ...] = (
    Explanation(
        "thrift",
        r"file thrift/(\w+/)*__pycache__/\w+\.cpython-311\.opt-1\.pyc",
        "its wheel has bytecode; entries are compiled anew, for `python` without -O",
    ),
)


@dataclass(frozen=True)
class Difference:
    """A fact that is not the same in the two environments."""

    fact: str
    plain: Any
    linked: Any


@dataclass(frozen=True)
class Result:
    """What was found for one name."""

    name: str
    pins: list[str]
    differences: list[Difference]
    unstable: list[str]
    """Facts that differed once, and not when all was done again."""
    writes: list[str]
    """What importing leaves behind in the environment of copies."""
    failed: list[str]
    """What ends with an exception, or not at all, in both environments alike."""
    modes: dict[str, str]
    """Link mode by distribution."""
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Wheels:
    """The wheels of some folders that a version of CPython can use on this machine."""

    def __init__(self, folders: Iterable[Path], version: str) -> None:
        self.folders = [folder.resolve() for folder in folders]
        major, minor = map(int, version.split("."))
        ours = [
            *cpython_tags((major, minor)),
            *compatible_tags((major, minor), f"cp{major}{minor}"),
        ]
        rank = {tag: place for place, tag in enumerate(ours)}
        found: dict[tuple[str, Version], tuple[int, Path]] = {}
        for path in sorted(p for each in self.folders for p in each.glob("*.whl")):
            name, version, _, tags = parse_wheel_filename(path.name)
            ranks = [rank[tag] for tag in tags if tag in rank]
            if ranks:
                best = found.get((name, version), (len(rank), path))
                found[name, version] = min(best, (min(ranks), path))
        self._found = {key: path for key, (_, path) in found.items()}

    def of(self, pin: str) -> Path:
        """The wheel of ``NAME==VERSION``."""
        name, _, version = pin.partition("==")
        return self._found[canonicalize_name(name), Version(version)]


class Census:
    """Makes pairs of environments, and compares them."""

    def __init__(self, wheels: Wheels, out: Path, python: Path) -> None:
        self.wheels = wheels
        self.out = out.resolve()
        self.python = python
        self.work = self.out / "work"
        self.store = self.out / "store"
        # whatever happened to the last run, nothing of it is compared
        shutil.rmtree(self.work, ignore_errors=True)
        for folder in (self.work, self.store):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.out, self.work, self.store):
            folder.chmod(0o755)  # readable to whom packages are imported as
        # what cannot even be started would fail alike in both environments
        subprocess.run([*imports_as(), "ls", self.work], check=True)
        self._variables = {
            key: value
            for key, value in os.environ.items()
            if not key.upper().startswith(_DISTURBING)
        }
        self._variables["PIP_CONFIG_FILE"] = os.devnull

    def resolve(self, name: str) -> list[str] | str:
        """The pins of ``name`` with what it requires, or why there are none."""
        links = [part for each in self.wheels.folders for part in ("--find-links", each)]
        answer = self._run(
            *(_beside_python("uv"), "pip", "compile", "--quiet", "--no-config"),
            *("--offline", "--no-index", "--no-build", "--no-header", "--no-annotate"),
            *("--cache-dir", self.out / "uv", "--python", self.python, *links, "-"),
            stdin=name,
        )
        if answer.returncode != 0:
            return _without_line_breaks(answer.stderr)
        return answer.stdout.split()

    def compare(self, name: str, pins: list[str]) -> Result:
        """Do all with ``name`` twice; a difference is what differed both times."""
        started = time.monotonic()
        result = Pair(self, name, pins).compare()
        unexplained = [each for each in result.differences if not explanation(pins, each)]
        unstable = []
        if unexplained:
            again = Pair(self, name, pins).compare()
            stable = {each.fact for each in again.differences}
            unstable = [e.fact for e in result.differences if e.fact not in stable]
        differences = [e for e in result.differences if e.fact not in unstable]
        spent = round(time.monotonic() - started, 1)
        changes = {"differences": differences, "unstable": unstable, "seconds": spent}
        return Result(**{**vars(result), **changes})

    def _run(
        self, *command: object, stdin: str = "", **changes: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._variables | changes,
            cwd=self.out,
        )

    def install_plain(self, environment: Path, pins: list[str]) -> str:
        """Copy what is pinned; returns "ok" or what went wrong."""
        links = environment.with_name("wheels")  # pip need not read whole folders
        links.mkdir()
        for pin in pins:
            wheel = self.wheels.of(pin)
            (links / wheel.name).symlink_to(wheel)
        answer = self._run(
            *(sys.executable, "-m", "pip", "--python", environment / "bin/python"),
            *("install", "--quiet", "--no-index", "--find-links", links, "--no-deps"),
            *("--no-compile", "--no-warn-script-location", *pins),
        )
        return _outcome(answer)

    def install_linked(self, environment: Path, pins: list[str]) -> str:
        """Link what is pinned; returns "ok" or what went wrong."""
        answer = self._run(
            *(_beside_python("commonwheel"), "install", "--python", environment),
            *("--store", self.store, *map(self.wheels.of, pins)),
        )
        return _outcome(answer)

    def modes(self, environment: Path) -> dict[str, str]:
        """The link mode of each linked distribution, as commonwheel says."""
        command = (_beside_python("commonwheel"), "status", "--json", environment)
        told = json.loads(self._run(*command).stdout)
        return {each["name"]: each["mode"] for each in told["linked"]}


class Pair:
    """The two environments of one name, while they are compared."""

    def __init__(self, census: Census, name: str, pins: list[str]) -> None:
        self.census = census
        self.name = name
        self.pins = pins
        self.root = census.work / canonicalize_name(name)
        # the folder's own name is in the activation scripts
        self.plain, self.linked = self.root / "copied/env", self.root / "linked/env"

    def compare(self) -> Result:
        """Install, look, remove."""
        self.root.mkdir()
        try:
            return self._compare()
        finally:
            shutil.rmtree(self.root)

    def _compare(self) -> Result:
        for environment in (self.plain, self.linked):
            environment.parent.mkdir()
            command = (self.census.python, "-m", "venv", "--without-pip", environment)
            subprocess.run(command, check=True)
        plain: Facts = {"install": self.census.install_plain(self.plain, self.pins)}
        linked: Facts = {"install": self.census.install_linked(self.linked, self.pins)}
        modes: dict[str, str] = {}
        writes: list[str] = []
        if plain["install"] == linked["install"] == "ok":
            modes = self.census.modes(self.linked)
            plain |= self._look(self.plain)
            linked |= self._look(self.linked)
            writes = [fact for fact in plain if fact.startswith("written ")]
        return Result(
            name=self.name,
            pins=self.pins,
            differences=list(differences(plain, linked)),
            unstable=[],
            writes=writes,
            failed=[
                f"{fact}: {plain[fact]}"
                for fact in plain
                if fact.partition(" ")[0] in MAY_FAIL
                and isinstance(plain[fact], str)
                and plain[fact] != "ok"
                and plain[fact] == linked.get(fact)
            ],
            modes=modes,
            counts=dict(Counter(fact.partition(" ")[0] for fact in linked)),
        )

    def _look(self, environment: Path) -> Facts:
        """Every fact of an environment; what looking leaves behind is one, too."""
        facts = {
            f"script {path.name}": _digest(path, environment)
            for path in (environment / "bin").iterdir()
            if not path.is_symlink()
        }
        home = environment.with_name("home")
        home.mkdir()
        give(environment)
        give(home)
        entries = list(_entries(environment))
        before, stored = snapshot([environment]), snapshot(entries)
        for asked in self._requests():
            facts |= self._ask(environment, home, asked)
        facts |= {
            f"written {path.relative_to(environment)}": what
            for path, what in changes(before, snapshot([environment]))
        }
        facts |= {
            f"store changed {path.relative_to(self.census.store)}": what
            for path, what in changes(stored, snapshot(entries))
        }
        text = json.dumps(facts)
        for pattern, neutral in self._neutral(environment, entries):
            text = text.replace(pattern, neutral)
        return json.loads(re.sub(r"0x[0-9a-f]{6,}", "0x...", text))  # type: ignore[no-any-return]

    def _requests(self) -> Iterator[list[str]]:
        """What to ask of fresh interpreters: a top-level name, a distribution, all."""
        for pin in self.pins:
            wheel = Archive(self.census.wheels.of(pin))
            for modules in wheel.modules().values():
                yield ["import", *modules]
            if wheel.has_entry_points():
                yield ["load", pin.partition("==")[0]]
        yield ["metadata"]

    def _ask(self, environment: Path, home: Path, asked: list[str]) -> Facts:
        """The facts that a fresh interpreter answers with; its end, if it does not."""
        command = [*imports_as(), environment / "bin/python", "-c", PROBE.read_text()]
        variables = {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.defpath}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "TMPDIR": str(home),
        }
        try:
            answer = subprocess.run(
                [*command, *asked],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=home,
                env=variables,
                timeout=SECONDS,
            )
            found: Facts = json.loads(answer.stdout)
        except subprocess.TimeoutExpired:
            return {" ".join(asked[:2]): "takes too long"}
        except ValueError:
            return {" ".join(asked[:2]): f"ends with status {answer.returncode}"}
        return found

    def _neutral(
        self, environment: Path, entries: Iterable[Path]
    ) -> Iterator[tuple[str, str]]:
        """What paths are to be read as; a linked file is where its copy would be."""
        site = next((environment / "lib").glob("python*/site-packages"))
        yield f"{site}/_commonwheel/view", "<site>"
        for entry in entries:
            yield f"{entry}/tree", "<site>"
        yield str(site), "<site>"
        yield str(environment), "<env>"
        yield str(environment.parent), "<parent>"


class Archive:
    """A wheel file, and what it says it provides."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self._members = archive.namelist()

    def has_entry_points(self) -> bool:
        """Whether there is anything to load."""
        return any(
            re.fullmatch(r"[^/]*\.dist-info/entry_points\.txt", member)
            for member in self._members
        )

    def modules(self) -> dict[str, list[str]]:
        """For each top-level name what to import: itself, or what a namespace holds.

        A folder without ``__init__`` is a namespace; it is imported itself, and so is
        the first module or package on each path down from it.
        """
        found: dict[str, set[str]] = {}
        sources = {_module_path(member) for member in self._members} - {""}
        packages = {
            path.removesuffix("/__init__")
            for path in sources
            if path.endswith("/__init__")
        }
        for path in sources:
            parts = path.removesuffix("/__init__").split("/")
            if not all(part.isidentifier() for part in parts) or parts[0] == "__main__":
                continue
            names = found.setdefault(parts[0], {parts[0]})
            for depth in range(1, len(parts) + 1):
                names.add(".".join(parts[:depth]))
                if "/".join(parts[:depth]) in packages:
                    break
        return {top: sorted(names) for top, names in sorted(found.items())}


def _module_path(member: str) -> str:
    """``a/b`` for ``a/b.py``, ``a/b.cpython-312.so`` and the like, else nothing."""
    member = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", member)
    match = re.fullmatch(r"((?:[^/]+/)*[^/.]+)(\.py|(\.[^/]*)?\.so)", member)
    return match[1] if match and ".data/" not in member else ""


def differences(plain: Facts, linked: Facts) -> Iterator[Difference]:
    """The facts that are not the same, those aside that differ by design."""
    for fact in {**plain, **linked}:
        pair = plain.get(fact, MISSING), linked.get(fact, MISSING)
        by_design = any(re.fullmatch(rule.where, fact) for rule in BY_DESIGN)
        if pair[0] != pair[1] and not (by_design and pair[0] == MISSING):
            yield Difference(fact, *pair)


def explanation(pins: Iterable[str], difference: Difference) -> Explanation | None:
    """Why the difference is there, if that is known."""
    names = {pin.partition("==")[0] for pin in pins}
    for each in EXPLAINED:
        if each.name in names and re.fullmatch(each.where, difference.fact):
            return each
    return None


@functools.cache
def imports_as() -> tuple[str, ...]:
    """The start of a command line that is not run by the superuser."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def give(folder: Path) -> None:
    """Let whom packages are imported as own a folder.

    Hard links are left alone: they are names of the store's own files.
    """
    if os.geteuid() != 0:
        return
    os.chown(folder, NOBODY, NOBODY)
    for current, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(current, name)
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
                os.lchown(path, NOBODY, NOBODY)


def _entries(environment: Path) -> Iterator[Path]:
    """The entries that the manifests of an environment name."""
    links = "lib/python*/site-packages/_commonwheel/links/*.link"
    for manifest in sorted(environment.glob(links)):
        lines = dict(line.split(": ", 1) for line in manifest.read_text().splitlines())
        yield Path(lines["entry"])


def snapshot(folders: Iterable[Path]) -> Snapshot:
    """What would show that something has been written: size, time stamp, inode, mode."""
    found = {}
    for root in folders:
        for current, names, files in os.walk(root):
            for name in (*names, *files):
                path = os.path.join(current, name)
                status = os.lstat(path)
                is_folder = stat.S_ISDIR(status.st_mode)
                found[path] = (
                    status.st_ino,
                    status.st_mode,
                    0 if is_folder else status.st_size,
                    0 if is_folder else status.st_mtime_ns,
                )
    return found


def changes(before: Snapshot, after: Snapshot) -> Iterator[tuple[Path, str]]:
    """What is new, gone or changed."""
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield Path(path), "new"
        elif path not in after:
            yield Path(path), "gone"
        elif before[path] != after[path]:
            yield Path(path), "changed"


def _digest(path: Path, environment: Path) -> str:
    content = path.read_bytes().replace(os.fsencode(environment), b"<env>")
    return hashlib.sha256(content).hexdigest()[:16]


def _beside_python(program: str) -> Path:
    return Path(sys.executable).with_name(program)


def _outcome(answer: subprocess.CompletedProcess[str]) -> str:
    return "ok" if answer.returncode == 0 else _without_line_breaks(answer.stderr)


def _without_line_breaks(text: str) -> str:
    return " ".join(text.split())


class Journal:
    """The results so far, one line of JSON each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, dict[str, Any]] = {}
        if path.exists():
            text = path.read_text()
            whole = text[: text.rfind("\n") + 1]  # a run may end amid a line
            path.write_text(whole)
            rows = map(json.loads, whole.splitlines())
            self.results = {row["name"]: row for row in rows}

    def add(self, result: Result) -> dict[str, Any]:
        """Note a result."""
        row = json.loads(json.dumps(asdict(result)))
        with self.path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        self.results[result.name] = row
        return row  # type: ignore[no-any-return]


def run(census: Census, names: Iterable[str], count: int) -> list[dict[str, Any]]:
    """Compare the first ``count`` of ``names`` that can be installed, and say so."""
    journal = Journal(census.out / "results.jsonl")
    chosen: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for name in names:
        if len(chosen) == count:
            break
        pins = census.resolve(name)
        if isinstance(pins, str):
            skipped[name] = pins
        else:
            chosen[name] = pins
    (census.out / "skipped.json").write_text(json.dumps(skipped, indent=1))
    print(f"{len(chosen)} names, {len(skipped)} have no wheel for all they need")
    todo = [name for name in chosen if name not in journal.results]
    with ThreadPoolExecutor(JOBS) as pool:
        try:
            running = [pool.submit(census.compare, name, chosen[name]) for name in todo]
            for done in as_completed(running):
                row = journal.add(done.result())
                print(
                    f"{row['name']}: {len(row['pins'])} distributions,"
                    f" {len(row['differences'])} differences, {row['seconds']} s",
                    flush=True,
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [journal.results[name] for name in chosen]


def report(results: Iterable[Mapping[str, Any]]) -> int:
    """Print what differs, and how much was looked at; returns the exit status."""
    counts: Counter[str] = Counter()
    pins: dict[str, str] = {}
    unexplained = 0
    for row in results:
        counts += Counter(row["counts"])
        counts["names"] += 1
        for fact in row["failed"]:
            counts[f"failed {fact.partition(' ')[0].rstrip(':')}"] += 1
        pins |= {
            pin: row["modes"].get(pin.partition("==")[0], "?") for pin in row["pins"]
        }
        for each in row["differences"]:
            known = explanation(row["pins"], Difference(**each))
            unexplained += known is None
            why = known.why if known else "NOT EXPLAINED"
            print(f"\n{row['name']}: {each['fact']} ({why})")
            print(f"    plain: {each['plain']}\n    linked: {each['linked']}")
        counts["differences"] += len(row["differences"])
        for fact in row["unstable"]:
            print(f"\n{row['name']}: {fact} (differed once, and not again)")
        if row["writes"]:
            print(f"\n{row['name']} writes: {', '.join(row['writes'])}")
    modes = ", ".join(f"{count} {mode}" for mode, count in Counter(pins.values()).items())
    print(f"\nnames: {counts['names']}")
    print(f"distributions: {len(pins)} ({modes})")
    for what, kind in (("modules imported", "import"), ("entry points loaded", "load")):
        print(f"{what}: {counts[kind]}, {counts[f'failed {kind}']} of them fail alike")
    print(f"files compared: {counts['file'] + counts['script']}")
    print(f"differences: {counts['differences']}, not explained: {unexplained}")
    not_seen = counts["failed install"] + counts["failed metadata"]
    if not_seen:
        print(f"{not_seen} names could not be compared: see `failed` in the results")
    return 1 if unexplained or not_seen else 0


def listed() -> list[str]:
    """The names of the data file, the most downloaded first."""
    with LISTED.open() as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return [row["project"] for row in rows]


def find_python(version: str, *candidates: Path | None) -> Path:
    """An interpreter of ``version`` (as in ``3.12``) that packages can be imported with.

    :raises SystemExit: there is none; those in the superuser's home folder are none
    """
    paths = (None, os.defpath)
    found = [shutil.which(f"python{version}", path=path) for path in paths]
    for python in (*candidates, *found):
        if python is not None and _version_of(python) == version:
            return Path(python)
    raise SystemExit(f"no python{version} can be run by {imports_as() or 'you'}")


def _version_of(python: Path | str) -> str | None:
    """The version of an interpreter that can be run, else None.

    It starts itself once more: setpriv keeps the superuser's rights until it starts a
    program, so an interpreter in a folder that is closed starts, without its own files.
    """
    code = (
        "import subprocess, sys\n"
        "subprocess.check_call([sys.executable, '-I', '-c', ''])\n"
        "print('%d.%d' % sys.version_info[:2])"
    )
    command = [*imports_as(), str(python), "-I", "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, cwd="/")
    return answer.stdout.strip() if answer.returncode == 0 else None


def main() -> int:
    """Carry the census out; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheels", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True, help="results, store, work")
    parser.add_argument("--python", type=Path, default=None)
    parser.add_argument("names", nargs="*", metavar="COUNT | NAME", default=[str(COUNT)])
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_count = len(asked.names) == 1 and asked.names[0].isdigit()
    names = listed() if is_count else asked.names
    count = int(asked.names[0]) if is_count else len(names)
    python = asked.python or find_python("{}.{}".format(*sys.version_info))
    version = _version_of(python)
    if version is None:
        parser.error(f"{python} cannot be run by {imports_as() or 'you'}")
    print(f"imported by {python}, Python {version}")
    census = Census(Wheels(asked.wheels, version), asked.out, python)
    return report(run(census, names, count))


if __name__ == "__main__":
    sys.exit(main())
