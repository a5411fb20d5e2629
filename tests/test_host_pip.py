"""pip as the host: what it is asked, and what its answers become. pip itself is faked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from commonwheel.environment import Environment
from commonwheel.frontends import host_pip
from commonwheel.frontends.host_pip import HostPip
from commonwheel.lock_errors import HostFailed, SourceRefused, WrongFile
from commonwheel.pin import Kind, Pin

FAKE = """
import json, pathlib, sys, time
folder = pathlib.Path(__file__).parent
lines = pathlib.Path(sys.argv[-1]).read_text().splitlines()
with open(folder / "asked", "a") as file:
    file.write(json.dumps([sys.argv[1:], lines]) + "\\n")
exec((folder / "answer").read_text())
"""
SHA = "a" * 64
COMMIT = "0123456789" * 4


@dataclass
class FakePip:
    """A program in pip's place, and what it was asked."""

    folder: Path

    def answer(self, code: str) -> None:
        """``code`` is what it does; ``put(name)`` puts a file where it was told to."""
        put = (
            "where = [a.split('=')[1] for a in sys.argv if 'dir=' in a or 'dest=' in a]"
            "\ndef put(name): pathlib.Path(where[0], name).touch()\n"
        )
        (self.folder / "answer").write_text(put + code)

    @property
    def asked(self) -> list[tuple[list[str], list[str]]]:
        """For each run, its arguments without the last two, and the requirements."""
        lines = (self.folder / "asked").read_text().splitlines()
        return [(argv[:-2], wanted) for argv, wanted in map(json.loads, lines)]


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    folder = tmp_path / "pip"
    folder.mkdir()
    (folder / "pip.py").write_text(FAKE)
    command = (sys.executable, str(folder / "pip.py"))
    monkeypatch.setattr(host_pip, "_PYTHON", command)
    return FakePip(folder)


