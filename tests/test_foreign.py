"""Folders filled for a Python that is not on this machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging import tags
from packaging.markers import Marker, default_environment

from commonwheel import environment
from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment
from commonwheel.errors import IncompatibleWheel, InvalidEnvironment, InvalidSetting
from commonwheel.foreign import ForeignPython
from commonwheel.frontends.cli import main
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.lock_errors import EditableRefused, NotBuiltHere
from commonwheel.pin import Kind, Pin
from commonwheel.store import Store
from commonwheel.sync import carry_out
from commonwheel.sync_plan import plan_sync
from fake_host import FakeHost
from folders import snapshot
from wheel_file import write_wheel

PI = ForeignPython("3.12", ("manylinux_2_28_aarch64",))
MAC = ForeignPython("3.12", ("macosx_14_0_arm64",))
WINDOWS = ForeignPython("3.12", ("win_amd64",))


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail(f"it has run {args}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def this_python() -> ForeignPython:
    """What would be said on another machine of the interpreter that runs the tests."""
    # what is built here without regard to others says nothing of elsewhere
    best = next(tag for tag in tags.sys_tags() if not tag.platform.startswith("linux_"))
    version = ".".join(map(str, sys.version_info[:3]))
    return ForeignPython(
        version, (best.platform,), tags.interpreter_name(), abis=(best.abi,)
    )


# What it supports


def test_it_supports_what_such_an_interpreter_says_that_it_does() -> None:
    ours = [tag for tag in tags.sys_tags() if not tag.platform.startswith("linux_")]
    assert list(this_python().tags) == ours


def test_its_markers_are_those_of_such_an_interpreter() -> None:
    ours = {**default_environment(), "platform_release": "", "platform_version": ""}
    assert this_python().markers == ours


def test_its_folders_are_those_of_such_an_interpreter(tmp_path: Path) -> None:
    python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    for known, told in (
        (environment.of_target(python, tmp_path), this_python().in_target(tmp_path)),
        (environment.of_prefix(python, tmp_path), this_python().in_prefix(tmp_path)),
    ):
        # some distributions have another folder beside it, `lib64`
        assert told.scheme == replace(known.scheme, platlib=known.scheme.purelib)
        assert told.cache_tag == known.cache_tag
        assert (told.version, told.plain) == (known.version, known.plain)


@pytest.mark.parametrize(
    ("platform", "fitting", "others"),
    [
        (
            "manylinux_2_28_aarch64",
            ["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"],
            ["manylinux_2_29_aarch64", "manylinux_2_28_x86_64", "linux_aarch64"],
        ),
        (
            "manylinux2014_x86_64",
            ["manylinux_2_17_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"],
            ["manylinux_2_18_x86_64", "manylinux_2_17_i686", "musllinux_1_1_x86_64"],
        ),
        ("manylinux_2_39_riscv64", ["manylinux_2_31_riscv64"], ["linux_riscv64"]),
        (
            "musllinux_1_2_x86_64",
            ["musllinux_1_2_x86_64", "musllinux_1_0_x86_64"],
            ["musllinux_1_3_x86_64", "manylinux_2_5_x86_64"],
        ),
        (
            "macosx_14_0_arm64",
            ["macosx_11_0_arm64", "macosx_14_0_universal2", "macosx_10_9_universal2"],
            ["macosx_15_0_arm64", "macosx_11_0_x86_64"],
        ),
        (
            "macosx_10_15_x86_64",
            ["macosx_10_9_x86_64", "macosx_10_9_universal2", "macosx_10_6_intel"],
            ["macosx_11_0_x86_64", "macosx_11_0_arm64"],
        ),
        ("win_amd64", ["win_amd64"], ["win32", "win_arm64"]),
        ("linux_armv7l", ["linux_armv7l"], ["manylinux_2_17_armv7l"]),
    ],
)
def test_wheels_that_work_on_a_platform_fit(
    platform: str, fitting: list[str], others: list[str]
) -> None:
    found = {tag.platform for tag in ForeignPython("3.12", (platform,)).tags}
    assert found >= {*fitting, "any"}
    assert found.isdisjoint(others)


def test_another_platform_of_the_same_machine_can_be_added() -> None:
    python = replace(PI, platforms=(*PI.platforms, "linux_aarch64"))
    assert {*map(str, python.tags)} > {*map(str, PI.tags), "cp312-cp312-linux_aarch64"}


def test_the_abi_is_the_usual_one_unless_it_is_said() -> None:
    def first(version: str, implementation: str = "cp", *abis: str) -> str:
        python = ForeignPython(version, ("win32",), implementation, abis)
        return str(next(iter(python.tags)))

    assert first("3.13.1") == "cp313-cp313-win32"
    assert first("3.13", "cp", "cp313t") == "cp313-cp313t-win32"
    assert first("3.10", "pp") == "pp310-pypy310_pp73-win32"


@pytest.mark.parametrize(
    ("python", "true", "false"),
    [
        (
            PI,
            "platform_machine == 'aarch64' and sys_platform == 'linux'",
            "python_full_version > '3.12.0'",
        ),
        (
            MAC,
            "platform_system == 'Darwin' and platform_machine == 'arm64'",
            "platform_release >= '5'",
        ),
        (
            WINDOWS,
            "os_name == 'nt' and platform_machine == 'AMD64'",
            "'Ubuntu' in platform_version",
        ),
        (
            ForeignPython("3.10.4", ("win32",), "pp"),
            "implementation_name == 'pypy' and python_full_version == '3.10.4'",
            "implementation_version >= '7.3' or os_name == 'posix'",
        ),
    ],
)
def test_markers_follow_from_what_is_said(
    python: ForeignPython, true: str, false: str
) -> None:
    variables = python.markers
    assert variables.keys() == default_environment().keys()
    assert Marker(true).evaluate(variables)
    assert not Marker(false).evaluate(variables)


def test_a_prefix_is_laid_out_as_on_the_system(tmp_path: Path) -> None:
    def site(version: str, platform: str, *abis: str, implementation: str = "cp") -> str:
        python = ForeignPython(version, (platform,), implementation, abis)
        (found,) = python.in_prefix(tmp_path).sites
        return found.relative_to(tmp_path).as_posix()

    assert site("3.12", "win_amd64") == "Lib/site-packages"
    assert site("3.12.1", "macosx_14_0_arm64") == "lib/python3.12/site-packages"
    threaded = site("3.13", "musllinux_1_2_x86_64", "cp313t")
    assert threaded == "lib/python3.13t/site-packages"
    pypy = site("3.10", "win_amd64", implementation="pp")
    assert pypy == "Lib/site-packages"


@pytest.mark.parametrize(
    ("version", "platforms"),
    [
        ("3.8", ["win32"]),
        ("2.7", ["win32"]),
        ("312", ["win32"]),
        ("3.12.x", ["win32"]),
        ("3.12", ["windows"]),
        ("3.12", ["manylinux_2_28"]),
        ("3.12", ["manylinux_3_1_x86_64"]),
        ("3.12", ["macosx_14_0_universal2"]),
        ("3.12", ["win32", "win_amd64"]),
        ("3.12", ["manylinux_2_28_aarch64", "manylinux_2_28_x86_64"]),
    ],
)
def test_what_cannot_be_is_refused(version: str, platforms: list[str]) -> None:
    with pytest.raises(InvalidSetting, match="cannot be '"):
        ForeignPython(version, tuple(platforms))


# What it gets


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    scripts = {"entry_points.txt": "[console_scripts]\nhello = pure:main\n"}
    pure = {"pure.py": "", "pure-1.0.data/scripts/own": "#!python\n"}
    write_wheel(folder, pure, "pure", metadata=scripts)
    for tag in ("cp312-cp312-manylinux_2_17_aarch64", "cp312-cp312-win_amd64"):
        write_wheel(folder, {"fast.py": f"{tag = }"}, "fast", tag=tag, purelib=False)
    return folder


def install(place: Environment, store: Store, wheels: Path, *names: str) -> None:
    requests = [WheelRequest(next(wheels.glob(name))) for name in names]
    install_wheels(requests, place, store)


@pytest.mark.usefixtures("nothing_runs")
def test_ask_05_a_folder_is_filled_without_running_the_python_it_is_for(
    tmp_path: Path, store: Store, wheels: Path
) -> None:
    target = tmp_path / "target"
    install(PI.in_target(target), store, wheels, "pure-*", "fast-*aarch64*")
    assert {path for path, (kind, *_) in snapshot(target).items() if kind == "file"} == {
        *("pure.py", "fast.py", "bin/hello", "bin/own"),
        *(
            f"{name}-1.0.dist-info/{file}"
            for name in ("pure", "fast")
            for file in ("INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL")
        ),
        "pure-1.0.dist-info/entry_points.txt",
    }


def test_what_it_gets_does_not_depend_on_whom_the_store_has_served(
    tmp_path: Path, wheels: Path, compiler: Compiler
) -> None:
    fresh, used = Store(tmp_path / "fresh"), Store(tmp_path / "used")
    entry = used.add(next(wheels.glob("pure-*")), compiler)
    assert list(entry.tree.rglob("*.pyc"))
    found = []
    for store in (fresh, used):
        place = this_python().in_target(tmp_path / "target" / store.root.name)
        assert place.cache_tag == compiler.cache_tag
        install(place, store, wheels, "pure-*")
        found.append(snapshot(place.scheme.data))
    assert found[0] == found[1]


def test_an_entry_that_was_made_for_it_serves_a_python_that_is_here(
    tmp_path: Path,
    store: Store,
    wheels: Path,
    environment: Environment,
    compiler: Compiler,
) -> None:
    install(PI.in_target(tmp_path / "target"), store, wheels, "pure-*")
    install(environment, store, wheels, "pure-*")
    entry = store.add(next(wheels.glob("pure-*")), compiler)
    assert (entry.tree / f"__pycache__/pure.{compiler.cache_tag}.pyc").exists()
    assert [path.name for path in (entry.root / "bytecode").iterdir()] == [
        compiler.cache_tag
    ]


@pytest.mark.parametrize(
    ("program", "line"),
    [
        (None, b"#!/usr/bin/env python3.12\n"),
        ("pypy3", b"#!/usr/bin/env pypy3\n"),
        ("/usr/bin/python3.12", b"#!/usr/bin/python3.12\n"),
    ],
)
def test_scripts_name_the_interpreter_that_they_are_told(
    tmp_path: Path, store: Store, wheels: Path, program: str | None, line: bytes
) -> None:
    python = replace(PI, program=None if program is None else Path(program))
    install(python.in_prefix(tmp_path / "prefix"), store, wheels, "pure-*")
    for name in ("hello", "own"):
        script = tmp_path / "prefix/bin" / name
        assert script.read_bytes().startswith(line)
        assert os.access(script, os.X_OK)


def test_scripts_for_windows_are_programs(
    tmp_path: Path, store: Store, wheels: Path
) -> None:
    python = replace(WINDOWS, program=Path(r"C:\Python312\python.exe"))
    install(python.in_prefix(tmp_path / "prefix"), store, wheels, "pure-*")
    program = (tmp_path / "prefix/Scripts/hello.exe").read_bytes()
    assert program.startswith(b"MZ")
    assert b"#!C:\\Python312\\python.exe\n" in program
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        assert b"from pure import main" in archive.read("__main__.py")


def test_what_does_not_fit_is_refused(tmp_path: Path, store: Store, wheels: Path) -> None:
    said = "which Python 3.12 on manylinux_2_28_aarch64 does not support"
    with pytest.raises(IncompatibleWheel, match=said):
        install(PI.in_target(tmp_path / "target"), store, wheels, "fast-*win*")
    assert not (tmp_path / "target").exists()


def test_a_virtual_environment_here_is_no_folder_for_another_python(
    tmp_path: Path,
) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    with pytest.raises(InvalidEnvironment, match="name no other one"):
        PI.in_target(tmp_path / "lib/python3.12/site-packages")
    PI.in_target(tmp_path / "build")


# Locks


def sync(
    place: Environment, store: Store, wheels: Path, pins: Sequence[Pin]
) -> list[str]:
    host = FakeHost(wheels)
    plan = plan_sync(pins, place, store)
    carry_out(plan, place, store, host)
    return [task for task, _ in host.asked]


@pytest.mark.usefixtures("nothing_runs")
def test_a_lock_fills_a_folder_and_keeps_nothing_else(
    tmp_path: Path, store: Store, wheels: Path
) -> None:
    target = tmp_path / "target"
    place = PI.in_target(target)
    pure, fast = (Pin(name, "1.0", Kind.INDEX) for name in ("pure", "fast"))
    assert sync(place, store, wheels, [pure]) == ["fetch"]
    fast = replace(fast, filename="fast-1.0-cp312-cp312-manylinux_2_17_aarch64.whl")
    assert sync(place, store, wheels, [fast]) == ["fetch"]
    assert sorted(os.listdir(target)) == ["fast-1.0.dist-info", "fast.py"]
    # the store has them by now
    assert sync(place, store, wheels, [pure, fast]) == []
    assert (target / "pure.py").exists()


def test_an_entry_for_another_platform_is_not_used(
    tmp_path: Path, store: Store, wheels: Path
) -> None:
    install(WINDOWS.in_target(tmp_path / "windows"), store, wheels, "fast-*win*")
    pin = Pin("fast", "1.0", Kind.INDEX)
    assert plan_sync([pin], PI.in_target(tmp_path / "pi"), store).fetched == (pin,)
    found = plan_sync([pin], WINDOWS.in_target(tmp_path / "other"), store)
    assert [each for each, _ in found.linked] == [pin]


def test_a_plain_folder_is_given_pip_as_all_others(tmp_path: Path, store: Store) -> None:
    """It needs no store that could be lost."""
    wheels = tmp_path / "wheels"
    write_wheel(wheels, {"pip.py": ""}, "pip")
    place = PI.in_target(tmp_path / "target")
    assert sync(place, store, wheels, [Pin("pip", "1.0", Kind.INDEX)]) == ["fetch"]
    assert (tmp_path / "target/pip.py").exists()
    assert sync(place, store, wheels, []) == []
    assert (tmp_path / "target/pip.py").exists()  # it is never removed


@pytest.mark.parametrize(
    "pin",
    [
        Pin("built", "1.0", Kind.SDIST, "built-1.0.tar.gz"),
        Pin("built", None, Kind.DIRECTORY, location="/project", direct=True),
        Pin("built", None, Kind.DIRECTORY, location="/project", editable=True),
        Pin("built", None, Kind.VCS, location="https://host/built", vcs="git"),
    ],
    ids=lambda pin: f"{pin.kind.value}{' editable' * pin.editable}",
)
def test_nothing_is_built_for_a_python_that_is_not_here(
    tmp_path: Path, store: Store, pin: Pin
) -> None:
    said = "has no wheel for Python 3.12 on manylinux_2_28_aarch64"
    with pytest.raises(NotBuiltHere, match=said):
        plan_sync([pin], PI.in_target(tmp_path), store, allow_sdist=True)


def test_a_project_in_a_plain_folder_is_a_wheel(
    tmp_path: Path, store: Store, environment: Environment
) -> None:
    place = replace(environment, plain=True)
    pin = Pin("project", None, Kind.DIRECTORY, location=str(tmp_path), direct=True)
    plan = plan_sync([pin], place, store)
    assert (plan.built, plan.projects) == ((pin,), ())
    with pytest.raises(EditableRefused):
        plan_sync([replace(pin, editable=True)], place, store)


# The command line

FOREIGN = ("--python-version", "3.12", "--platform", "win_amd64")


@pytest.mark.parametrize("verb", ["install", "sync"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (FOREIGN, "needs --target or --prefix"),
        ((*FOREIGN, "--target=x", "--python=y"), "--python names a Python here"),
        ((*FOREIGN, "--target=x", "--prefix=y"), "not allowed with"),
        (("--python-version=3.12", "--target=x"), "needs --platform"),
        (("--platform=win_amd64", "--target=x"), "--platform needs --python-version"),
        (("--abi=cp312",), "--abi needs --python-version"),
        (("--script-python=py",), "--script-python needs --python-version"),
        (("--implementation=pp",), "--implementation needs --python-version"),
        ((*FOREIGN, "--target=x", "--implementation=jy"), "invalid choice"),
        (("--python-version=2", *FOREIGN[2:], "--target=x"), "cannot be '2'"),
        ((*FOREIGN, "--platform=beos", "--target=x"), "cannot be 'beos'"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    options: Sequence[str],
    said: str,
) -> None:
    lock = tmp_path / "requirements.txt"
    lock.touch()
    with pytest.raises(SystemExit) as stopped:
        main([verb, *options, *([str(lock)] if verb == "sync" else [])])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_sync_builds_nothing_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "requirements.txt").touch()
    lock = str(tmp_path / "requirements.txt")
    with pytest.raises(SystemExit) as stopped:
        main(["sync", *FOREIGN, "--target", str(tmp_path), "--allow-sdist", lock])
    assert stopped.value.code == 2
    assert "--allow-sdist" in capsys.readouterr().err


def test_sync_selects_what_is_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: Path
) -> None:
    monkeypatch.setenv("COMMONWHEEL_STORE", str(tmp_path / "store"))
    urls = {path.name.split("-")[-1]: path.as_uri() for path in wheels.glob("fast*")}
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        f"fast @ {urls['manylinux_2_17_aarch64.whl']} ; platform_machine == 'aarch64'\n"
        f"fast @ {urls['win_amd64.whl']} ; sys_platform == 'win32'\n"
    )
    for platform in ("manylinux_2_28_aarch64", "win_amd64"):
        target = tmp_path / platform
        options = [
            "--python-version=3.12",
            f"--platform={platform}",
            f"--target={target}",
        ]
        assert main(["sync", *options, str(lock)]) == 0
        assert platform.rpartition("_")[2] in (target / "fast.py").read_text()
