"""The journal: whoever reads it knows what who wrote it knew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonwheel import manifest
from commonwheel.journal import Journal, identity
from disk import watched
from entries import write


@pytest.fixture
def stage(site: Path) -> Path:
    folder = site / manifest.FOLDER / "stage-x"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def view(site: Path) -> Path:
    return site / manifest.VIEW


@pytest.fixture
def written(stage: Path, site: Path, view: Path, tmp_path: Path) -> Journal:
    """A journal with everything that one can say."""
    scripts = tmp_path / "environment/bin"
    write(site, {"one-1.dist-info/RECORD": "", "p/sub/a.py": "", "Ü\n.py": ""})
    write(scripts, {"tool": ""})
    journal = Journal(stage)
    paths = [site / name for name in ("one-1.dist-info/RECORD", "p/sub/a.py", "Ü\n.py")]
    journal.begin([site], [*paths, scripts / "tool"], [site / "p/sub/a.py"], [view])
    staged, folder = journal.name_for(scripts / "new"), journal.name_for(site / "q")
    staged.write_text("new")
    write(folder, {"sub/b.py": ""})
    journal.will_put({scripts / "new": staged, site / "q": folder})
    journal.will_make_folder(site / "r")
    journal.will_remove_folder(scripts)
    return journal


def said(journal: Journal) -> dict[str, object]:
    """All that a journal says, in its order."""
    kinds = ("own", "was", "numbers", "put", "made", "emptied", "owners")
    fields = {kind: getattr(journal, kind) for kind in kinds}
    assert all(fields.values())
    items = {k: [*v.items()] if isinstance(v, dict) else v for k, v in fields.items()}
    return items | {"stage": journal.stage_inode}


def test_who_reads_it_knows_what_who_wrote_it_knew(written: Journal) -> None:
    assert said(Journal.read(written.stage)) == said(written)


def test_also_where_the_environment_was_moved_to(
    written: Journal, tmp_path: Path
) -> None:
    (tmp_path / "environment").rename(tmp_path / "elsewhere")
    stage = tmp_path / "elsewhere" / written.stage.relative_to(tmp_path / "environment")
    before, after = repr(said(written)), repr(said(Journal.read(stage)))
    assert after == before.replace(f"{tmp_path}/environment", f"{tmp_path}/elsewhere")


def test_a_stage_without_one_says_nothing(stage: Path) -> None:
    assert Journal.read(stage).was == {}


LATE = b'["path", "late", 0]\n'


@pytest.mark.parametrize(
    "rest", [b"", b"\0\0\0\0", b'["path", "x"]\n' + LATE, b'["new", "", 0]\n' + LATE]
)
def test_a_row_that_was_cut_off_ends_it(written: Journal, rest: bytes) -> None:
    """Whatever the power left of it, in the order of what was written."""
    file = written.stage / "journal"
    text = file.read_bytes()
    rows = []
    for length in (*range(0, len(text), 5), len(text)):
        file.write_bytes(text[:length] + rest)
        read = Journal.read(written.stage)
        kinds = (read.was, read.put, read.made, read.emptied, read.owners)
        rows.append(sum(map(len, kinds)))
        assert [*written.was.items()][: len(read.was)] == [*read.was.items()]
        assert read.put.items() <= written.put.items()
    assert rows == sorted(rows)
    assert len({*rows}) == text.count(b"\n") - 1  # but of the stage and the site


def test_keeping_it_waits_until_all_of_it_is_on_the_disk(
    written: Journal, tmp_path: Path
) -> None:
    with watched(tmp_path) as disk:
        written.keep()
        assert disk.lost(written.stage / "journal") == []


def test_folders_may_go_that_something_is_removed_from_but_none_that_holds_the_site(
    stage: Path, site: Path
) -> None:
    scripts = site.parent.parent / "bin"
    write(site, {"p/sub/a.py": "", "b.py": "", "kept/c.py": ""})
    write(scripts, {"tool": ""})
    gone = [site / "p/sub/a.py", site / "b.py", scripts / "tool"]
    journal = Journal(stage)
    journal.begin([site], [*gone, site / "kept/c.py"], gone, ())
    assert {*journal.emptied} == {str(site / "p/sub"), str(site / "p"), str(scripts)}


def test_of_what_lies_behind_a_link_of_the_view_only_the_link_is_noted(
    stage: Path, site: Path, view: Path, tmp_path: Path
) -> None:
    write(tmp_path / "store", {"p/a.py": "", "p/sub/b.py": ""})
    write(view, {"q/c.py": ""})
    (view / "p").symlink_to(tmp_path / "store/p")
    journal = Journal(stage)
    paths = [view / name for name in ("p/a.py", "p/sub/b.py", "p/new/d.py", "q/c.py")]
    journal.begin([site], paths, (), [view])
    noted = [view / "p", view / "q/c.py"]
    assert journal.was == {str(path): path.lstat().st_ino for path in noted}


def test_what_was_there_is_what_was_there_first(stage: Path, site: Path) -> None:
    journal = Journal(stage)
    path = site / "a.py"
    names = [journal.name_for(path), journal.name_aside(path)]
    path.write_text("a")
    names += [journal.name_for(path), journal.name_for(site / "b.py")]
    assert journal.was[str(path)] == 0
    assert Journal.read(stage).was == journal.was
    assert len({*names}) == 4
    numbers = [name.name.split(".")[0] for name in names]
    assert numbers == ["0", "0", "0", "1"]


def test_whatever_is_in_a_folder_that_is_put_is_known_there(
    written: Journal, site: Path
) -> None:
    folders, file = (str(site / "q"), str(site / "q/sub")), str(site / "q/sub/b.py")
    assert [each for each in written.made if each in folders] == [*folders]
    assert written.was[file] == 0
    (staged,) = written.stage.rglob("b.py")
    assert written.put[file] == identity(str(staged), staged)


def test_ours_alone_is_metadata_and_what_is_in_our_folder_of_each_site(
    stage: Path, site: Path
) -> None:
    platlib = site.parent.parent / "lib64/site-packages"
    journal = Journal(stage)
    journal.begin([site, platlib], (), (), ())
    for folder in (site, platlib):
        ours = ("_commonwheel/view/p", "_commonwheel/links", "two-1.dist-info")
        assert all(journal.is_ours(str(folder / each)) for each in ours)
        others = ("p", "_commonwheel.py", "two-1.dist-info/RECORD")
        assert not any(journal.is_ours(str(folder / each)) for each in others)


@pytest.mark.parametrize("edit", ["content", "time", "replaced", "none"])
def test_a_file_that_was_edited_is_another_one(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    os.utime(path, ns=(0, 10**18))
    before = identity(str(path), path)
    if edit == "content":
        path.write_text("longer")
        os.utime(path, ns=(0, 10**18))
    elif edit == "time":
        os.utime(path, ns=(0, 10**18 + 1))
    elif edit == "replaced":
        (tmp_path / "b").write_text("two")
        os.utime(tmp_path / "b", ns=(0, 10**18))
        (tmp_path / "b").replace(path)
    assert (identity(str(path), path) != before) is (edit != "none")


@pytest.mark.parametrize(
    ("name", "is_another"), [("one-1.dist-info", True), ("p", False)]
)
def test_a_folder_that_something_was_added_to_is_another_one_if_it_is_metadata(
    tmp_path: Path, name: str, is_another: bool
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    os.utime(folder, ns=(0, 10**18))
    before = identity(str(folder), folder)
    (folder / "direct_url.json").touch()
    assert (identity(str(folder), folder) != before) is is_another