@pytest.fixture
def environment(environment: Environment) -> Environment:
    tags = (
        *("cp312-cp312-manylinux_2_17_x86_64", "cp312-abi3-manylinux_2_17_x86_64"),
        *("cp312-none-linux_x86_64", "cp311-abi3-linux_x86_64", "py3-none-any"),
    )
    return replace(environment, tags=tags, version="3.12.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "into"
    path.mkdir()
    return path


ONE = Pin(
    *(
        "one",
        "1",
        Kind.WHEEL,
        "one-1-py3-none-any.whl",
        "https://h/one-1-py3-none-any.whl",
    ),
    frozenset({("sha256", SHA), ("blake2b", "00")}),
    size=70,
)
TWO = Pin("two", "2", Kind.INDEX, hashes=frozenset({("sha512", SHA), ("sha256", SHA)}))
PLAIN = Pin("three", "3", Kind.INDEX)
ANY = Pin("four", None, Kind.INDEX)


def quiet(task: str, done: int, total: int) -> None:
    pass


def test_wheels_are_downloaded_for_the_environment(
    pip: FakePip, environment: Environment, folder: Path
) -> None:
    pip.answer("for n in ('one', 'Two', 'three', 'four'): put(n + '-1-py3-none-any.whl')")
    host = HostPip(("--index-url=https://index",))
    found = host.fetch([ONE, PLAIN, TWO, ANY], environment, folder, quiet)
    assert found == {
        "one": folder / "one-1-py3-none-any.whl",
        "two": folder / "Two-1-py3-none-any.whl",
        "three": folder / "three-1-py3-none-any.whl",
        "four": folder / "four-1-py3-none-any.whl",
    }
    (first, with_hashes), (second, without) = pip.asked
    assert first == second
    assert first == [
        *("download", "--only-binary=:all:", "--python-version=3.12.1"),
        *("--implementation=cp", "--abi=cp312", "--abi=abi3", "--abi=none"),
        *("--platform=manylinux_2_17_x86_64", "--platform=linux_x86_64"),
        *("--progress-bar=raw", f"--dest={folder}", "--index-url=https://index"),
        *("--no-deps", "--no-input", "--disable-pip-version-check"),
    ]
    assert with_hashes == [
        f"one @ https://h/one-1-py3-none-any.whl --hash=sha256:{SHA}",
        f"two==2 --hash=sha256:{SHA} --hash=sha512:{SHA}",
    ]
    assert without == ["three==3", "four"]


def test_sources_are_built_by_the_environment_s_python(
    pip: FakePip, environment: Environment, folder: Path, tmp_path: Path
) -> None:
    pip.answer("for n in 'abcd': put(n + '-1-py3-none-any.whl')")
    hashes = frozenset({("sha256", SHA)})
    pins = [
        Pin("a", "1", Kind.SDIST, "a-1.tar.gz", "https://h/a-1.tar.gz", hashes),
        Pin(
            *("b", None, Kind.ARCHIVE, "b.zip", str(tmp_path / "a b.zip"), hashes),
            subdirectory="sub",
        ),
        Pin(
            *("c", None, Kind.VCS, None, "https://h/${HOME}/c d"),
            vcs="git",
            commit=COMMIT,
            subdirectory="sub",
        ),
        Pin("d", "1", Kind.INDEX),
    ]
    found = HostPip().build(pins, environment, folder, quiet)
    assert [*found] == ["a", "b", "c", "d"]
    (first, with_hashes), (second, without) = pip.asked
    assert first == second
    assert first[:4] == [
        *("--python", str(environment.python), "wheel", f"--wheel-dir={folder}"),
    ]
    assert with_hashes == [
        f"a @ https://h/a-1.tar.gz --hash=sha256:{SHA}",
        f"b @ {tmp_path.as_uri()}/a%20b.zip#subdirectory=sub --hash=sha256:{SHA}",
    ]
    assert without == [
        f"c @ git+https://h/%24%7BHOME%7D/c%20d@{COMMIT}#subdirectory=sub",
        "d==1",
    ]


def test_projects_are_installed_without_what_they_need(
    pip: FakePip, environment: Environment, tmp_path: Path
) -> None:
    pip.answer("")
    project = Pin("p", None, Kind.DIRECTORY, location=str(tmp_path / "p q"), direct=True)
    commit = Pin(
        *("c", None, Kind.VCS, None, "https://h/c"),
        vcs="git",
        commit=COMMIT,
        editable=True,
    )
    pins = [project, replace(project, editable=True), commit]
    HostPip().install_projects(pins, environment)
    ((asked, wanted),) = pip.asked
    assert asked[:3] == ["--python", str(environment.python), "install"]
    assert "--no-deps" in asked
    url = f"{tmp_path.as_uri()}/p%20q"
    assert wanted == [f"p @ {url}", f"-e {url}", f"-e git+https://h/c@{COMMIT}#egg=c"]


def test_a_python_that_our_pip_does_not_know_has_to_have_its_own(
    pip: FakePip, environment: Environment, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nshift 2; exec {sys.executable} {pip.folder}/pip.py "$@"'
    )
    python.chmod(0o755)
    pip.answer("")
    old = replace(environment, python=python, version="3.5.0")
    HostPip().install_projects([PLAIN], old)
    ((asked, _),) = pip.asked
    assert asked[0] == "install"


# progress


def show_progress(
    pip: FakePip, environment: Environment, folder: Path, pins: list[Pin], *lines: str
) -> list[tuple[str, int, int]]:
    text = "\n".join(lines)
    pip.answer(
        f"print({text!r})\nfor n in ('one', 'two'): put(n + '-1-py3-none-any.whl')"
    )
    shown: list[tuple[str, int, int]] = []
    HostPip().fetch(pins, environment, folder, lambda *what: shown.append(what))
    return shown


def test_bytes_are_added_up_over_files(
    pip: FakePip, environment: Environment, folder: Path
) -> None:
    lines = (
        *("Collecting one", "Progress 0 of 70", "Progress 40 of 70", "Progress 70 of 70"),
        *("Progress 0 of 30", "Progress 30 of 30"),
    )
    sized = replace(TWO, size=30)
    shown = show_progress(pip, environment, folder, [ONE, sized], *lines)
    assert shown == [("fetching", n, 100) for n in (0, 0, 40, 70, 70, 100)]
    shown = show_progress(pip, environment, folder, [ONE, TWO], *lines)
    assert shown == [("fetching", n, 0) for n in (0, 0, 40, 70, 70, 100)]


def test_progress_is_shown_while_pip_runs(
    pip: FakePip, environment: Environment, folder: Path
) -> None:
    signal_file = pip.folder / "go on"
    pip.answer(
        "print('Progress 1 of 2', flush=True)\n"
        f"while not pathlib.Path({str(signal_file)!r}).exists(): time.sleep(0.01)\n"
        "put('one-1-py3-none-any.whl')"
    )

    def show(task: str, done: int, total: int) -> None:
        if done:
            signal_file.touch()

    HostPip().fetch([ONE], environment, folder, show)
    assert signal_file.exists()


# what goes wrong


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERROR: first\nERROR: last\n", "last"),
        ("ERROR: it\n   is\n   long\nNext", "it is long"),
        ("error: lower", "lower"),
        ("ERROR: Exception:\nTraceback\n  File\nKeyError: 1", "KeyError: 1"),
        ("no pip here", "no pip here"),
        ("", "exit status 3"),
    ],
)
@pytest.mark.parametrize("task", ["fetch", "build", "install"])
def test_a_failure_is_what_pip_said_last(
    pip: FakePip,
    environment: Environment,
    folder: Path,
    said: str,
    reason: str,
    task: str,
) -> None:
    pip.answer(f"print({said!r}, file=sys.stderr); sys.exit(3)")
    host: Any = HostPip()
    run: dict[str, Callable[[], object]] = {
        "fetch": lambda: host.fetch([ONE], environment, folder, quiet),
        "build": lambda: host.build([ONE], environment, folder, quiet),
        "install": lambda: host.install_projects([ONE], environment),
    }
    with pytest.raises(HostFailed) as caught:
        run[task]()
    assert (
        str(caught.value) == f"pip could not {task} one 1: {reason}; nothing was changed"
    )
    assert "\n".join(caught.value.said).strip() == said.strip()


