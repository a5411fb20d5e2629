"""Files that are no wheels: the same verdict everywhere, and nothing left of them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import interpreters
from endurance import fuzz
from environments import Environment, run, store_contents
from wheelhouse import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "tests"))

from hostile_wheels import HOSTILE, Hostile
from zip_file import FILES, archive, streamed, wheel_parts

SECONDS = 120 if os.environ.get("CI") else 10
_ACCEPTED = {
    "a wheel": lambda: archive(wheel_parts()),
    "a streamed wheel": lambda: archive([streamed(part) for part in wheel_parts()]),
    "a large one": lambda: archive(wheel_parts(), large={}),
    "one of 2 GiB": lambda: archive(wheel_parts(), large={}, full=False),
}
_NEEDED = ("packaging", "installer")


@pytest.fixture(scope="module")
def path_of_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What reading wheels needs, for any Python: none of it is compiled."""
    folder = tmp_path_factory.mktemp("needed")
    for name in _NEEDED:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        (folder / name).symlink_to(Path(found.origin).parent)
    return os.pathsep.join((str(CHECKOUT / "src"), str(folder)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    for number, hostile in enumerate(HOSTILE):
        path = root / f"{number:03}" / hostile.file_name
        path.parent.mkdir()
        path.write_bytes(hostile.make())
    for what, make in _ACCEPTED.items():
        path = root / what / HOSTILE[0].file_name
        path.parent.mkdir()
        path.write_bytes(make())
    return root


def test_every_python_has_the_same_verdict(files: Path, path_of_python: str) -> None:
    verdicts: dict[str, dict[str, str]] = {}
    for version in interpreters.VERSIONS:
        command = (
            *(interpreters.require(version), "-S"),
            *(CHECKOUT / "integration/verdicts.py", files),
        )
        answer = run(command, env={**os.environ, "PYTHONPATH": path_of_python})
        verdicts[version] = json.loads(answer.stdout)
    first, *others = verdicts.values()
    for other in others:
        assert other == first
    expected = {f"{n:03}": hostile.rule.value for n, hostile in enumerate(HOSTILE)}
    assert {key: first[key] for key in expected} == expected
    assert {len(first[key]) for key in _ACCEPTED} == {64}


@pytest.mark.parametrize("what", _ACCEPTED)
def test_others_see_the_same_in_what_is_accepted(
    what: str, files: Path, tmp_path: Path
) -> None:
    path = files / what / HOSTILE[0].file_name
    expected = {str(part.name): part.content for part in wheel_parts()}
    for version in interpreters.VERSIONS:
        python, target = interpreters.require(version), tmp_path / version
        run((python, "-m", "zipfile", "-e", path, target))
        assert _contents(target) == expected
    uv = (sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-cache")
    run((*uv, "--target", tmp_path / "uv", path))
    seen = _contents(tmp_path / "uv")
    assert {name: seen[name] for name in FILES} == FILES


def _contents(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


THROUGH_PIP = (
    *("beside the target", "a tar archive too", "a local header with another name"),
    *("another hash", "another case", "a path as entry point", "a script named python"),
    *("a bomb", "a file not in RECORD", "modules as data", "a link"),
    *("another distribution's pip.egg-link", "INSTALLER/x in .dist-info"),
)


@pytest.mark.parametrize("what", THROUGH_PIP)
def test_pip_says_so_in_one_line_and_leaves_nothing(
    what: str, make: Callable[..., Environment], tmp_path: Path
) -> None:
    hostile: Hostile = next(each for each in HOSTILE if each.what == what)
    environment = make()
    path = tmp_path / hostile.file_name
    path.write_bytes(hostile.make())
    before, stored = environment.tree(), store_contents(environment.store)
    answer = environment.install(path, check=False)
    said = answer.stdout + answer.stderr
    assert answer.returncode == 1, said
    assert "Traceback" not in said
    errors = [line for line in answer.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, said
    assert errors[0].endswith(f"[{hostile.rule.value}]") or _by_pip_itself(errors[0])
    assert environment.leftovers(before) == set()
    assert store_contents(environment.store) == stored
    staged = environment.store / "tmp"
    assert not staged.exists() or not list(staged.iterdir())
    assert not list(tmp_path.rglob("tree-evil"))


def _by_pip_itself(error: str) -> bool:
    """Some never get as far as to us."""
    return "has an invalid wheel" in error or "inconsistent" in error


def test_pip_finds_no_egg_that_would_have_it_remove_files_of_the_store(
    make: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make()
    path = tmp_path / HOSTILE[0].file_name
    egg = {
        "sample-0.egg-info/PKG-INFO": b"Name: sample\nVersion: 0\n",
        "sample-0.egg-info/installed-files.txt": b"../p/__init__.py\n../p/data.bin\n",
    }
    path.write_bytes(archive(wheel_parts({**FILES, **egg})))
    before = environment.tree()
    said = environment.install(path)
    assert "sample-0.egg-info is left out" in said.stdout + said.stderr
    assert environment.installed()["sample"] == "1.0"
    stored = store_contents(environment.store)
    environment.pip("uninstall", "-y", "sample")
    assert store_contents(environment.store) == stored
    assert environment.leftovers(before) == set()


def test_limits_can_be_raised_through_pip(
    make: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make()
    path = tmp_path / HOSTILE[0].file_name
    path.write_bytes(archive(wheel_parts({"p/zeros": bytes(200_000)})))
    small = {"COMMONWHEEL_WHEEL_LIMITS": "ratio=5"}
    answer = environment.install(path, check=False, variables=small)
    assert answer.returncode == 1
    assert "[ratio-limit]" in answer.stderr
    assert "into COMMONWHEEL_WHEEL_LIMITS" in answer.stderr
    wrong = {"COMMONWHEEL_WHEEL_LIMITS": "ratio=much"}
    answer = environment.install(path, check=False, variables=wrong)
    assert answer.returncode == 1
    assert "COMMONWHEEL_WHEEL_LIMITS cannot be 'ratio=much'" in answer.stderr
    assert environment.installed().get("sample") is None
    environment.install(path, variables={"COMMONWHEEL_WHEEL_LIMITS": "ratio=1000"})
    assert environment.is_linked("sample")


def test_what_is_odd_is_said_once(
    make: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make()
    path = tmp_path / HOSTILE[0].file_name
    path.write_bytes(archive(wheel_parts({"usercustomize.py": b""})))
    answer = environment.install(path)
    said = answer.stdout + answer.stderr
    assert said.count("usercustomize.py is run by every Python") == 1, said


def test_nothing_is_believed_of_what_somebody_has_damaged() -> None:
    for figure in fuzz.fuzz(inputs=10**9, seconds=SECONDS, seed=os.getpid(), processes=2):
        assert figure.tried > 100 * SECONDS
        assert figure.failed == 0, "see what was printed"
