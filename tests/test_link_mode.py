"""Link modes: real files instead of links, and back."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commonwheel import manifest, record, sharing
from commonwheel.apply import Applied, apply, changing
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.errors import (
    CommonwheelError,
    InvalidStore,
    LinkModeUnavailable,
)
from commonwheel.install import link_entries, uninstall
from commonwheel.installation import Request
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.plan import plan_links
from commonwheel.store import Store
from conftest import CACHE_TAG, make_environment
from entries import compiled, make_entry, write
from faults import all_or_nothing
from folders import snapshot

MANIFEST, AUTO, COPY = LinkMode.MANIFEST, LinkMode.AUTO, LinkMode.COPY
REFLINK, HARDLINK = LinkMode.REFLINK, LinkMode.HARDLINK
REAL = [AUTO, HARDLINK, COPY]

Act = Callable[[], object]


@pytest.fixture(autouse=True)
def _no_reflinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on whatever filesystem the tests are run."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(target))

    monkeypatch.setattr(sharing, "reflink", refuse)


def full(store: Path, version: str = "1") -> Entry:
    """An entry with everything that an entry can have."""
    return make_entry(
        store,
        "full",
        {
            "p/__init__.py": version,
            "p/settings.ini": version,
            "p/data/table.csv": version,
            "p/empty.py": "",
            f"only{version}.py": "",
            "full.pth": f"# {version}",
        },
        version,
        scripts={"same": "p:main", f"only-{version}": "p:main"},
        script_files={"own": f"#!python\n{version}"},
        data={f"share/doc/{version}/full.txt": version, "share/same.txt": version},
        headers={"full.h": version},
    )


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return full(tmp_path / "store")


def install(
    environment: Environment, entry: Entry, mode: LinkMode, **options: bool | str
) -> Applied:
    request = replace(Request(entry, mode=mode), **options)  # type: ignore[arg-type]
    with changing(environment):
        return apply(plan_links([request], environment), environment)


RUNTIME = frozenset(
    {
        "lib/site-packages/00_commonwheel.pth",
        "lib/site-packages/_commonwheel.py",
        "lib/site-packages/_commonwheel/lock",
        "lib/site-packages/_commonwheel/view/.commonwheel",
    }
)
"""What stays where there have been links."""


def files_in(root: Path) -> set[tuple[str, str | bytes]]:
    return {
        (path, content)
        for path, (kind, _, content) in snapshot(root).items()
        if kind != "folder" and path not in RUNTIME
    }


# What was chosen


@pytest.mark.parametrize("mode", [MANIFEST, HARDLINK, COPY, AUTO])
def test_those_that_are_named_have_files_of_their_own(mode: LinkMode) -> None:
    choice = LinkChoice(mode, frozenset({"one"}))
    assert (choice.of("one"), choice.of("two")) == (COPY, mode)


def test_a_reflink_is_a_file_of_its_own() -> None:
    assert LinkChoice(REFLINK, frozenset({"one"})).of("one") is REFLINK


def test_where_nobody_has_chosen_the_place_no_mode_has_to_work() -> None:
    real = frozenset({"one"})
    for mode, wanted in ((HARDLINK, AUTO), (REFLINK, AUTO), (COPY, COPY), (AUTO, AUTO)):
        assert LinkChoice(mode, real).anywhere() == LinkChoice(wanted, real)
    assert LinkChoice(MANIFEST, real).anywhere() == LinkChoice(MANIFEST, real)


# What is there then


@pytest.mark.parametrize("mode", REAL)
def test_all_files_are_real_and_nothing_else_is_needed(
    environment: Environment, site: Path, entry: Entry, mode: LinkMode
) -> None:
    install(environment, entry, mode)
    root = environment.scheme.data
    assert not [path for path in root.rglob("*") if path.is_symlink()]
    assert not (site / "_commonwheel/view").exists()
    assert not (site / "_commonwheel.py").exists()
    shutil.rmtree(entry.root)
    assert (site / "p/__init__.py").read_text() == "1"
    assert (site / "p/data/table.csv").read_text() == "1"


def test_what_was_really_used_is_in_the_manifest(
    environment: Environment, site: Path, entry: Entry
) -> None:
    for asked, used in ((AUTO, HARDLINK), (COPY, COPY), (HARDLINK, HARDLINK)):
        done = install(environment, entry, asked)
        assert done.modes == {"full": used}
        assert manifest.read_all(site)["full"].mode is used
    install(environment, entry, MANIFEST)
    assert manifest.read_all(site)["full"].mode is MANIFEST
    assert "mode" not in (site / manifest.path_of("full")).read_text()


def test_what_may_be_edited_is_never_a_hard_link(
    environment: Environment, site: Path, entry: Entry
) -> None:
    install(environment, entry, HARDLINK)
    root = environment.scheme.data
    links = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.stat().st_nlink > 1
    }
    metadata = ("full-1.dist-info/METADATA", "full-1.dist-info/WHEEL")
    shared = ("p/__init__.py", "p/empty.py", "p/data/table.csv", "only1.py", *metadata)
    assert links == {f"lib/site-packages/{path}" for path in shared}


@pytest.mark.parametrize(
    "name",
    [
        *("a.cfg", "a.conf", "a.env", "a.ini", "a.properties", "a.toml", "a.yaml"),
        *("a.yml", ".env"),
    ],
)
def test_nor_is_a_configuration(
    environment: Environment, site: Path, tmp_path: Path, name: str
) -> None:
    files = {f"p/{name}": "old", "p/__init__.py": ""}
    entry = make_entry(tmp_path, "p", files)
    install(environment, entry, HARDLINK)
    (site / "p" / name).write_text("new")
    assert (entry.tree / "p" / name).read_text() == "old"
    assert (site / "p/__init__.py").samefile(entry.tree / "p/__init__.py")


@pytest.mark.parametrize("mode", [AUTO, COPY])
def test_permission_bits_are_those_of_other_files(
    environment: Environment, site: Path, entry: Entry, mode: LinkMode
) -> None:
    """Of the store's, if they are hard links."""
    (entry.tree / "p/__init__.py").chmod(0o444)
    (entry.tree / "p/data/table.csv").chmod(0o555)
    previous = os.umask(0o027)
    try:
        install(environment, entry, mode)
    finally:
        os.umask(previous)
    bits = [
        stat.S_IMODE((site / path).stat().st_mode)
        for path in ("p/__init__.py", "p/data/table.csv", "p/settings.ini")
    ]
    assert bits == {AUTO: [0o444, 0o555, 0o640], COPY: [0o640, 0o751, 0o640]}[mode]


