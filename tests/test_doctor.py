"""Doctor: one finding for each thing that is wrong, and none for what is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commonwheel.environment import Environment, of_interpreter
from commonwheel.files import remove_tree
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.maintenance.doctor import Finding, examine
from commonwheel.maintenance.repair import Sources, carry_out, plan_environment
from commonwheel.store import Store
from wheel_file import write_wheel


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return of_interpreter(folder)


@pytest.fixture
def linked(tmp_path: Path, environment: Environment, store: Store) -> Environment:
    wheels = [
        write_wheel(tmp_path / "wheels", {"one/__init__.py": ""}, "one"),
        write_wheel(tmp_path / "wheels", {"two.py": ""}, "two"),
        write_wheel(tmp_path / "wheels", {"space/three/__init__.py": ""}, "three"),
    ]
    install_wheels([WheelRequest(wheel) for wheel in wheels], environment, store)
    return environment


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def test_nothing_is_wrong_with_a_fresh_environment(environment: Environment) -> None:
    assert examine(environment) == []


def test_nothing_is_wrong_after_linking(linked: Environment) -> None:
    assert examine(linked) == []


def test_a_missing_entry_names_the_distribution_the_entry_and_the_command(
    linked: Environment, store: Store
) -> None:
    (entry,) = (store.root / "entries").glob("two-*")
    remove_tree(entry)
    found = only(examine(linked))
    assert "two 1.0" in found.problem
    assert str(entry) in found.problem
    assert found.mend == f"commonwheel repair {linked.scheme.data}"


def test_an_entry_that_was_written_to(linked: Environment, store: Store) -> None:
    (written,) = (store.root / "entries").glob("two-*/tree/two.py")
    written.chmod(0o644)
    written.write_text("changed")
    found = only(examine(linked))
    assert "two.py is missing or of another size" in found.problem
    assert found.mend == f"commonwheel repair {linked.scheme.data}"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_entry_that_may_not_be_read(
    linked: Environment, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = (store.root / "entries").glob("two-*")
    listing = os.listdir

    def refuse(path: str | Path) -> list[str]:  # root may read everything
        if str(path).startswith(str(entry)):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "listdir", refuse)
    found = only(examine(linked))
    assert "Permission denied" in found.problem
    assert "read access" in found.mend


@pytest.mark.parametrize("name", ["_commonwheel.py", "00_commonwheel.pth"])
def test_a_missing_or_damaged_part_of_the_runtime(
    linked: Environment, store: Store, name: str
) -> None:
    path = linked.scheme.purelib / name
    path.unlink()
    found = examine(linked)
    assert f"{path} is missing" in found[0].problem
    path.write_text("(")
    assert str(path) in examine(linked)[0].problem
    carry_out(plan_environment(linked), linked, store, Sources())  # the mend
    assert examine(linked) == []


def test_a_start_up_file_that_the_interpreter_skips(linked: Environment) -> None:
    # with the same effect as a hidden file, which only macOS has
    site = linked.scheme.purelib
    for compiled in (site / "__pycache__").iterdir():
        compiled.unlink()
    (site / "_commonwheel.py").write_text("raise ImportError")
    assert any("skipped at the start" in each.problem for each in examine(linked))


@pytest.mark.parametrize("content", ["", "commonwheel: 2\n", "commonwheel: 1\nname: x\n"])
def test_a_damaged_manifest(linked: Environment, content: str) -> None:
    path = linked.scheme.purelib / "_commonwheel/links/two.link"
    path.write_text(content)
    found = examine(linked)
    assert f"{path} is damaged" in found[0].problem
    assert found[0].mend == f"commonwheel repair {linked.scheme.data}"


def test_a_distribution_that_is_linked_but_not_installed(linked: Environment) -> None:
    remove_tree(linked.scheme.purelib / "two-1.0.dist-info")
    assert "not listed as installed" in only(examine(linked)).problem


def test_a_script_or_a_file_of_metadata_that_is_gone(linked: Environment) -> None:
    (linked.scheme.purelib / "two-1.0.dist-info/METADATA").unlink()
    assert "two-1.0.dist-info/METADATA is missing" in only(examine(linked)).problem


def test_a_file_of_the_store_that_everybody_can_write_to(linked: Environment) -> None:
    """As ``chmod -R`` of an environment makes it, by a hard link."""
    metadata = linked.scheme.purelib / "two-1.0.dist-info/METADATA"
    assert metadata.stat().st_nlink > 1
    metadata.chmod(0o666)
    found = examine(linked)
    assert "others can write to" in found[0].problem


def test_a_file_with_two_names_in_the_environment_is_not_one_of_the_store(
    linked: Environment,
) -> None:
    """As ``cp -al`` of an environment gives them."""
    metadata = linked.scheme.purelib / "two-1.0.dist-info/METADATA"
    content = metadata.read_bytes()
    metadata.unlink()
    metadata.write_bytes(content)
    metadata.chmod(0o666)
    os.link(metadata, linked.scheme.data / "copy")
    assert examine(linked) == []


def test_an_environment_that_is_reached_by_another_path_is_the_same(
    linked: Environment, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(linked.scheme.data.parent)
    assert examine(of_interpreter(tmp_path / "alias" / linked.scheme.data.name)) == []


def test_a_distribution_that_is_listed_and_not_linked(linked: Environment) -> None:
    """So pip leaves it if it is killed while it uninstalls."""
    site = linked.scheme.purelib
    (site / "_commonwheel/links/two.link").unlink()
    (site / "_commonwheel/view/two.py").unlink()
    found = [each for each in examine(linked) if "listed as installed" in each.problem]
    assert "two" in only(found).problem


@pytest.mark.parametrize("name", ["stage-x", "rescued-x"])
def test_what_a_killed_command_has_left(linked: Environment, name: str) -> None:
    (linked.scheme.purelib / "_commonwheel" / name).mkdir()
    found = only(examine(linked))
    assert "was killed" in found.problem
    assert found.mend.startswith(f"commonwheel repair {linked.scheme.data}")


def test_a_manifest_that_was_installed_over(linked: Environment) -> None:
    record = linked.scheme.purelib / "two-1.0.dist-info/RECORD"
    record.write_text("two.py,,\ntwo-1.0.dist-info/RECORD,,\n")
    assert "left over" in only(examine(linked)).problem


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda view: (view / "one").unlink(), "one 1.0"),
        (lambda view: (view / "space/three").unlink(), "three 1.0"),
        (lambda view: (view / "stray").symlink_to("/nowhere"), "stray belongs to no"),
    ],
)
def test_links_that_are_missing_or_nobody_s(
    linked: Environment, damage: Damage, problem: str
) -> None:
    damage(linked.scheme.purelib / "_commonwheel/view")
    assert problem in only(examine(linked)).problem


def test_an_environment_that_its_store_does_not_know_of(
    linked: Environment, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for note in (store.root / "environments").iterdir():
        note.unlink()
    found = only(examine(linked))
    assert str(store.root) in found.problem
    assert found.mend == f"commonwheel status {linked.scheme.data}"
    # a store that cannot be written cannot be told
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK and access(path, mode)
    )
    assert examine(linked) == []


def test_looking_changes_nothing(tmp_path: Path, linked: Environment) -> None:
    before = sorted((str(p), p.lstat().st_mtime_ns) for p in tmp_path.rglob("*"))
    examine(linked)
    assert sorted((str(p), p.lstat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
