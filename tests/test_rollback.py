"""Rollback: what a change has done is undone, and nothing that somebody else has."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commonwheel import files, manifest, rollback
from commonwheel.journal import Journal
from commonwheel.steps import Steps
from entries import write
from folders import snapshot


@pytest.fixture
def root(site: Path) -> Path:
    """An environment, with a folder of ours."""
    (site / manifest.VIEW).mkdir(parents=True)
    return site.parent.parent


@pytest.fixture
def journal(site: Path, root: Path) -> Journal:
    stage = site / manifest.FOLDER / "stage-x"
    stage.mkdir()
    return Journal(stage)


def take_back(journal: Journal) -> None:
    """As the next process does, which finds nothing but the stage."""
    found = Journal.read(journal.stage)
    assert rollback.is_of_now(found)
    rollback.take_back(found)
    shutil.rmtree(journal.stage)


def put(journal: Journal, path: Path, content: str) -> None:
    """Put a file at its place, as a change does."""
    staged = journal.name_for(path)
    staged.write_text(content)
    journal.will_put({path: staged})
    steps = Steps(journal)
    steps.make_folder(path.parent)
    steps.put(staged, path)


class TestOfNow:
    """Nobody else has changed what it is about."""

    @pytest.fixture
    def metadata(self, site: Path, journal: Journal) -> Path:
        """Of a distribution in which a file is amended, as it is of another one, too."""
        folder = site / "one-1.dist-info"
        write(folder, {"RECORD": "old"})
        journal.begin([site], [folder / "RECORD"], (), ())
        put(journal, folder / "RECORD", "amended")
        return folder

    def is_of_now(self, journal: Journal) -> bool:
        return rollback.is_of_now(Journal.read(journal.stage))

    def test_if_it_is_as_it_was_left(
        self, root: Path, metadata: Path, journal: Journal
    ) -> None:
        assert self.is_of_now(journal)
        take_back(journal)
        assert (metadata / "RECORD").read_text() == "old"

    @pytest.mark.parametrize("by", ["another version", "the same again", "nothing"])
    def test_not_if_what_was_amended_is_replaced(
        self, metadata: Path, journal: Journal, tmp_path: Path, by: str
    ) -> None:
        metadata.rename(tmp_path / "removed")  # its inode is not used again yet
        if by != "nothing":
            version = 2 if by == "another version" else 1
            write(metadata.with_name(f"one-{version}.dist-info"), {"RECORD": "new"})
        assert not self.is_of_now(journal)

    def test_what_somebody_else_has_amended_since_stays(
        self, metadata: Path, journal: Journal
    ) -> None:
        write(metadata, {"RECORD.new": "amended by somebody else"})
        (metadata / "RECORD.new").replace(metadata / "RECORD")
        take_back(journal)
        assert (metadata / "RECORD").read_text() == "amended by somebody else"

    def test_not_if_somebody_else_installs_the_same_since(
        self, site: Path, journal: Journal
    ) -> None:
        """Stopped when nothing of it was known yet."""
        metadata = site / "one-1.dist-info"
        journal.begin([site], [metadata], (), ())
        staged = journal.name_for(metadata)
        write(staged, {"METADATA": ""})
        journal.will_put({metadata: staged})
        assert self.is_of_now(journal)
        write(metadata, {"METADATA": "of somebody else"})
        assert not self.is_of_now(journal)

    @pytest.mark.parametrize("change", ["time", "RECORD", "direct_url.json"])
    def test_not_if_metadata_is_changed_of_which_its_time_says_nothing(
        self, site: Path, journal: Journal, change: str
    ) -> None:
        """XFS sets it when folders are exchanged."""
        metadata = site / "one-1.dist-info"
        write(metadata, {"RECORD": "old"})
        journal.begin([site], [metadata], (), ())
        staged = journal.name_for(metadata)
        write(staged, {"RECORD": "new"})
        journal.will_put({metadata: staged})
        Steps(journal).put(staged, metadata)
        if change != "time":
            write(metadata, {change: "of somebody else"})
        os.utime(metadata, ns=(1, 1))
        assert self.is_of_now(journal) == (change == "time")

    @pytest.mark.parametrize("copied", [True, False])
    def test_not_if_the_stage_was_copied_which_moving_does_not(
        self, site: Path, root: Path, journal: Journal, tmp_path: Path, copied: bool
    ) -> None:
        """Whatever it is about: inodes say nothing of what is in a copy."""
        write(site, {"one.pth": "old"})
        journal.begin([site], [site / "one.pth"], (), ())
        put(journal, site / "one.pth", "new")
        there = tmp_path / "there"
        if copied:
            shutil.copytree(root, there, symlinks=True)
        else:
            root.rename(there)
        found = Journal.read(there / journal.stage.relative_to(root))
        assert rollback.is_of_now(found) is not copied
        assert rollback.has_kept(found)


def test_what_was_there_is_there_again_and_going_back_twice_is_the_same(
    site: Path, root: Path, journal: Journal
) -> None:
    write(site, {"a.py": "a", "p/b.py": "b", "p/q/c.py": "c"})
    before = snapshot(root, without=("stage-x",))
    paths = [site / name for name in ("a.py", "p/b.py", "p/q/c.py", "new/d.py")]
    journal.begin([site], paths, paths[1:3], ())
    put(journal, paths[0], "changed")
    put(journal, paths[3], "new")
    steps = Steps(journal)
    steps.remove(paths[1:3])
    steps.prune()
    assert not (site / "p").exists()
    for _ in range(2):
        rollback.take_back(Journal.read(journal.stage))
        assert snapshot(root, without=("stage-x",)) == before


def test_folders_that_are_made_again_have_the_permission_bits_they_had(
    site: Path, root: Path, journal: Journal
) -> None:
    path = root / "share/doc/one/x"
    write(root, {"share/doc/one/x": ""})
    for folder, mode in zip(path.parents, (0o1777, 0o750, 0o705), strict=False):
        folder.chmod(mode)
    before = snapshot(root / "share")
    journal.begin([site], [path], [path], ())
    steps = Steps(journal)
    steps.remove([path])
    steps.prune()
    assert not (root / "share").exists()
    umask = os.umask(0o077)
    try:
        take_back(journal)
    finally:
        os.umask(umask)
    assert snapshot(root / "share") == before


@pytest.mark.parametrize("name", ["p/a.py", "p/new.py"])
def test_a_link_in_the_way_of_a_folder_is_put_back_though_the_power_was_cut(
    site: Path, root: Path, journal: Journal, tmp_path: Path, name: str
) -> None:
    """Of the journal what was foreseen is on the disk then, and may be all that is."""
    view = site / manifest.VIEW
    write(tmp_path / "store", {"p/a.py": "a"})
    (view / "p").symlink_to(tmp_path / "store/p")
    before = snapshot(tmp_path, without=("stage-x",))
    journal.begin([site], [view / name], (), [view])
    foreseen = (journal.stage / "journal").read_bytes()
    steps = Steps(journal)
    steps.move_aside(view / "p")
    steps.make_folder(view / "p")
    steps.will_make(view / name)
    (view / name).symlink_to(tmp_path / "store/p/a.py")
    (journal.stage / "journal").write_bytes(foreseen)
    take_back(journal)
    assert snapshot(tmp_path) == before


class TestAnotherFilesystem:
    """Nothing can be renamed to where scripts are: it is copied, and has other inodes."""

    @pytest.fixture
    def scripts(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        there = root / "bin"
        there.mkdir()
        rename, lstat = os.rename, os.lstat

        def is_there(path: Any) -> bool:
            return str(path).startswith(str(there))

        def rename_there(source: Any, target: Any) -> None:
            if is_there(source) != is_there(target):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            rename(source, target)

        def lstat_there(path: Any, **options: Any) -> Any:
            status = lstat(path, **options)
            if not is_there(path) or not stat.S_ISREG(status.st_mode):
                return status
            names = [name for name in dir(status) if name.startswith("st_")]
            of_file = {name: getattr(status, name) for name in names}
            # as of ext4: what is copied there has the inode of what it takes the place of
            again = {"st_dev": status.st_dev + 1, "st_ino": len(os.path.basename(path))}
            return SimpleNamespace(**of_file | again)

        monkeypatch.setattr(os, "rename", rename_there)
        monkeypatch.setattr(os, "lstat", lstat_there)
        monkeypatch.setattr(files, "_renameat2", None)
        yield there
        monkeypatch.undo()

    def test_what_was_put_there_is_known_again(
        self, site: Path, journal: Journal, scripts: Path
    ) -> None:
        (scripts / "old").write_text("old")
        journal.begin([site], [scripts / "new", scripts / "old"], (), ())
        put(journal, scripts / "new", "new")
        put(journal, scripts / "old", "changed")
        assert (scripts / "old").read_text() == "changed"
        take_back(journal)
        assert [each.name for each in scripts.iterdir()] == ["old"]
        assert (scripts / "old").read_text() == "old"

    def test_what_somebody_else_has_put_there_since_stays(
        self, site: Path, journal: Journal, scripts: Path
    ) -> None:
        journal.begin([site], [scripts / "new"], (), ())
        put(journal, scripts / "new", "new")
        (scripts / "new").write_text("of somebody else")
        take_back(journal)
        assert (scripts / "new").read_text() == "of somebody else"

    def test_what_was_copied_when_it_was_stopped_goes(
        self, site: Path, journal: Journal, scripts: Path
    ) -> None:
        journal.begin([site], [scripts / "new"], (), ())
        write(scripts, {f"{journal.copying}0123/copy": "", ".of-others/copy": ""})
        take_back(journal)
        assert [each.name for each in scripts.iterdir()] == [".of-others"]


def test_what_had_to_be_copied_aside_is_known_by_its_name(
    site: Path, journal: Journal
) -> None:
    """It has another inode; and what was to take its place lies there, too."""
    path = site / "a.py"
    path.write_text("old")
    journal.begin([site], [path], (), ())
    journal.name_for(path).write_text("new")
    shutil.copy2(path, journal.name_aside(path))
    path.unlink()
    take_back(journal)
    assert path.read_text() == "old"


def test_what_was_not_touched_is_left_on_another_filesystem(
    site: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As files of an overlay are, of several ones: its folders are on none of them."""
    link = site / manifest.VIEW / "p"
    link.symlink_to("old")
    journal.begin([site], [link], (), ())
    staged = journal.name_for(link)
    staged.symlink_to("new")
    journal.will_put({link: staged})
    lstat = os.lstat

    def on_another(path: Any, **options: Any) -> Any:
        status = lstat(path, **options)
        if str(path) != str(link):
            return status
        names = [name for name in dir(status) if name.startswith("st_")]
        values = {name: getattr(status, name) for name in names}
        return SimpleNamespace(**values | {"st_dev": status.st_dev + 1})

    monkeypatch.setattr(os, "lstat", on_another)
    take_back(journal)
    assert os.readlink(link) == "old"