# Bytecode


@pytest.mark.parametrize("mode", REAL)
def test_bytecode_is_checked_against_the_source_in_the_environment(
    environment: Environment, site: Path, entry: Entry, mode: LinkMode
) -> None:
    body = b"x" * 4 + bytes([1, 0, 0, 0]) + b"the hash" + b"code"
    (entry.tree / compiled("p/__init__.py")).write_bytes(body)
    os.utime(entry.tree / "p/__init__.py", (1_600_000_000.7, 1_600_000_000.7))
    install(environment, entry, mode)
    content = (site / compiled("p/__init__.py")).read_bytes()
    assert content == b"xxxx" + struct.pack("<III", 0, 1_600_000_000, 1) + b"code"
    # it is the environment's own
    assert not (site / compiled("p/__init__.py")).samefile(
        entry.tree / compiled("p/__init__.py")
    )


def test_bytecode_is_listed_so_that_it_goes_with_the_rest(
    environment: Environment, site: Path, entry: Entry
) -> None:
    install(environment, entry, COPY)
    rows = list(record.parse((site / "full-1.dist-info/RECORD").read_text()))
    listed = {row.path for row in rows if row.path.endswith(".pyc")}
    sources = ("p/__init__.py", "p/empty.py", "only1.py")
    assert listed == {compiled(path) for path in sources}
    assert rows == sorted(rows)
    assert len({row.path for row in rows}) == len(rows)
    assert {row.path for row in rows} == {
        os.path.relpath(path, site)
        for path in environment.scheme.data.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_bytecode_of_which_the_store_has_none_is_left_out(
    environment: Environment, site: Path, tmp_path: Path
) -> None:
    """As of a source file that cannot be compiled."""
    entry = make_entry(tmp_path, "one", {"one.py": "("}, bytecode=False)
    install(environment, entry, COPY)
    assert not (site / "__pycache__").exists()
    assert CACHE_TAG not in (site / "one-1.0.dist-info/RECORD").read_text()


def test_none_is_written_if_none_is_wanted(
    environment: Environment, site: Path, entry: Entry
) -> None:
    install(environment, entry, COPY, bytecode=False)
    assert not list(site.rglob("*.pyc"))
    assert ".pyc" not in (site / "full-1.dist-info/RECORD").read_text()


# What does not work


@pytest.fixture
def links_refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def refuse(code: int) -> None:
        def link(source: Path, target: Path) -> None:
            raise OSError(code, os.strerror(code), str(source), None, str(target))

        monkeypatch.setattr(os, "link", link)

    return refuse


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EXDEV, "the store is on another filesystem"),
        (errno.EPERM, "Operation not permitted"),
    ],
)
def test_falling_back_to_copies_is_said_once_with_the_reason(
    environment: Environment,
    tmp_path: Path,
    links_refused: Callable[[int], None],
    code: int,
    reason: str,
) -> None:
    links_refused(code)
    entries = [full(tmp_path / "store"), make_entry(tmp_path / "store", "one", {"o": ""})]
    requests = [Request(entry, mode=AUTO) for entry in entries]
    with changing(environment):
        done = apply(plan_links(requests, environment), environment)
    assert list(done.remarks()) == [f"{reason}: copying"]
    assert done.modes == {"full": COPY, "one": COPY}


