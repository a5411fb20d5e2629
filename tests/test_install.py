"""Install: from wheels to links, all or none."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel import manifest
from commonwheel.environment import Environment
from commonwheel.errors import DuplicateRequest, IncompatibleWheel, InvalidWheel
from commonwheel.install import WheelRequest, install_wheels, uninstall
from commonwheel.store import Store
from folders import shown, snapshot
from wheel_file import change_hash, write_wheel


def test_wheels_become_links(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    one = write_wheel(tmp_path, {"one/__init__.py": "x = 1"}, "one")
    points = "[console_scripts]\ntwo = two:main\n"
    files = {"two.py": "import one\ndef main(): print(one.x)"}
    two = write_wheel(tmp_path, files, "two", metadata={"entry_points.txt": points})
    seen: list[tuple[str, int, int]] = []
    done = install_wheels(
        [
            WheelRequest(one, requested=False),
            WheelRequest(two, direct_url='{"url": "file:///two"}'),
        ],
        environment,
        store,
        progress=lambda *what: seen.append(what),
    )
    site = environment.scheme.purelib
    assert [each.name for each in done.plan.installations] == ["one", "two"]
    assert seen == [("storing", 0, 2), ("storing", 1, 2), ("linking", 2, 2)]
    assert not (site / "one-1.0.dist-info/REQUESTED").exists()
    assert (site / "two-1.0.dist-info/REQUESTED").exists()
    url = site / "two-1.0.dist-info/direct_url.json"
    assert url.read_text() == '{"url": "file:///two"}'
    assert (site / "two-1.0.dist-info/INSTALLER").read_text() == "commonwheel\n"
    script = environment.scheme.scripts / "two"
    output = subprocess.check_output(
        [script], env={"PYTHONPATH": str(site / manifest.VIEW)}, text=True
    )
    assert output == "1\n"
    assert [
        each.name for each in uninstall(["one", "nothing"], environment).plan.removals
    ] == ["one"]
    assert shown(site / manifest.VIEW) == files


def test_all_or_none(environment: Environment, store: Store, tmp_path: Path) -> None:
    wrong = change_hash("two.py")
    paths = [
        write_wheel(tmp_path, {"one.py": ""}, "one"),
        write_wheel(tmp_path, {"two.py": ""}, "two", edit_record=wrong),
    ]
    before = snapshot(environment.scheme.data)
    with pytest.raises(InvalidWheel, match=r"two\.py"):
        install_wheels([WheelRequest(path) for path in paths], environment, store)
    assert snapshot(environment.scheme.data) == before


def test_what_the_name_says_is_refused_before_the_store_is_touched(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    environment = replace(environment, tags=("py3-none-any",))
    right = write_wheel(tmp_path, {"one.py": ""}, "one")
    foreign = write_wheel(tmp_path, {"two.so": ""}, "two", tag="cp27-cp27m-win32")
    newer = write_wheel(tmp_path, {"one.py": ""}, "One", "2.0")
    for paths, error, reason in (
        ([right, foreign], IncompatibleWheel, f"{foreign} is built for cp27-cp27m-win"),
        ([right, newer], DuplicateRequest, f"one is asked for .*: {right} and {newer}"),
        ([right, right], DuplicateRequest, "one is asked for"),
        ([right, tmp_path / "two.whl"], InvalidWheel, "Invalid wheel filename"),
    ):
        with pytest.raises(error, match=reason):
            install_wheels([WheelRequest(path) for path in paths], environment, store)
    assert not store.root.exists()


def test_a_compressed_tag_set_needs_one_that_is_supported(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    environment = replace(environment, tags=("py3-none-any",))
    path = write_wheel(tmp_path, {"one.py": ""}, "one", tag="py2.py3-none-any")
    assert install_wheels([WheelRequest(path)], environment, store).plan.installations


def test_two_processes_in_one_environment(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    """Each plans with what the other has done; both have part in one folder."""
    scheme = environment.scheme
    code = f"""
import sys
from pathlib import Path
from commonwheel.environment import Environment, Scheme
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.store import Store
site = Path({str(scheme.purelib)!r})
scheme = Scheme(site, site, site / "bin", site / "include", site)
this = Environment(Path(sys.executable), {environment.version!r},
    sys.implementation.cache_tag, scheme)
sys.stdin.read()
for _ in range(10):
    install_wheels([WheelRequest(Path(sys.argv[1]))], this, Store({str(store.root)!r}))
"""
    names = ("one", "two", "three")
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", code),
                write_wheel(tmp_path, {"p/__init__.py": "", f"p/{name}.py": ""}, name),
            ],
            stdin=subprocess.PIPE,
        )
        for name in names
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in running] == [0, 0, 0]
    expected = {"p/__init__.py": "", **{f"p/{name}.py": "" for name in names}}
    assert shown(scheme.purelib / manifest.VIEW) == expected
