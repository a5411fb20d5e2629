"""Run environments, and the start of programs in them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commonwheel import lock as locks
from commonwheel import run_environment, run_place
from commonwheel.errors import CommonwheelError, InvalidStore
from commonwheel.frontends import cli, run_start, settings
from commonwheel.frontends.verbs.run import Arguments
from commonwheel.lock_errors import HostFailed, NotInStore
from commonwheel.run_environment import Purpose
from commonwheel.store import Store
from fake_host import FakeHost
from wheel_file import write_wheel

PYTHON = Path(sys.executable)
HELLO = """\
import os, sys
def main():
    print("hello", *sys.argv[1:])
"""

Ready = Callable[..., Path]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Requirements whose wheels are beside them."""
    wheels = tmp_path / "wheels"
    points = {"entry_points.txt": "[console_scripts]\nhello = one:main\n"}
    write_wheel(wheels, {"one/__init__.py": HELLO}, "one", metadata=points)
    write_wheel(wheels, {"two.py": "value = 2\n"}, "two")
    write_wheel(wheels, {"pip/__init__.py": ""}, "pip")
    path = tmp_path / "requirements.txt"
    path.write_text("one==1.0\ntwo==1.0\n")
    return path


@pytest.fixture
def host(lock: Path) -> FakeHost:
    return FakeHost(lock.parent / "wheels")


def purpose(lock: Path, **options: Any) -> Purpose:
    read = locks.read(lock)
    return run_environment.of_lock(lock, lock.read_bytes(), read, PYTHON, **options)


def output(folder: Path, *command: str) -> str:
    program = [str(folder / "bin" / command[0]), *command[1:]]
    return subprocess.run(program, stdout=-1, text=True, check=True).stdout.strip()


def test_it_is_made_once_and_found_again(
    lock: Path, host: FakeHost, store: Store
) -> None:
    wanted = purpose(lock)
    folder = run_environment.provide(wanted, store, host)
    assert folder.parent == store.runs
    assert output(folder, "python", "-c", "import one, two; print(two.value)") == "2"
    assert output(folder, "hello", "you") == "hello you"
    assert [each.environment for each in store.registry.roots()] == [folder]
    os.utime(folder / "used", (0, 0))
    assert run_environment.provide(purpose(lock), store, host) == folder
    assert (folder / "used").stat().st_mtime > 0
    assert host.fetched == ["one", "two"]
    assert run_place.find([str(store.root)], wanted.identity) == str(folder)


def test_what_is_another_purpose_has_another_place(lock: Path, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    content = lock.read_bytes()
    for same in (str(other), sys.executable):
        assert run_place.identity(content, same) == run_place.identity(
            content, sys.executable
        )
    copied = tmp_path / "another"
    copied.write_bytes(b"another interpreter")
    asked: list[dict[str, Any]] = [
        {},
        {"lock": content + b"\n"},
        {"python": str(copied)},
        {"extras": ["a"]},
        {"groups": ["a"]},
        {"extras": ["a", "b"]},
        {"header": b"# ///"},
        {"links": ["copy", ""]},
        {"links": ["", "copy"]},
        {"folder": "/a"},
    ]
    found = [
        run_place.identity(**{"lock": content, "python": sys.executable} | each)
        for each in asked
    ]
    copied.write_bytes(b"upgraded")
    found.append(run_place.identity(content, str(copied)))
    assert len({run_place.key(each) for each in found}) == len(found)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o2775])
def test_what_others_could_have_put_there_is_not_found(
    lock: Path, host: FakeHost, store: Store, mode: int
) -> None:
    wanted = purpose(lock)
    folder = run_environment.provide(wanted, store, host)
    here = [str(store.root)]
    store.root.chmod(mode)
    assert run_place.find(here, wanted.identity) is None
    store.root.chmod(0o3775)
    assert run_place.find(here, wanted.identity) == str(folder)