@pytest.mark.parametrize("mode", [AUTO, COPY, HARDLINK, MANIFEST])
def test_what_works_is_not_said(
    environment: Environment, entry: Entry, mode: LinkMode
) -> None:
    assert list(install(environment, entry, mode).remarks()) == []


@pytest.mark.parametrize("before", [None, MANIFEST, HARDLINK, COPY])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("mode", [REFLINK, HARDLINK])
def test_a_mode_that_was_asked_for_and_does_not_work_changes_nothing(
    environment: Environment,
    entry: Entry,
    links_refused: Callable[[int], None],
    before: LinkMode | None,
    plain: bool,
    mode: LinkMode,
) -> None:
    environment = replace(environment, plain=plain)
    if before is not None:
        install(environment, entry, before)
    links_refused(errno.EXDEV)
    as_it_was = snapshot(environment.scheme.data)
    with pytest.raises(LinkModeUnavailable) as caught:
        install(environment, entry, mode)
    assert snapshot(environment.scheme.data) == as_it_was
    assert caught.value.mode == mode.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_real_files_where_there_are_no_symbolic_links(
    environment: Environment,
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "symlink", refuse)
    store = Store(tmp_path / "store")
    two = make_entry(store.root, "two", {"two.py": ""})
    requests = [Request(full(store.root)), Request(two, mode=COPY)]
    for _ in range(2):
        done = link_entries(requests, environment, store)
        reason = f"no symbolic links on its filesystem ({os.strerror(code)}): real files"
        assert list(done.remarks()) == [reason]
        assert done.modes == {"full": HARDLINK, "two": COPY}
    assert (site / "p/__init__.py").is_file()
    uninstall(["full", "two"], environment)
    assert files_in(environment.scheme.data) == set()


# One mode after another


