"""Applying a plan: completely or not at all."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from commonwheel import apply as apply_module
from commonwheel import files, manifest, rollback
from commonwheel.apply import apply, changing
from commonwheel.entry import Entry
from commonwheel.environment import Environment, Scheme
from commonwheel.errors import ApplyFailed
from commonwheel.installation import RealFile, Request
from commonwheel.link_mode import LinkMode
from commonwheel.plan import plan_links, plan_removal
from commonwheel.view import KEEPER
from conftest import make_environment
from disk import watched
from entries import make_entry, write
from faults import all_or_nothing, killed
from folders import snapshot

Act = Callable[[], None]
Operation = Callable[[Environment, Path], Act]


def install(environment: Environment, *entries: Entry) -> None:
    with changing(environment):
        plan = plan_links([Request(entry) for entry in entries], environment)
        apply(plan, environment)


def uninstall(environment: Environment, *names: str) -> None:
    with changing(environment):
        apply(plan_removal(names, environment), environment)


def full(store: Path, version: str) -> Entry:
    """An entry with everything that an entry can have."""
    return make_entry(
        store,
        "full",
        {"p/__init__.py": version, f"only{version}.py": "", "full.pth": f"# {version}"},
        version,
        scripts={"same": "p:main", f"only-{version}": "p:main"},
        script_files={"own": f"#!python\n{version}"},
        data={f"share/doc/{version}/full.txt": version, "share/same.txt": version},
        headers={"full.h": version},
    )


def a_batch(environment: Environment, store: Path) -> Act:
    two = make_entry(store, "two", {"p/two.py": "", "q/two.py": ""})
    return lambda: install(environment, full(store, "1"), two)


def an_upgrade(environment: Environment, store: Path) -> Act:
    install(environment, full(store, "1"))
    return lambda: install(environment, full(store, "2"))


def a_reinstallation(environment: Environment, store: Path) -> Act:
    install(environment, full(store, "1"))
    return lambda: install(environment, full(store, "1"))


def a_split(environment: Environment, store: Path) -> Act:
    install(environment, full(store, "1"))
    two = make_entry(store, "two", {"p/__init__.py": "2", "p/two.py": ""}, bytecode=False)
    three = make_entry(store, "three", {"p/three.py": ""})
    install(environment, two)
    files = {"only1.py": "override", "q/__init__.py": ""}
    install(environment, make_entry(store, "four", files))
    return lambda: install(environment, three, make_entry(store, "five", {"q/5.py": ""}))


def a_removal(environment: Environment, store: Path) -> Act:
    install(environment, full(store, "1"), make_entry(store, "two", {"p/two.py": ""}))
    return lambda: uninstall(environment, "full")


def an_upgrade_in_two_folders(environment: Environment, store: Path) -> Act:
    """As of Pythons that keep extension modules apart, in ``lib64``."""
    environment = with_platlib(environment)

    def batch(version: str) -> tuple[Entry, ...]:
        of_platform = {"p/__init__.py": version, "q.py": version, "q.pth": version}
        return (
            make_entry(store, "pure", {"pure.py": version}, version),
            make_entry(store, "full", of_platform, version, purelib=False),
        )

    install(environment, *batch("1"))
    return lambda: install(environment, *batch("2"))


def with_platlib(environment: Environment) -> Environment:
    platlib = environment.scheme.data / "lib64/site-packages"
    platlib.mkdir(parents=True)
    return replace(environment, scheme=replace(environment.scheme, platlib=platlib))


_OF_A_CHANGE = re.compile("/(stage|done|rescued)-")
OPERATIONS = [
    *(a_batch, an_upgrade, a_reinstallation, a_split, a_removal),
    an_upgrade_in_two_folders,
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("error", "exchange"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (KeyboardInterrupt(), True),
        (KeyboardInterrupt(), False),
    ],
    ids=["error", "interrupt", "interrupt, no exchange"],
)
def test_all_or_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    error: BaseException,
    exchange: bool,
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_renameat2", None)
    root = tmp_path / "environment"
    for act in all_or_nothing(root, lambda: prepare(operation, tmp_path), error):
        complete = files_in(root)
        act()
        assert files_in(root) == complete


def prepare(operation: Operation, tmp_path: Path) -> Act:
    environment = make_environment(tmp_path / "environment")
    write(
        environment.scheme.data, {"bin/python": "", "share/same.txt": "of somebody else"}
    )
    return operation(environment, tmp_path / "store")


def files_in(root: Path) -> set[tuple[str, str | bytes]]:
    return {
        (path, content)
        for path, (kind, _, content) in snapshot(root).items()
        if kind != "folder" and not _OF_A_CHANGE.search(path)
    }


def what_was_hidden_is_shown_again(environment: Environment, store: Path) -> Act:
    install(environment, make_entry(store, "one", {"x.py": "1"}))
    install(environment, make_entry(store, "two", {"x.py": "2"}))
    return lambda: uninstall(environment, "two")


@pytest.mark.parametrize("operation", [*OPERATIONS, what_was_hidden_is_shown_again])
def test_what_is_put_at_its_place_is_on_the_disk_before(
    tmp_path: Path, operation: Operation
) -> None:
    act = prepare(operation, tmp_path)
    with watched(tmp_path) as disk:
        act()
    assert [path for path in disk.early if not _OF_A_CHANGE.search(str(path))] == []


@pytest.mark.parametrize("operation", [*OPERATIONS, what_was_hidden_is_shown_again])
def test_what_is_touched_is_in_the_journal_on_the_disk_before(
    tmp_path: Path, operation: Operation
) -> None:
    act = prepare(operation, tmp_path)
    site = tmp_path / "environment/lib/site-packages"
    touched: set[Path] = set()
    wrong: list[object] = []

    def look(path: Path) -> None:
        is_ours = path.name in (KEEPER, "lock") or _OF_A_CHANGE.search(str(path))
        if is_ours or not path.is_relative_to(tmp_path / "environment"):
            return
        touched.add(path)
        (journal,) = site.glob("_commonwheel/stage-*/journal")
        kept = disk.kept(journal).splitlines()
        # what was in the way of a folder is put back in its place
        if not noted(kept, site) & {*map(str, (path, *path.parents))}:
            wrong.append(path)
        rows = journal.read_bytes().splitlines()
        wrong.extend(row for row in rows if b'"put"' in row and row not in kept)

    with watched(tmp_path, look) as disk:
        act()
    assert len(touched) > 3
    assert wrong == []


def noted(journal: list[bytes], site: Path) -> set[str]:
    rows = map(json.loads, journal)
    return {os.path.normpath(site / path) for kind, path, _ in rows if kind == "path"}


def test_so_are_other_files_that_are_written(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    path = site / "one.txt"
    with watched(tmp_path) as disk, changing(environment):
        apply_module.write([RealFile(path, content=b"one")], environment)
    assert disk.lost(path) == []
    assert path not in disk.early


def test_what_cannot_be_put_back_is_kept_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = prepare(an_upgrade, tmp_path)

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(apply_module, "_make_known", fail)
    monkeypatch.setattr(rollback, "_original", fail)
    with pytest.raises(ApplyFailed, match="not put back yet") as caught:
        act()
    assert caught.value.kept is not None
    assert list(caught.value.kept.rglob("METADATA"))
    with pytest.raises(ApplyFailed, match="cannot be taken back"):
        act()
    assert list(caught.value.kept.rglob("METADATA"))
    monkeypatch.undo()
    act()
    assert not caught.value.kept.exists()


def test_a_second_interrupt_does_not_stop_taking_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = prepare(an_upgrade, tmp_path)
    before = snapshot(tmp_path / "environment")
    undo = rollback._original
    interrupts = iter(range(3))

    def interrupt(*args: Any) -> Path:
        if next(interrupts, None) is not None:
            raise KeyboardInterrupt
        return undo(*args)

    monkeypatch.setattr(rollback, "_original", interrupt)
    monkeypatch.setattr(apply_module, "_make_known", interrupt)
    with pytest.raises(KeyboardInterrupt):
        act()
    assert snapshot(tmp_path / "environment") == before


def test_upgrade_leaves_nothing_of_the_old_version(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    install(environment, full(tmp_path, "1"))
    install(environment, full(tmp_path, "2"))
    upgraded = snapshot(environment.scheme.data)
    fresh = make_environment(tmp_path / "fresh")
    install(fresh, full(tmp_path, "2"))
    assert upgraded.keys() == snapshot(fresh.scheme.data).keys()
    uninstall(environment, "full")
    left = {path for path, (kind, *_) in snapshot(site).items() if kind != "folder"}
    ours = {"00_commonwheel.pth", "_commonwheel.py"}
    assert left == {*ours, "_commonwheel/lock", "_commonwheel/view/.commonwheel"}


def test_an_environment_without_links_keeps_no_trace(
    environment: Environment, tmp_path: Path
) -> None:
    before = snapshot(environment.scheme.data)
    uninstall(environment, "nothing")
    assert snapshot(environment.scheme.data) == before


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_are_those_that_pip_gives(
    environment: Environment, site: Path, tmp_path: Path, umask: int
) -> None:
    entry = full(tmp_path, "1")
    previous = os.umask(umask)
    try:
        install(environment, entry)
    finally:
        os.umask(previous)
    modes = {path: mode for path, (_, mode, _) in snapshot(site.parent.parent).items()}
    plain = ("share/same.txt", "include/full/full.h", "lib/site-packages/full.pth")
    for path in (*plain, "lib/site-packages/full-1.dist-info/RECORD"):
        assert modes[path] == 0o666 & ~umask, path
    for path in ("bin/same", "bin/own"):
        assert modes[path] == 0o777 & ~umask | 0o111
    for path in ("lib/site-packages/full-1.dist-info", "share/doc", "include/full"):
        assert modes[path] == 0o777 & ~umask


def test_metadata_is_copied_where_it_cannot_be_shared(
    environment: Environment,
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = full(tmp_path / "store", "1")
    install(environment, entry)
    metadata = site / "full-1.dist-info/METADATA"
    assert metadata.samefile(entry.dist_info / "METADATA")

    def refuse(*args: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    install(environment, entry)
    assert not metadata.samefile(entry.dist_info / "METADATA")
    assert metadata.read_bytes() == (entry.dist_info / "METADATA").read_bytes()


def test_what_is_run_is_no_file_of_the_store(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    """Else ``chmod -R`` of one environment would open it to others in all."""
    files = {"one.py": "", "one.pth": "", "p/__init__.py": ""}
    entry = make_entry(tmp_path, "one", files, scripts={"one": "one:x"})
    beside = make_entry(tmp_path, "two", {"p/two.py": ""})
    install(environment, entry, beside)
    for current, _, names in os.walk(site):
        for path in (Path(current, name) for name in names):
            if path.suffix == ".pyc" or path.name == "entry_points.txt":
                assert path.lstat().st_nlink == 1, path
    assert list((site / manifest.VIEW).rglob("*.pyc"))


def test_a_file_does_not_replace_a_folder(
    environment: Environment, tmp_path: Path
) -> None:
    entry = make_entry(tmp_path, "greedy", {"g.py": ""}, data={"lib": ""})
    before = snapshot(environment.scheme.data)
    with pytest.raises(ApplyFailed, match="a folder is there"):
        install(environment, entry)
    assert snapshot(environment.scheme.data) == before


def test_nobody_else_changes_the_environment_meanwhile(environment: Environment) -> None:
    with changing(environment):
        lock = FileLock(environment.scheme.purelib / manifest.FOLDER / "lock")
        with pytest.raises(Timeout):
            lock.acquire(timeout=0)


def test_who_gives_up_waiting_leaves_the_lock_alone(
    environment: Environment, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*args: object, **_: object) -> None:
        raise KeyboardInterrupt

    with changing(environment):
        monkeypatch.setattr(FileLock, "acquire", give_up)
        with pytest.raises(KeyboardInterrupt), changing(environment):
            pass
        assert (site / manifest.FOLDER / "lock").exists()
    assert not (site / manifest.FOLDER).exists()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_killed_process_has_done_is_taken_back_by_the_next(
    tmp_path: Path, operation: Operation
) -> None:
    root = tmp_path / "environment"
    environment = make_environment(tmp_path / "other")
    site = root / "lib/site-packages"
    environment = replace(environment, scheme=make_scheme(root))
    outcomes = set()
    for number in itertools.count():
        act = prepare(operation, tmp_path)
        before = files_in(root)
        if not killed(root, number, act):
            break
        stopped = any(site.glob("_commonwheel/stage-*"))
        # the next one is killed at it, too
        killed(root, number % 11, partial(settle, environment))
        settle(environment)
        if files_in(root) != before:
            assert not stopped
            after = files_in(root)
            act()
            assert files_in(root) == after, f"change {number}"
        outcomes.add((stopped, files_in(root) == before))
        shutil.rmtree(root)
    assert (True, True) in outcomes
    # all was done, but not tidied up
    assert (False, operation is a_reinstallation) in outcomes


def test_also_what_it_was_copying_to_another_filesystem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "environment"
    scripts = str(root / "bin")
    rename = os.rename

    def rename_there(source: Any, target: Any) -> None:
        if str(source).startswith(scripts) != str(target).startswith(scripts):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_there)
    monkeypatch.setattr(files, "_renameat2", None)
    environment = replace(make_environment(tmp_path / "other"), scheme=make_scheme(root))
    copying = 0
    for number in itertools.count():
        act = prepare(a_batch, tmp_path)
        if not killed(root, number, act):
            break
        copying += any((root / "bin").glob(".*"))
        settle(environment)
        assert not any((root / "bin").glob(".*")), f"change {number}"
        shutil.rmtree(root)
    assert copying


def settle(environment: Environment) -> None:
    with changing(environment):
        pass


def make_scheme(root: Path) -> Scheme:
    site = root / "lib/site-packages"
    return Scheme(site, site, root / "bin", root / "include", root)


def kill_before_the_old_is_removed(environment: Environment, tmp_path: Path) -> None:
    """An upgrade, all of which is made known."""
    root = environment.scheme.data
    new = environment.sites[0] / "full-2.dist-info"
    for number in itertools.count(40):
        assert killed(root, number, lambda: install(environment, full(tmp_path, "2")))
        if new.exists():
            return
        settle(environment)


@pytest.mark.parametrize("change", ["uninstalled", "reinstalled", "amended"])
def test_but_not_if_somebody_else_has_changed_what_it_is_about_since(
    environment: Environment, site: Path, tmp_path: Path, change: str
) -> None:
    root = environment.scheme.data
    install(environment, full(tmp_path, "1"))
    kill_before_the_old_is_removed(environment, tmp_path)
    if change != "amended":
        shutil.rmtree(site / "full-2.dist-info")
    if change != "uninstalled":
        write(site / "full-2.dist-info", {"direct_url.json": "{}"})
    now = files_in(root)
    settle(environment)
    assert files_in(root) == now
    (rescued,) = site.glob("_commonwheel/rescued-*")
    assert list(rescued.rglob("METADATA"))
    assert not list(site.glob("_commonwheel/stage-*"))


def test_whatever_else_was_installed_since_stays(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    install(environment, full(tmp_path, "1"), make_entry(tmp_path, "two", {"two.py": ""}))
    before = files_in(environment.scheme.data)
    kill_before_the_old_is_removed(environment, tmp_path)
    write(site, {"three-1.dist-info/RECORD": "", "three.py": ""})
    settle(environment)
    assert {path for path, _ in files_in(environment.scheme.data) - before} == {
        "lib/site-packages/three-1.dist-info/RECORD",
        "lib/site-packages/three.py",
    }
    assert before <= files_in(environment.scheme.data)


@pytest.mark.parametrize("copied", [False, True])
def test_an_environment_that_was_moved_has_its_own_journal(
    environment: Environment, tmp_path: Path, copied: bool
) -> None:
    root = environment.scheme.data
    install(environment, full(tmp_path, "1"))
    before = files_in(root)
    kill_before_the_old_is_removed(environment, tmp_path)
    stopped = files_in(root)
    elsewhere = tmp_path / "elsewhere"
    if copied:
        shutil.copytree(root, elsewhere, symlinks=True)
    else:
        root.rename(elsewhere)
    settle(replace(environment, scheme=make_scheme(elsewhere)))
    if copied:
        assert files_in(root) == stopped
        assert list(elsewhere.glob("lib/site-packages/_commonwheel/rescued-*"))
    else:
        assert files_in(elsewhere) == before


def test_nor_what_somebody_else_has_put_at_a_path_of_the_change_since(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    root = environment.scheme.data
    install(environment, full(tmp_path, "1"))
    for number in itertools.count(40):
        assert killed(root, number, lambda: install(environment, full(tmp_path, "2")))
        if (root / "bin/only-2").exists():
            break
        settle(environment)
    time.sleep(0.05)  # steps of the clock of filesystems
    for name in ("bin/own", "bin/only-2"):
        (root / name).unlink(missing_ok=True)
        write(root, {name: "of somebody else"})
    settle(environment)
    assert not list(site.glob("_commonwheel/stage-*"))
    assert [p.name for p in site.glob("full-*.dist-info")] == ["full-1.dist-info"]
    for name in ("bin/own", "bin/only-2"):
        assert (root / name).read_text() == "of somebody else"
    assert (root / "bin/same").read_bytes() != b""


@pytest.mark.parametrize("by", ["the next", "itself"])
def test_nor_what_somebody_else_has_put_into_a_folder_of_the_change_since(
    environment: Environment,
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    root = environment.scheme.data
    entry = make_entry(
        tmp_path,
        "one",
        {"one/__init__.py": "", "one/sub/x.py": ""},
        data={"share/one/x": "", "share/doc/one/x": ""},
    )

    def others(*_: object) -> None:
        write(root, {"share/two/x": "of two", "share/doc/one/y": "a note"})
        write(site, {"one/sub/__pycache__/x.pypy311.pyc": ""})
        if by == "the next":
            os._exit(0)
        raise OSError(errno.EIO, "Input/output error")

    def act() -> None:
        with changing(environment):
            plan = plan_links([Request(entry, mode=LinkMode.COPY)], environment)
            apply(plan, environment)

    monkeypatch.setattr(apply_module, "_make_known", others)
    if by == "itself":
        with pytest.raises(ApplyFailed):
            act()
    else:
        killed(tmp_path, 1 << 20, act)
    settle(environment)
    assert not list(site.glob("_commonwheel/stage-*"))
    assert not (site / "one").exists()
    assert {path for path, _ in files_in(root)} == {"share/two/x", "share/doc/one/y"}


def test_what_a_killed_process_has_left_is_removed(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    write(site / manifest.FOLDER, {"stage-killed/old/file": "", "rescued-x/file": ""})
    (site / manifest.FOLDER / "stage-killed/old").chmod(0o555)
    install(environment, full(tmp_path, "1"))
    names = {"lock", "links", "view", "rescued-x"}
    assert {path.name for path in (site / manifest.FOLDER).iterdir()} == names