def test_without_a_pip_beside_us_that_is_said(
    environment: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", none)
    for task in (
        lambda: HostPip().fetch([ONE], environment, folder, quiet),
        lambda: HostPip().install_projects([ONE], environment),
    ):
        with pytest.raises(HostFailed, match=r"there is no pip in .*install one there"):
            task()


def test_a_failure_of_many_counts_them(
    pip: FakePip, environment: Environment, folder: Path
) -> None:
    pip.answer("sys.exit('ERROR: No matching distribution found for three==3')")
    pins = [replace(PLAIN, name=f"p{number}") for number in range(4)]
    with pytest.raises(HostFailed, match=r"fetch 4 distributions: .*--allow-sdist"):
        HostPip().fetch(pins, environment, folder, quiet)


@pytest.mark.parametrize(
    ("requirement", "expected", "said"),
    [
        ("one==1", ["Expected sha256 aa"], "one==1 was refused: one.whl has .* not aa"),
        ("one @ https://h/one.whl", ["Expected sha256 aa", "Expected     or bb"], "of 2"),
    ],
)
def test_another_hash_is_said_to_be_that(
    pip: FakePip,
    environment: Environment,
    folder: Path,
    requirement: str,
    expected: list[str],
    said: str,
) -> None:
    lines = [
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If",
        f"    {requirement} from https://h/one.whl#sha256=cc (from -r r.txt (line 1)):",
        *(f"        {line}" for line in expected),
        "             Got        cc",
        "",
    ]
    pip.answer(f"sys.exit({chr(10).join(lines)!r})")
    with pytest.raises(WrongFile, match=said):
        HostPip().fetch([ONE], environment, folder, quiet)


def test_what_is_no_wheel_is_refused(
    pip: FakePip, environment: Environment, folder: Path
) -> None:
    pip.answer("put('one-1.tar.gz')")
    with pytest.raises(SourceRefused, match=r"one-1\.tar\.gz"):
        HostPip().fetch([ONE], environment, folder, quiet)
    pip.answer("")
    (folder / "one-1.tar.gz").unlink()
    with pytest.raises(HostFailed, match="there is no wheel of one 1"):
        HostPip().fetch([ONE], environment, folder, quiet)


def test_warnings_are_passed_on_once(
    pip: FakePip, environment: Environment, folder: Path
) -> None:
    pip.answer(
        "print('WARNING: yanked\\nWARNING: yanked'); put('one-1-py3-none-any.whl')"
    )
    warned: list[str] = []
    HostPip(warn=warned.append).fetch([ONE], environment, folder, quiet)
    assert warned == ["yanked"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_interrupt_ends_pip_too(
    pip: FakePip,
    environment: Environment,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    stubborn: bool,
) -> None:
    monkeypatch.setattr(host_pip, "_PATIENCE", 0.5 if stubborn else 60)
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    pip.answer(
        f"{ignore if stubborn else ''}import os\nprint('Progress 1 of 2', flush=True)\n"
        f"(folder / 'pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    )

    main = threading.get_ident()

    def interrupt() -> None:
        while not (pip.folder / "pid").exists():
            time.sleep(0.01)
        # to this thread: the others are not waiting for anything
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        HostPip().fetch([ONE], environment, folder, quiet)
    thread.join()
    pid = int((pip.folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_modules_in_the_current_folder_are_not_pip_s(
    environment: Environment,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("this Python has no -P")
    (tmp_path / "pip.py").write_text("import sys; sys.exit('ERROR: not me')")
    monkeypatch.chdir(tmp_path)
    asked = subprocess.run(
        [*host_pip._PYTHON, "--version"], capture_output=True, text=True
    )
    assert "not me" not in asked.stderr
