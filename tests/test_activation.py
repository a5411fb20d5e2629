"""Activation: each in a process of its own, which it changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commonwheel import activation, run_place
from commonwheel.store import Store
from wheel_file import write_wheel

BEGIN = """
import importlib.metadata, json, sys, warnings
import commonwheel
from commonwheel.activation import AlreadyImported
from commonwheel.lock_errors import ActivationFailed
"""


@pytest.fixture
def here(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with locks; the store has what they name."""
    monkeypatch.setenv("COMMONWHEEL_STORE", str(store.root))
    monkeypatch.setenv("PYTHONPATH", str(Path(run_place.__file__).parents[1]))
    shadow = {
        "one/__init__.py": "value = 1",
        "colorsys.py": "",
        "start.pth": "import one",
    }
    point = {"entry_points.txt": "[group]\nname = one\n"}
    for version in ("1.0", "2.0"):
        requires = f"Metadata-Version: 2.1\nName: two\nVersion: {version}\n"
        requires += f"Requires-Dist: one=={version}\n"
        for wheel in (
            write_wheel(tmp_path, shadow, "one", version, metadata=point),
            write_wheel(
                tmp_path, {"two.py": ""}, "two", version, metadata={"METADATA": requires}
            ),
        ):
            store.add(wheel, None)
    (tmp_path / "lock.txt").write_text("one==1.0\n")
    (tmp_path / "other.txt").write_text("one==2.0\ntwo==2.0\n")
    (tmp_path / "lacking.txt").write_text("one==1.0\nthree==3.0\n")
    return tmp_path


def run(here: Path, code: str, *flags: str) -> Any:
    """What ``code`` prints, as JSON."""
    command = [sys.executable, *flags, "-c", BEGIN + code]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_lock_names_can_be_imported_and_is_known(here: Path, store: Store) -> None:
    found = run(
        here,
        """
done = commonwheel.activate("lock.txt")
import one, colorsys
points = importlib.metadata.entry_points(group="group")
print(json.dumps([
    done.distributions, importlib.metadata.version("one"), colorsys.__file__,
    one.__file__, sys.path, [str(done.folder), *map(str, done.sites)],
    [point.name for point in points], len(done.already_imported),
]))
""",
    )
    versions, version, colorsys, one, path, places, points, others = found
    assert versions == {"one": "1.0"}
    assert version == "1.0"
    assert one.startswith(places[1])
    assert Path(places[0]).parent == store.runs
    # the standard library comes first, other site-packages come later
    assert "site-packages" not in colorsys
    behind = path[path.index(str(Path(colorsys).parent)) :]
    folders = [each for each in behind if each.endswith("site-packages")]
    assert folders[0] == places[1]
    assert points == ["name"]
    assert others == 0


def test_nothing_of_our_own_is_imported_for_it(here: Path) -> None:
    (here / "packaging.py").write_text("raise SystemExit('of somebody else')")
    code = """
before = {name.partition(".")[0] for name in sys.modules}
commonwheel.activate("lock.txt")
now = {name.partition(".")[0] for name in sys.modules} - before
now = {name for name in now if not name.startswith("_sysconfigdata")}
print(json.dumps(sorted(now - sys.stdlib_module_names)))
"""
    assert run(here, code) == ["_commonwheel", "one"]  # the latter by its start-up file


def test_what_is_there_is_activated_by_nobody_else(here: Path) -> None:
    run(here, "commonwheel.activate('lock.txt'); print(0)")
    code = "from commonwheel import activation; activation._prepare = None\n"
    run(here, code + "commonwheel.activate('lock.txt'); print(0)")


def test_names_are_the_newest_of_the_store_with_what_they_require(here: Path) -> None:
    code = "print(json.dumps(dict(commonwheel.activate({}).distributions)))"
    assert run(here, code.format("'two'")) == {"one": "2.0", "two": "2.0"}
    assert run(here, code.format("['two<2']")) == {"one": "1.0", "two": "1.0"}


def test_the_same_again_does_nothing_and_another_version_is_refused(here: Path) -> None:
    code = """
first = commonwheel.activate("lock.txt")
before = list(sys.path)
again = commonwheel.activate("lock.txt")
try:
    commonwheel.activate("other.txt")
except ActivationFailed as error:
    print(json.dumps([first is again, sys.path == before, str(error)]))
"""
    same, unchanged, said = run(here, code)
    assert same
    assert unchanged
    assert said == (
        "other.txt cannot be activated: one 1.0 is active already (lock.txt), and one"
        " 2.0 is wanted; start another process"
    )


def test_what_was_imported_before_stays_and_is_said(here: Path) -> None:
    (here / "one.py").write_text("value = 0")
    code = """
import one
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    done = commonwheel.activate("lock.txt")
assert sys.modules["one"] is one
print(json.dumps([str(each.message) for each in caught] + list(done.already_imported)))
"""
    warned, told = run(here, code)
    assert warned == told
    assert warned.startswith("another one was imported before (")
    assert warned.endswith("where one 1.0 was activated")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("'lacking.txt'", r"has no three 3.0, and nothing may be fetched: .* offline="),
        ("'gone.txt'", "gone.txt"),
        ("'three'", "three (there is none for this Python)"),
        ("['two', 'one<2']", "one<2 and one==2.0 of two 2.0 (there is 1.0, 2.0)"),
        ("'one two'", "a requirement cannot be 'one two'"),
        ("'lock.txt', extras=['x']", "extra"),
    ],
)
def test_what_cannot_be_activated_says_why(here: Path, what: str, said: str) -> None:
    code = f"""
before = list(sys.path)
try:
    commonwheel.activate({what})
except ActivationFailed as error:
    print(json.dumps([str(error), sys.path == before]))
"""
    error, unchanged = run(here, code)
    for part in said.split(" .* "):
        assert part in error
    assert "\n" not in error
    assert unchanged


def test_processes_that_multiprocessing_spawns_have_it(here: Path) -> None:
    (here / "work.py").write_text(
        """
import commonwheel, json, multiprocessing

def value(_):
    import one
    return one.value

if __name__ == "__main__":
    commonwheel.activate("lock.txt")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps(pool.map(value, [1, 2])))
"""
    )
    command = [sys.executable, "work.py"]
    assert json.loads(subprocess.check_output(command, cwd=here)) == [1, 1]


def test_what_is_a_lock_and_what_a_name(tmp_path: Path) -> None:
    for lock in ("pylock.toml", "requirements.txt", "script.py.lock", "./numpy"):
        assert activation._told(lock) == (lock, [])
    assert activation._told(tmp_path) == (str(tmp_path), [])
    assert activation._told("numpy") == (None, ["numpy"])
    assert activation._told(["numpy", "rich>=13"]) == (None, ["numpy", "rich>=13"])
