"""Failures: one clear message, exit status 1, and everything as it was before.

pip 26.3 blocks imports once it installs, so what an error path needs must have been
imported: each case runs in a fresh process, and in an environment without bytecode.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from environments import Environment, Tree, copy_environment, store_contents
from wheelhouse import NEWEST_PIP, write_wheel

Make = Callable[..., Environment]

PIP_VERSIONS = ("23.2", NEWEST_PIP)


@pytest.fixture(params=PIP_VERSIONS)
def cold(request: pytest.FixtureRequest, make: Make, tmp_path: Path) -> Environment:
    """An environment with version 1.0 of ``victim`` linked, and without bytecode."""
    environment = make(pip=request.param)
    environment.install(write_wheel(tmp_path / "first", "victim", "1.0", _files("1.0")))
    for folder in list(environment.site.rglob("__pycache__")):
        shutil.rmtree(folder)
    environment.variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def _files(version: str) -> dict[str, str]:
    own = version[0]
    return {
        "victim/__init__.py": f"VERSION = {version!r}\n",
        f"victim/only_{own}.py": "",
        f"victim_module_{own}.py": "",
        f"victim_space/inner_{own}/__init__.py": "",
        f"{{data}}/data/share/victim_{own}.txt": "",
        f"{{data}}/scripts/victim_{own}": "",
        "victim_module.py": "",
        "victim_space/inner/__init__.py": "",
        "{data}/data/share/victim.txt": version,
        "{data}/headers/victim.h": version,
        "{data}/scripts/victim": "#!python\n",
        "victim.pth": "\n",
    }


class _State:
    """What must be as before: the environment, and the store."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._tree = _settled(environment)
        self._stored = store_contents(environment.store)
        self._version = environment.installed().get("victim")

    def check(self, *, may_be_stored: bool = False) -> None:
        environment = self._environment
        now = _settled(environment)
        assert {path: now.get(path) for path in {*now, *self._tree}} == {
            path: self._tree.get(path) for path in {*now, *self._tree}
        }
        stored = store_contents(environment.store)
        if may_be_stored:
            # a complete entry is no harm, it is there for the next attempt
            stored = {path: stored[path] for path in stored if path in self._stored}
        assert stored == self._stored
        temporary = environment.store / "tmp"
        assert not temporary.exists() or not list(temporary.iterdir())
        assert environment.installed().get("victim") == self._version
        if self._version:
            code = "import victim, victim_module, victim_space.inner, victim.only_1"
            assert environment.code(f"{code}; print(victim.VERSION)") == "1.0"
        else:
            assert not environment.can_import("victim")


def _settled(environment: Environment) -> Tree:
    return {
        path: kind
        for path, kind in environment.tree().items()
        # the lock's file may be there or not
        if not path.endswith("_commonwheel/lock")
    }