@pytest.mark.parametrize(
    ("first", "second"), [*itertools.permutations([MANIFEST, HARDLINK, COPY], 2)]
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_nothing_is_left_of_another_mode(
    environment: Environment,
    tmp_path: Path,
    first: LinkMode,
    second: LinkMode,
    version: str,
) -> None:
    store = tmp_path / "store"
    other = make_environment(tmp_path / "other")
    install(other, full(store, version), second)
    install(environment, full(store), first)
    before = snapshot(store)
    install(environment, full(store, version), second)
    root = environment.scheme.data
    assert files_in(root) == files_in(other.scheme.data)
    uninstall(["full"], environment)
    assert files_in(root) == set()
    now = snapshot(store)
    assert {path: now[path] for path in before} == before


@pytest.mark.parametrize("mode", REAL)
def test_the_same_again_is_the_same(
    environment: Environment, entry: Entry, mode: LinkMode
) -> None:
    install(environment, entry, mode)
    before = snapshot(environment.scheme.data)
    install(environment, entry, mode)
    assert snapshot(environment.scheme.data) == before


@pytest.mark.parametrize("mode", REAL)
def test_an_edited_file_goes_with_the_rest(
    environment: Environment, site: Path, entry: Entry, mode: LinkMode
) -> None:
    """By a rename, as editors do it: the store's file is another one then."""
    install(environment, entry, mode)
    (site / "p/new").write_text("edited")
    os.replace(site / "p/new", site / "p/__init__.py")
    uninstall(["full"], environment)
    assert files_in(environment.scheme.data) == set()
    assert (entry.tree / "p/__init__.py").read_text() == "1"


# All or nothing


def fresh(environment: Environment, store: Path, mode: LinkMode) -> Act:
    return lambda: install(environment, full(store), mode)


def an_upgrade(environment: Environment, store: Path, mode: LinkMode) -> Act:
    install(environment, full(store, "1"), mode)
    return lambda: install(environment, full(store, "2"), mode)


def to_links(environment: Environment, store: Path, mode: LinkMode) -> Act:
    install(environment, full(store), mode)
    return lambda: install(environment, full(store), MANIFEST)


def from_links(environment: Environment, store: Path, mode: LinkMode) -> Act:
    install(environment, full(store), MANIFEST)
    return lambda: install(environment, full(store), mode)


def in_a_plain_folder(environment: Environment, store: Path, mode: LinkMode) -> Act:
    plain = replace(environment, plain=True)
    install(plain, full(store, "1"), mode)
    return lambda: install(plain, full(store, "2"), mode)


def a_removal(environment: Environment, store: Path, mode: LinkMode) -> Act:
    install(environment, full(store), mode)
    return lambda: uninstall(["full"], environment)


@pytest.mark.parametrize(
    "operation", [fresh, an_upgrade, to_links, from_links, in_a_plain_folder, a_removal]
)
@pytest.mark.parametrize(
    ("mode", "error"),
    [
        (COPY, OSError(errno.ENOSPC, "No space left on device")),
        (HARDLINK, KeyboardInterrupt()),
    ],
    ids=["error", "interrupt"],
)
def test_all_or_nothing(
    tmp_path: Path,
    operation: Callable[[Environment, Path, LinkMode], Act],
    mode: LinkMode,
    error: BaseException,
) -> None:
    root = tmp_path / "environment"

    def prepare() -> Act:
        environment = make_environment(root)
        write(root, {"bin/python": "", "share/same.txt": "of somebody else"})
        return operation(environment, tmp_path / "store", mode)

    for _ in all_or_nothing(root, prepare, error):
        pass  # it went well all the same


def test_a_folder_that_was_not_there_is_not_left_behind(
    tmp_path: Path, entry: Entry, links_refused: Callable[[int], None]
) -> None:
    environment = make_environment(tmp_path / "there")
    shutil.rmtree(tmp_path / "there")
    links_refused(errno.EXDEV)
    with pytest.raises(LinkModeUnavailable):
        install(replace(environment, plain=True), entry, HARDLINK)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_copy_that_fails_half_way_leaves_nothing(
    environment: Environment, entry: Entry, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    before = snapshot(environment.scheme.data)
    left = iter(range(3))

    def fail(source: int, target: int, count: int) -> int:
        os.write(target, b"half")
        if next(left, None) is None:
            raise OSError(error, os.strerror(error))
        return 0

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(CommonwheelError, match=f"{os.strerror(error)}.*nothing was"):
        install(environment, entry, COPY)
    assert snapshot(environment.scheme.data) == before


def test_what_was_written_to_in_the_store_does_not_spread(
    environment: Environment, site: Path, entry: Entry
) -> None:
    changed = next(entry.tree.rglob("*.py"))
    with open(changed, "a") as file:
        file.write("# edited")
    with pytest.raises(InvalidStore, match=f"{changed.name} of entry .* install again"):
        install(environment, entry, COPY)
    assert not list(site.glob("*"))
