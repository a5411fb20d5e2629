"""Status: what an environment links to, who uses a store, and what that saves."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from commonwheel import sharing
from commonwheel.environment import Environment
from commonwheel.files import remove_tree
from commonwheel.frontends.cli import main
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.maintenance.gc import Rules, collect
from commonwheel.maintenance.status import status
from commonwheel.maintenance.store_status import Amount, store_status
from commonwheel.sight import State
from commonwheel.store import Store
from conftest import make_environment
from occupants import HOUR, link, pass_time, state, unlink
from wheel_file import write_wheel

FILES = {
    "sample/__init__.py": "x = 1\n",
    "sample/inner/data.txt": "d" * 1000,
    "sample/inner/__init__.py": "",
    "sample.pth": "# real\n",
    "module.py": "y = 2\n",
}


@pytest.fixture
def linked(tmp_path: Path, environment: Environment, store: Store) -> Environment:
    wheel = write_wheel(tmp_path / "wheels", FILES)
    install_wheels([WheelRequest(wheel)], environment, store)
    return environment


def test_what_is_saved_is_what_copying_and_compiling_would_have_added(
    tmp_path: Path, linked: Environment, store: Store
) -> None:
    (found,) = status(linked).linked
    (tree,) = (store.root / "entries").glob("*/tree")
    inodes = size = 0
    for current, folders, files in os.walk(tree):
        for name in files:
            if name != "sample.pth":
                inodes += 1
                size += os.path.getsize(os.path.join(current, name))
        inodes += len([name for name in folders if name != "__pycache__"])
    # the manifest, the links to `sample` and `module`
    assert found.inodes_saved == inodes - 3
    assert found.bytes_saved == size


def test_a_missing_entry_is_shown_and_saves_nothing(
    linked: Environment, store: Store
) -> None:
    remove_tree(store.root / "entries")
    (found,) = status(linked).linked
    assert not found.present
    assert found.bytes_saved == found.inodes_saved == 0


def test_copied_distributions_are_counted(linked: Environment, site: Path) -> None:
    (site / "Copied-1.0.dist-info").mkdir()
    found = status(linked)
    assert (len(found.linked), found.plain) == (1, 1)


def test_status_changes_nothing(tmp_path: Path, linked: Environment) -> None:
    before = sorted((str(p), p.lstat().st_mtime_ns) for p in tmp_path.rglob("*"))
    status(linked)
    assert sorted((str(p), p.lstat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mode", [LinkMode.HARDLINK, LinkMode.COPY])
def test_real_files_are_shown_with_what_was_really_used(
    tmp_path: Path,
    environment: Environment,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    mode: LinkMode,
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(sharing, "reflink", refuse)
    if mode is LinkMode.COPY:
        monkeypatch.setattr(os, "link", refuse)
    wheel = write_wheel(tmp_path / "wheels", FILES)
    links = LinkChoice(LinkMode.AUTO)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    found = status(environment)
    (one,) = found.linked
    assert (one.name, one.mode, one.present) == ("sample", mode, True)
    assert found.plain == 0
    if mode is LinkMode.COPY:
        assert one.bytes_saved == one.inodes_saved == 0


def test_hard_links_save_what_they_have_in_common_with_the_store(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path / "wheels", {**FILES, "sample/settings.toml": "s" * 50})
    links = LinkChoice(LinkMode.HARDLINK)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    (one,) = status(environment).linked
    shared = [
        path
        for path in environment.scheme.purelib.rglob("*")
        if path.is_file() and path.stat().st_nlink > 1 and "dist-info" not in str(path)
    ]
    assert one.inodes_saved == len(shared) == 4
    assert one.bytes_saved == sum(path.stat().st_size for path in shared)


def test_real_files_without_their_entry_are_whole(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    wheel = write_wheel(tmp_path / "wheels", FILES)
    links = LinkChoice(LinkMode.COPY)
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    remove_tree(store.root / "entries")
    (one,) = status(environment).linked
    assert (one.mode, one.present, one.bytes_saved) == (LinkMode.COPY, False, 0)


class TestStore:
    """Two environments link to one entry, one of them to another, too."""

    @pytest.fixture
    def shared(self, tmp_path: Path, store: Store) -> Store:
        both = write_wheel(tmp_path / "wheels", FILES)
        one = write_wheel(tmp_path / "wheels", {"one.py": "z = 3\n"}, "one")
        for name, wheels in (("a", [both, one]), ("b", [both])):
            environment = make_environment(tmp_path / name)
            install_wheels([WheelRequest(each) for each in wheels], environment, store)
        return store

    def test_what_is_saved_is_what_more_copies_would_take(
        self, tmp_path: Path, shared: Store
    ) -> None:
        found = store_status(shared)
        measured = shared.sizes(shared.identifiers())
        (one,) = (size for name, size in measured.items() if name.startswith("one"))
        (both,) = (size for name, size in measured.items() if name.startswith("sample"))
        assert found.stored == found.used == Amount(2, one[0] + both[0], one[1] + both[1])
        assert (found.bytes_saved, found.inodes_saved) == both
        assert found.free == Amount()
        assert [each.path.name for each in found.environments] == ["a", "b"]
        a, b = found.environments
        assert b.linked == Amount(1, *both)
        assert (a.state, a.missing, a.real) == (State.PRESENT, None, 0)
        assert a.changed == pytest.approx(found.now, abs=60)

    def test_real_files_are_no_copies_that_were_saved(
        self, tmp_path: Path, store: Store, environment: Environment
    ) -> None:
        link(store, environment, "one", mode=LinkMode.COPY)
        found = store_status(store)
        assert found.environments[0].real == 1
        assert found.copies == Amount()
        assert found.used == found.stored
        assert found.bytes_saved == 0

    def test_what_would_be_freed_is_what_is_freed(
        self, tmp_path: Path, shared: Store
    ) -> None:
        shutil.rmtree(tmp_path / "a")
        assert [each.state for each in store_status(shared).environments] == [
            State.GONE,
            State.PRESENT,
        ]
        collect(shared, Rules())
        assert store_status(shared).free == Amount()
        pass_time(shared, 2 * HOUR)
        expected = store_status(shared).free
        (freed,) = collect(shared, Rules()).plan.free
        assert expected == Amount(1, freed.bytes, freed.inodes)
        assert expected.bytes > 0

    def test_it_goes_by_notes_and_changes_nothing(
        self, store: Store, environment: Environment
    ) -> None:
        link(store, environment, "one", "two")  # whose sizes are not noted
        unlink(environment, "two")
        before = state(store.root)
        assert store_status(store).environments[0].linked.entries == 2
        assert state(store.root) == before

    @pytest.mark.parametrize("option", [[], ["--store"]])
    def test_it_is_shown_by_the_folder_or_the_setting(
        self,
        shared: Store,
        option: list[str],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for command in (["status", *option, str(shared.root)], ["status", "--store"]):
            monkeypatch.setenv("COMMONWHEEL_STORE", str(shared.root))
            assert main([*command, "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert told["store"] == str(shared.root)
            assert [each["linked"]["entries"] for each in told["environments"]] == [2, 1]
            assert main(command) == 0
            shown = capsys.readouterr().out
            assert f"{shared.root}: 2 entries, 2 environments" in shown

    def test_a_store_that_is_not_there_is_empty_and_is_not_made(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["status", "--store", str(tmp_path / "none")]) == 0
        assert "0 entries, 0 environments" in capsys.readouterr().out
        assert not (tmp_path / "none").exists()