def test_what_was_copied_aside_and_removed_in_part_only_is_whole_again(
    site: Path, journal: Journal
) -> None:
    folder = site / "one-1.dist-info"
    write(folder, {"METADATA": "1", "RECORD": "2"})
    before = snapshot(site, without=("stage-x",))
    journal.begin([site], [folder], (), ())
    shutil.copytree(folder, journal.name_aside(folder))
    (folder / "METADATA").unlink()
    take_back(journal)
    assert snapshot(site) == before


def test_what_somebody_else_has_removed_is_not_made_of_something_else(
    site: Path, journal: Journal
) -> None:
    (site / "a.py").write_text("old")
    journal.begin([site], [site / "a.py"], (), ())
    (site / "a.py").unlink()
    take_back(journal)
    assert not (site / "a.py").exists()


def test_what_was_compiled_of_new_files_meanwhile_goes_with_them(
    site: Path, journal: Journal
) -> None:
    paths = [site / name for name in ("p/a[1].py", "q/b.py")]
    journal.begin([site], paths, (), ())
    for path in paths:
        put(journal, path, "")
    compiled = {"p/__pycache__/a[1].cpython-311.pyc": "", "q/__pycache__/b.pypy.pyc": ""}
    write(site, compiled | {"q/__pycache__/other.pypy.pyc": ""})
    take_back(journal)
    assert not (site / "p").exists()
    assert [each.name for each in site.rglob("*.pyc")] == ["other.pypy.pyc"]


def test_what_can_be_put_back_is_though_something_else_cannot(
    site: Path, root: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a.py", "b.py", "c.py")
    write(site, dict.fromkeys(names, "old"))
    before = snapshot(root, without=("stage-x",))
    journal.begin([site], [site / name for name in names], (), ())
    Steps(journal).remove(site / name for name in names)

    def move(source: Path, target: Path, *options: str) -> None:
        if target.name == "b.py":
            raise OSError(errno.EIO, "Input/output error")
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files, "move", move)
        with pytest.raises(OSError, match="Input/output"):
            rollback.take_back(Journal.read(journal.stage))
    assert [(site / name).exists() for name in names] == [True, False, True]
    take_back(journal)
    assert snapshot(root) == before


@pytest.mark.parametrize("how", ["aside", "swapped", "nothing"])
def test_something_is_kept_if_something_was_there(
    site: Path, journal: Journal, how: str
) -> None:
    path = site / "a.py"
    if how != "nothing":
        path.write_text("old")
    journal.begin([site], [path], (), ())
    if how == "aside":
        Steps(journal).remove([path])
    else:
        put(journal, path, "new")
    assert rollback.has_kept(Journal.read(journal.stage)) is (how != "nothing")