def test_what_is_not_complete_is_not_found(
    lock: Path, host: FakeHost, store: Store
) -> None:
    wanted = purpose(lock)
    folder = run_environment.provide(wanted, store, host)
    here = [str(store.root)]
    (entry, *_) = (folder / "entries").read_text().splitlines()
    for path in (folder / "ready", folder / "bin/python", Path(entry)):
        path.rename(f"{path}.away")
        assert run_place.find(here, wanted.identity) is None
        Path(f"{path}.away").rename(path)
        assert run_place.find(here, wanted.identity) == str(folder)
    (folder / "ready").write_bytes(wanted.identity + b"\n")
    assert run_place.find(here, wanted.identity) is None


@pytest.mark.parametrize("lost", ["entries", "bin/python", "ready", "lib"])
def test_what_is_damaged_is_made_anew(
    lock: Path, host: FakeHost, store: Store, lost: str
) -> None:
    folder = run_environment.provide(purpose(lock), store, host)
    if lost == "entries":
        for entry in (store.root / "entries").iterdir():
            entry.rename(store.root / f"tmp/{entry.name}")
    else:
        (folder / lost).rename(store.root / "tmp/lost")
    if lost == "lib":
        (folder / "entries").write_text("/nowhere\n")
    assert run_environment.provide(purpose(lock), store, host) == folder
    assert output(folder, "python", "-c", "import one, two; print(two.value)") == "2"


def test_a_killed_one_is_made_anew(lock: Path, host: FakeHost, store: Store) -> None:
    wanted = purpose(lock)
    host.error = SystemExit()  # nobody expects it, so nothing is taken back
    with pytest.raises(SystemExit):
        run_environment.provide(wanted, store, host)
    (left,) = store.runs.iterdir()
    (left / "bin/litter").touch()
    host.error = None
    folder = run_environment.provide(wanted, store, host)
    assert output(folder, "hello") == "hello"
    assert not (folder / "bin/litter").exists()


@pytest.mark.parametrize(
    "error", [HostFailed("fake", "fetch", "offline"), KeyboardInterrupt()]
)
def test_one_that_fails_leaves_nothing(
    lock: Path, host: FakeHost, store: Store, error: BaseException
) -> None:
    host.error = error
    with pytest.raises(type(error)):
        run_environment.provide(purpose(lock), store, host)
    assert list(store.runs.iterdir()) == []


def test_offline_what_is_lacking_is_named_and_nobody_is_asked(
    lock: Path, host: FakeHost, store: Store
) -> None:
    with pytest.raises(NotInStore, match=r"no one 1\.0, no two 1\.0, .* --offline"):
        run_environment.provide(purpose(lock), store, host, offline=True)
    assert host.fetched == []
    assert list(store.runs.iterdir()) == []
    for name in ("one", "two"):
        store.add(next(host.wheels.glob(f"{name}-*")), None)
    folder = run_environment.provide(purpose(lock), store, host, offline=True)
    assert output(folder, "hello") == "hello"