def _fail(environment: Environment, *arguments: object, **kwargs: object) -> str:
    """Run an installation that fails; returns its last error."""
    answer = environment.install(*arguments, check=False, **kwargs)  # type: ignore[arg-type]
    said = answer.stdout + answer.stderr
    assert answer.returncode == 1, said
    assert "Traceback" not in said
    assert "BlockedImportError" not in said
    assert "Blocked import" not in said
    errors = [line for line in answer.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, said
    return errors[0]


def _truncated(folder: Path) -> Path:
    path = write_wheel(folder, "victim", "2.0", {**_files("2.0"), "big.py": "#" * 9999})
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _flipped(folder: Path) -> Path:
    """A damaged member: pip itself reads only the metadata before the seam."""
    files = {**_files("2.0"), "victim/data.bin": os.urandom(5000)}
    path = write_wheel(folder, "victim", "2.0", files)
    content = bytearray(path.read_bytes())
    place = content.find(b"victim/data.bin") + 2000
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    return path


def _wrong_hash(folder: Path) -> Path:
    record = {"victim_module.py": "sha256=" + "A" * 43}
    return write_wheel(folder, "victim", "2.0", _files("2.0"), record=record)


def _outside(folder: Path) -> Path:
    return write_wheel(folder, "victim", "2.0", {**_files("2.0"), "../../evil.py": ""})


def _unlisted(folder: Path) -> Path:
    path = write_wheel(folder, "victim", "2.0", _files("2.0"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("victim/unlisted.py", "")
    return path


WHEELS = {
    "a member is damaged": (_flipped, r"data\.bin.*(damaged|hash)"),
    "a hash in RECORD is wrong": (_wrong_hash, r"victim_module\.py.*hash.*RECORD"),
    "a path leads outside": (_outside, r"evil\.py.*(leaves|outside)"),
    "a member is not in RECORD": (_unlisted, r"unlisted\.py.*RECORD"),
}


@pytest.mark.parametrize("case", WHEELS)
def test_a_wheel_that_is_not_right_is_refused(
    case: str, cold: Environment, tmp_path: Path
) -> None:
    write, message = WHEELS[case]
    wheel = write(tmp_path / "second")
    before = _State(cold)
    error = _fail(cold, wheel)
    assert wheel.name in error
    assert re.search(message, error)
    before.check()


def _misnamed(folder: Path) -> Path:
    return write_wheel(folder, "victim", "2.0", _files("2.0"), filename="victim.whl")


def _foreign(folder: Path) -> Path:
    tag = "cp27-cp27m-win_amd64"
    return write_wheel(folder, "victim", "2.0", _files("2.0"), tag=tag)


@pytest.mark.parametrize("write", [_truncated, _misnamed, _foreign])
def test_a_wheel_that_pip_refuses_is_refused_as_ever(
    write: Callable[[Path], Path], cold: Environment, tmp_path: Path
) -> None:
    wheel = write(tmp_path / "second")
    before = _State(cold)
    error = _fail(cold, wheel)
    assert "victim" in error
    before.check()


def _file(store: Path) -> None:
    store.write_text("a file")


def _something_else(store: Path) -> None:
    store.mkdir()
    (store / "holiday.jpg").touch()


def _newer(store: Path) -> None:
    store.mkdir()
    (store / "format").write_text("999\n")


STORES = {
    "a file": (_file, ""),
    "something else": (_something_else, "something else"),
    "of a newer layout": (_newer, "999.*upgrade commonwheel"),
}


@pytest.mark.parametrize("case", STORES)
def test_a_store_that_cannot_be_used_is_named(
    case: str, cold: Environment, tmp_path: Path
) -> None:
    spoil, message = STORES[case]
    spoil(tmp_path / "other")
    wheel = write_wheel(tmp_path / "second", "victim", "2.0", _files("2.0"))
    before = _State(cold)
    error = _fail(cold, "--shared-store-path", tmp_path / "other", wheel)
    assert str(tmp_path / "other") in error
    assert re.search(message, error)
    before.check()
    kept = {"a file": None, "something else": "holiday.jpg"}.get(case, "format")
    if kept:
        assert [path.name for path in (tmp_path / "other").iterdir()] == [kept]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
@pytest.mark.parametrize("part", [".", "entries", "tmp"])
def test_a_store_that_cannot_be_written_is_named(
    part: str, cold: Environment, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path / "second", "victim", "2.0", _files("2.0"))
    before = _State(cold)
    store = cold.store
    if os.geteuid() == 0:
        # permissions do not stop root; a file in the place of a folder does
        if part == ".":
            store = tmp_path / "blocked" / "store"
            (tmp_path / "blocked").touch()
        else:
            (store / part).rename(store / "kept")
            (store / part).touch()
    else:
        (store / part).chmod(0o500)
    try:
        error = _fail(cold, "--shared-store-path", store, wheel)
    finally:
        if os.geteuid() != 0:
            (store / part).chmod(0o700)
        elif part != ".":
            (store / part).unlink()
            (store / "kept").rename(store / part)
    assert str(store) in error
    before.check()


FAULT = """
import os, sys
_plan = os.environ.get("FAULT")
if _plan:
    import errno, signal, time
    kind, _, wanted = _plan.partition(":")
    events = {"os.rename", "os.symlink", "os.link", "os.mkdir", "os.rmdir", "os.remove",
              "os.chmod", "shutil.move", "shutil.copyfile", "open"}
    count = 0
    def _is_ours(frame):
        while frame:
            name = frame.f_globals.get("__name__", "")
            if name.startswith("commonwheel.") and "frontends" not in name:
                return True
            frame = frame.f_back
        return False
    def _watch(event, arguments):
        global count
        if event not in events:
            return
        if event == "open" and not (isinstance(arguments[1], str)
                                    and set(arguments[1]) & set("wxa")):
            return
        if os.environ.get("FAULT_ONLY", "") not in str(arguments[0]):
            return
        if not _is_ours(sys._getframe(1)):
            return
        count += 1
        if count == int(wanted or -1):
            if kind == "interrupt":
                # as a terminal does to pip, which passes it on to this process
                os.killpg(os.getpgid(os.getppid()), signal.SIGINT)
                time.sleep(20)
            else:
                path = next((a for a in arguments if isinstance(a, (str, bytes))), None)
                raise OSError(errno.ENOSPC, "No space left on device", path)
    def _report():
        if kind == "count" and count:
            with open(os.environ["FAULT_REPORT"], "w") as file:
                file.write(str(count))
    import atexit
    atexit.register(_report)
    sys.addaudithook(_watch)
"""
"""``sitecustomize``: something goes wrong at the n-th change that commonwheel makes."""


@pytest.fixture(scope="session")
def steps() -> dict[str, int]:
    """How many changes each situation takes, found out by its first test."""
    return {}


SITUATIONS: dict[str, tuple[str, ...]] = {
    "upgrade": (),
    "upgrade to what is in the store": (),
    "over what is there": ("--ignore-installed",),
    "first installation": (),
}
FAULTS = [
    ("upgrade", "interrupt", 6),
    ("upgrade", "full disk", 6),
    ("upgrade to what is in the store", "interrupt", 8),
    ("upgrade to what is in the store", "full disk", 8),
    ("over what is there", "interrupt", 6),
    ("over what is there", "full disk", 6),
    ("first installation", "interrupt", 4),
]
"""And at how many places, spread over all steps from the first to the last."""


@pytest.mark.parametrize(
    ("situation", "kind", "share", "shares"),
    [
        (situation, kind, share, shares)
        for situation, kind, shares in FAULTS
        for share in range(shares)
    ],
)
def test_what_is_stopped_leaves_everything_as_it_was(
    situation: str,
    kind: str,
    share: int,
    shares: int,
    steps: dict[str, int],
    make: Make,
    tmp_path: Path,
) -> None:
    environment = make()
    first = write_wheel(tmp_path / "first", "victim", "1.0", _files("1.0"))
    wheel = write_wheel(tmp_path / "second", "victim", "2.0", _files("2.0"))
    (environment.site / "sitecustomize.py").write_text(FAULT)
    if situation == "first installation":
        # something is linked, so that this is about the wheel and not about the runtime
        environment.install(write_wheel(tmp_path, "other", "1", {"other.py": ""}))
    else:
        environment.install(first)
    known = situation.endswith("in the store")
    if known or situation not in steps:
        report = tmp_path / "count"
        environment.install(wheel)
        if not known:
            _forget(environment, "victim-2.0-")
        environment.pip("uninstall", "-y", "victim")
        if situation != "first installation":
            environment.install(first)
    if situation not in steps:
        path = environment.path.with_name("counted")
        copy_environment(environment.path, path)
        Environment(path, environment.store).install(
            *SITUATIONS[situation],
            wheel,
            variables={"FAULT": "count", "FAULT_REPORT": str(report)},
        )
        if not known:
            _forget(environment, "victim-2.0-")
        steps[situation] = int(report.read_text())
        assert steps[situation] > 2 * shares
    before = _State(environment)
    step = 1 + share * (steps[situation] - 1) // (shares - 1)
    answer = environment.install(
        *SITUATIONS[situation],
        wheel,
        check=False,
        variables={"FAULT": f"{kind}:{step}"},
        start_new_session=True,
    )
    said = answer.stdout + answer.stderr
    assert "Traceback" not in said
    assert "Blocked" not in said
    # Some steps may fail unseen: those that find what they would make already there, and
    # what is cleared away in the end.
    if answer.returncode != 0:
        assert answer.returncode == 1, said
        expected = "cancelled by user" if kind == "interrupt" else "No space left"
        assert expected in answer.stderr
        before.check(may_be_stored=True)
        # nothing is in the way of the next attempt
        environment.install(*SITUATIONS[situation], wheel)
    assert environment.installed()["victim"] == "2.0"
    assert environment.code("import victim as v; print(v.VERSION)") == "2.0"
    assert not environment.can_import("victim.only_1")


def _forget(environment: Environment, prefix: str) -> None:
    for entry in (environment.store / "entries").glob(f"{prefix}*"):
        for folder in (entry, *(path for path in entry.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        shutil.rmtree(entry)


def test_when_the_second_wheel_fails_the_first_stays_as_with_pip(
    cold: Environment, tmp_path: Path
) -> None:
    wheels = tmp_path / "second"
    write_wheel(wheels, "good", "1.0", {"good.py": ""})
    bad = write_wheel(
        *(wheels, "victim", "2.0", _files("2.0")),
        record={"victim_module.py": "sha256=" + "A" * 43},
        requires=("good",),  # so it comes second
    )
    error = _fail(cold, "--find-links", wheels, bad)
    assert "victim-2.0" in error
    assert cold.can_import("good")
    assert cold.code("import victim as v; print(v.VERSION)") == "1.0"


def test_a_file_in_the_place_of_another_distributions_folder_is_named(
    cold: Environment, tmp_path: Path
) -> None:
    wheel = write_wheel(tmp_path / "second", "rival", "1", {"victim": "a file"})
    before = _State(cold)
    error = _fail(cold, wheel)
    assert "rival cannot be linked: victim is already" in error
    before.check(may_be_stored=True)


def test_an_environment_that_cannot_be_written_is_named(
    cold: Environment, tmp_path: Path
) -> None:
    # a folder in the place of a script: works for root too
    wheel = write_wheel(
        tmp_path / "second",
        "victim",
        "2.0",
        _files("2.0"),
        entry_points="[console_scripts]\nblocked = victim:main\n",
    )
    (cold.path / "bin/blocked/full").mkdir(parents=True)
    before = _State(cold)
    error = _fail(cold, wheel)
    assert "bin/blocked" in error
    before.check(may_be_stored=True)