def test_two_at_once_end_with_one(lock: Path, host: FakeHost, tmp_path: Path) -> None:
    wanted, found = purpose(lock), []
    makers = [Store(tmp_path / "store") for _ in range(3)]
    threads = [
        threading.Thread(
            target=lambda each=each: found.append(
                run_environment.provide(wanted, each, host)
            )
        )
        for each in makers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    assert len(set(found)) == 1
    assert host.fetched == ["one", "two"]


def test_pip_is_linked_as_all_others(lock: Path, host: FakeHost, store: Store) -> None:
    lock.write_text("pip==1.0\n")
    folder = run_environment.provide(purpose(lock), store, host)
    (held,) = (store.registry.look(each).entries for each in store.registry.roots())
    assert [name.partition("-")[0] for name in held] == ["pip"]
    assert "_commonwheel" in output(folder, "python", "-c", "print(__import__('pip'))")


def test_a_lock_that_speaks_of_other_files_is_looked_at_each_time(
    lock: Path, host: FakeHost, store: Store
) -> None:
    above = lock.with_name("above.txt")
    above.write_text("-r requirements.txt\n")
    folder = run_environment.provide(purpose(above), store, host)
    assert output(folder, "hello") == "hello"
    lock.write_text("two==1.0\n")
    assert run_environment.provide(purpose(above), store, host) == folder
    assert not (folder / "bin/hello").exists()
    assert not purpose(above).lasting
    assert purpose(lock).lasting


def test_one_in_a_store_that_cannot_be_written_is_used(
    lock: Path, host: FakeHost, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = purpose(lock)
    folder = run_environment.provide(wanted, store, host)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert run_environment.provide(wanted, store, host) == folder
    chain = Store(store.root.with_name("another"), store.root)
    assert run_environment.provide(wanted, chain, host) == folder
    lock.write_text("two==1.0\n")
    other = purpose(lock)
    with pytest.raises(InvalidStore, match="--store FOLDER:STORE"):
        run_environment.provide(other, store, host)


@pytest.mark.parametrize("given", [None, "/one:~/two::three", "four"])
@pytest.mark.parametrize("known", [{}, {"COMMONWHEEL_STORE": "/five:six"}])
@pytest.mark.parametrize("data", [{}, {"XDG_DATA_HOME": "/data"}, {"XDG_DATA_HOME": " "}])
def test_the_quick_start_knows_the_same_stores(
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    known: dict[str, str],
    data: dict[str, str],
) -> None:
    for name in ("COMMONWHEEL_STORE", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (known | data).items():
        monkeypatch.setenv(name, value)
    store = settings.open_store(given)
    chain = {str(each.root) for each in (store, *store.below)}
    assert set(run_place.stores(given, os.environ)) == chain


OPTIONS = (
    ["--lock", "L"],
    ["--lock=L"],
    ["--python=P"],
    ["--extra", "a"],
    ["--extra=b"],
    ["--group", "c"],
    ["--store", "S"],
    ["--offline"],
    ["--script"],
)


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-c", "x"],
        ["prog", "--lock", "M"],
        ["--", "-x"],
        ["--", "a", "--", "b"],
    ],
)
def test_the_quick_start_reads_as_the_parser_does(command: list[str]) -> None:
    for one, other in itertools.product(OPTIONS, repeat=2):
        given = [*one, *other, *command]
        quick = run_start._read(given)
        full = cli._parser().parse_args(["run", *given], namespace=Arguments())
        assert quick is not None
        rest = full.command[full.command[:1] == ["--"] :]
        assert quick.command == rest
        assert quick.lock == (str(full.lock) if full.lock else None)
        told = ("python", "store", "extra", "group", "script")
        assert [getattr(quick, n) for n in told] == [getattr(full, n) for n in told]


@pytest.mark.parametrize(
    "given", ["", "--lock L", "--lock", "--lock=", "--loc L x", "--allow-sdist x", "-h"]
)
def test_the_quick_start_leaves_what_is_unusual_to_the_parser(given: str) -> None:
    call = run_start._read(given.split())
    assert call is None


def test_the_quick_start_imports_next_to_nothing(lock: Path) -> None:
    code = (
        "import os, sys; sys.path.append(sys.argv.pop(1)); before = set(sys.modules)\n"
        "from commonwheel.frontends import run_start\n"
        "run_start.start(['--lock', sys.argv[1], 'x'])\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    source = Path(run_place.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-c", code, source, lock]
    found = subprocess.run(command, stdout=-1, text=True, check=True).stdout.split()
    modules = {"__future__", "commonwheel", "commonwheel.frontends"}
    modules |= {"commonwheel.frontends.run_start", "commonwheel.run_place"}
    assert set(found) <= modules


@pytest.fixture
def started(
    lock: Path, host: FakeHost, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.CompletedProcess[bytes]]]:
    """Runs a command with everything in place, by the command line."""
    monkeypatch.setenv("COMMONWHEEL_STORE", str(store.root))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(run_place.__file__).parents[1]))
    run_environment.provide(purpose(lock, settings=["", ""]), store, host)

    def start(*command: str, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
        given = [sys.executable, "-m", "commonwheel", "run", "--lock", str(lock)]
        return subprocess.run(
            [*given, *command], capture_output=True, check=False, **kwargs
        )

    yield start
    assert host.fetched == ["one", "two"]  # what was there was found


def test_a_program_is_what_it_is_without_us(
    started: Callable[..., subprocess.CompletedProcess[bytes]], store: Store
) -> None:
    (folder,) = store.runs.iterdir()
    assert started("hello", "--help", "--lock").stdout == b"hello --help --lock\n"
    assert started("--", "cat", input=b"\x00\xff").stdout == b"\x00\xff"
    assert started("sh", "-c", "exit 7").returncode == 7
    assert started("sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    # Python ignores it, and what it starts must not
    assert started("sh", "-c", "kill -PIPE $$").returncode == -signal.SIGPIPE
    shown = started("sh", "-c", "echo $VIRTUAL_ENV $PATH").stdout.decode().split()
    assert shown[0] == str(folder)
    assert shown[1].startswith(f"{folder}/bin:")
    code = "import sys; print(sys.prefix, sys.flags.isolated)"
    assert started("python", "-I", "-c", code).stdout.decode() == f"{folder} 1\n"


def test_a_program_that_cannot_be_started_ends_as_in_a_shell(
    started: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    done = started("no-such-program")
    assert done.returncode == 127
    assert done.stderr == b"commonwheel: error: no-such-program: no such program\n"
    assert started(str(tmp_path)).returncode == 126
    script = tmp_path / "name.py"
    assert started(str(script)).returncode == 127
    script.write_text("import sys, two; sys.exit(two.value)")
    assert started(str(script)).returncode == 2
    assert started("--script", str(script)).returncode == 2
    assert b"a program to run is needed" in started().stderr


def test_a_script_finds_its_lock(
    lock: Path, store: Store, monkeypatch: pytest.MonkeyPatch, host: FakeHost
) -> None:
    monkeypatch.setenv("COMMONWHEEL_STORE", str(store.root))
    for name in ("one", "two"):
        store.add(next(host.wheels.glob(f"{name}-*")), None)
    became: list[tuple[str, list[str], bool]] = []

    class Became(BaseException):
        pass

    def become(folder: str, command: list[str], *, script: bool) -> None:
        became.append((folder, command, script))
        raise Became

    monkeypatch.setattr(run_start, "become", become)
    script = lock.parent / "tool.py"
    script.write_text("# /// script\n# requires-python = '>=3.10'\n# ///\n")
    with pytest.raises(Became):  # which needs nothing, and no lock
        cli.main(["run", "--offline", str(script)])
    became.clear()
    script.write_text("# /// script\n# dependencies = ['two>=1']\n# ///\n")
    asked = ["run", "--offline", str(script), "--lock", "x"]
    said = []
    monkeypatch.setattr("builtins.print", lambda *line, **_: said.append(line[0]))
    assert cli.main(asked) == 1
    assert "there is no lock beside it" in said.pop()
    beside = script.with_name("tool.py.lock")
    beside.write_text("version = 1\n[[package]]\n")
    assert cli.main(asked) == 1
    assert "uv export --script" in said.pop()
    own = script.with_name("pylock.tool.toml")
    own.write_text('lock-version = "1.0"\ncreated-by = "hand"\npackages = []\n')
    assert cli.main(asked) == 1
    assert "needs two>=1, which its lock does not name" in said.pop()
    script.write_text("# /// script\n# dependencies = []\n# ///\n")
    with pytest.raises(Became):
        cli.main(asked)
    with pytest.raises(Became):  # the second time there is nothing to read
        run_start.start(asked[1:])
    assert became[0] == became[1]
    assert became[0][1:] == ([str(script), "--lock", "x"], True)


def test_every_refusal_is_one_of_ours(lock: Path, store: Store, host: FakeHost) -> None:
    lock.write_text("one==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(CommonwheelError, match=r"one 1\.0 was refused"):
        run_environment.provide(purpose(lock), store, host)
    assert list(store.runs.iterdir()) == []
