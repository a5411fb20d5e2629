"""The registry: which environments hold entries of a store, and if they are there."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonwheel import filesystem, manifest
from commonwheel import registry as registry_module
from commonwheel.custody import Custody, Kind
from commonwheel.environment import Environment, Scheme
from commonwheel.errors import InvalidRegistry, InvalidStore
from commonwheel.link_mode import LinkMode
from commonwheel.manifest import Manifest
from commonwheel.registry import Registry
from commonwheel.root import Root
from commonwheel.sight import State
from commonwheel.store import Store
from conftest import make_environment
from occupants import link, unlink

LINKS = LinkMode.MANIFEST


def at(folder: Path, made: Environment) -> Environment:
    """The environment ``made``, by another path."""
    before = made.scheme
    names = ("purelib", "platlib", "scripts", "headers", "data")
    folders = {
        name: folder / getattr(before, name).relative_to(before.data) for name in names
    }
    return replace(made, scheme=Scheme(**folders))


@pytest.fixture
def registry(store: Store) -> Registry:
    return store.registry


@pytest.fixture
def held(store: Store, environment: Environment) -> list[str]:
    return link(store, environment, "one", "two")


@pytest.fixture
def root(registry: Registry, held: list[str]) -> Root:
    (found,) = registry.roots()
    return found


def test_what_is_remembered_is_found(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    assert root.environment == environment.scheme.data
    assert root.sites == environment.sites
    assert root.filesystem == filesystem.identity(environment.sites[0])
    assert registry.knows(environment)
    assert registry.noted(root) == dict.fromkeys(held, LINKS)


def test_zeros_that_a_power_cut_has_appended_are_no_entries(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    """The file grew and what was written to it was lost: ext4 does that."""
    with open(root.record.with_name(f"{root.id}.entries"), "ab") as file:
        file.write(bytes(40))
    assert registry.noted(root) == dict.fromkeys(held, LINKS)
    registry.remember(environment, [("later", LINKS)])
    assert registry.noted(root) == dict.fromkeys((*held, "later"), LINKS)


def test_an_environment_by_another_path_is_the_same(
    store: Store, environment: Environment, held: list[str], tmp_path: Path
) -> None:
    (tmp_path / "way").symlink_to(environment.scheme.data.parent)
    shutil.rmtree(environment.scheme.data)
    link(store, make_environment(tmp_path / "way" / environment.scheme.data.name), "two")
    assert len(list(store.registry.roots())) == 1


@pytest.mark.parametrize("kind", ["json", "entries"])
@pytest.mark.parametrize("whose", ["a second name", "a link", "writable for all"])
def test_in_a_team_everybody_writes_their_own_record(
    environment: Environment, root: Root, kind: str, whose: str
) -> None:
    shared = Registry(root.record.parent, Custody(Kind.TEAM))
    assert shared.knows(environment)
    path = root.record.with_suffix(f".{kind}")
    before = path.read_bytes()
    if whose == "a second name":
        os.link(path, f"{path}-link")  # nobody can tell whose name that is
    elif whose == "a link":
        path.rename(f"{path}-target")
        path.symlink_to(f"{path}-target")
    else:
        path.chmod(0o666)
    assert not shared.knows(environment)
    shared.remember(environment, [("three", LINKS)])
    assert shared.knows(environment)
    assert path.read_bytes() == before
    (mine,) = {each.id for each in shared.roots()} - {root.id}
    assert mine == f"{root.id}-{os.geteuid()}"


def test_a_record_of_another_environment_is_none_of_this_one(
    registry: Registry, environment: Environment, root: Root, tmp_path: Path
) -> None:
    told = json.loads(root.record.read_text())
    root.record.write_text(json.dumps(told | {"sites": [str(tmp_path / "elsewhere")]}))
    assert not registry.knows(environment)
    registry.remember(environment, [])
    assert json.loads(root.record.read_text())["sites"] == told["sites"]


def test_two_processes_may_note_at_once(
    registry: Registry, environment: Environment, root: Root
) -> None:
    registry.remember(environment, [("three", LinkMode.COPY)])
    Registry(root.record.parent).remember(environment, [("four", LINKS)])
    assert {"three", "four"} < set(registry.noted(root))


def test_one_that_is_there_says_itself_what_it_holds(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    unlink(environment, "one")
    sight = registry.look(root)
    assert (sight.state, sight.entries) == (State.PRESENT, {held[1]: LINKS})
    glance = registry.glance(root)
    assert (glance.state, set(glance.entries)) == (State.PRESENT, set(held))
    registry.settle(root, sight.entries)
    assert registry.noted(root) == sight.entries


def test_what_a_moved_one_has_said_counts_until_it_is_registered(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    site = environment.sites[0]
    for path in root.record.parent.iterdir():
        path.unlink()
    note = root.record.with_name("moved-0123")
    note.write_text(f"{site}\n")
    (said,) = registry.roots()
    for sight in (registry.look(said), registry.glance(said)):
        assert (sight.state, set(sight.entries)) == (State.PRESENT, set(held))
    registry.remember(environment, [(name, LINKS) for name in held])
    (known,) = registry.roots()  # not twice
    assert known.record.suffix == ".json"
    registry.forget(known)
    assert list(registry.roots()) == []


def test_one_that_is_removed_is_gone(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    shutil.rmtree(environment.scheme.data)
    for sight in (registry.look(root), registry.glance(root)):
        assert (sight.state, set(sight.entries)) == (State.GONE, set(held))


def test_one_whose_disk_is_not_there_is_out_of_reach(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    fields = json.loads(root.record.read_text())
    root.record.write_text(json.dumps(fields | {"filesystem": "another"}))
    shutil.rmtree(environment.scheme.data)
    (again,) = registry.roots()
    for sight in (registry.look(again), registry.glance(again)):
        assert (sight.state, set(sight.entries)) == (State.UNREACHABLE, set(held))


def test_one_that_goes_on_under_the_same_path_elsewhere_is_there(
    store: Store, tmp_path: Path
) -> None:
    """Releases, one of which is `current`."""
    current = tmp_path / "current"
    made = make_environment(tmp_path / "1/venv")
    current.symlink_to("1")
    environment = at(current / "venv", made)
    held = link(store, environment, "one")
    shutil.copytree(tmp_path / "1", tmp_path / "2", symlinks=True)
    current.unlink()
    current.symlink_to("2")
    shutil.rmtree(tmp_path / "1")
    (root,) = store.registry.roots()
    for sight in (store.registry.look(root), store.registry.glance(root)):
        assert (sight.state, set(sight.entries)) == (State.PRESENT, set(held))


def test_one_whose_manifests_are_gone_from_below_its_links_is_not_known(
    registry: Registry, environment: Environment, held: list[str], root: Root
) -> None:
    site = environment.sites[0]
    (site / manifest.VIEW).mkdir(exist_ok=True)
    (site / manifest.VIEW / "one.py").symlink_to("/store/entries/one/tree/one.py")
    shutil.rmtree(site / manifest.LINKS)
    sight = registry.look(root)
    assert (sight.state, set(sight.entries)) == (State.UNREADABLE, set(held))


def test_what_is_put_aside_and_back_while_somebody_looks_is_held(
    registry: Registry,
    environment: Environment,
    held: list[str],
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By an uninstallation that fails, or one that takes back and then begins."""
    site = environment.sites[0]
    links, stage = site / manifest.LINKS, site / f"{manifest.ASIDE}1"
    stage.mkdir()
    places = [links / "one.link", stage / "1.1-was"]
    moves: list[int] = []
    steps = itertools.count()

    def move() -> None:
        here, there = places if places[0].exists() else places[::-1]
        here.rename(there)

    def moving(read: Callable[[Path], Iterator[object]]) -> Callable[[Path], object]:
        def move_and_read(site: Path) -> Iterator[object]:
            step = next(steps)
            for _ in range(moves.count(step)):
                move()
            return read(site)

        return move_and_read

    for name in ("read_aside", "read_entries"):
        monkeypatch.setattr(manifest, name, moving(getattr(manifest, name)))
    for place, number in itertools.product(places, range(3)):
        for moments in itertools.combinations_with_replacement(range(4), number):
            if not place.exists():
                move()
            os.utime(links, (0, 0))
            moves, steps = list(moments), itertools.count()
            assert set(registry.look(root).entries) == set(held), (place, moments)


def test_what_another_user_has_put_aside_is_not_passed_over(
    registry: Registry,
    environment: Environment,
    held: list[str],
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stage is private; and whoever collects for a team is not always the superuser."""
    site = environment.sites[0]
    stage = site / f"{manifest.ASIDE}1"
    stage.mkdir(0o700)
    (site / manifest.path_of("one")).rename(stage / "1.1-was")

    def refused(read: Callable[[Any], object]) -> Callable[[Any], object]:
        def refuse(path: Any) -> object:
            if os.fspath(path) == str(stage):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return read(path)

        return refuse

    monkeypatch.setattr(os, "scandir", refused(os.scandir))
    monkeypatch.setattr(os, "listdir", refused(os.listdir))
    sight = registry.look(root)
    assert (sight.state, set(sight.entries)) == (State.UNREADABLE, set(held))


def test_of_a_moved_one_that_cannot_be_asked_nothing_is_known(
    registry: Registry, environment: Environment, root: Root
) -> None:
    """Nothing was noted of it: that it holds nothing would be a guess."""
    site = environment.sites[0]
    said = root.record.with_name("moved-0123456789abcdef")
    said.write_bytes(os.fsencode(site) + b"\n")
    root.record.unlink()
    (moved,) = registry.roots()
    assert registry.look(moved).state is State.PRESENT
    (site / manifest.path_of("one")).write_text("damaged")
    with pytest.raises(InvalidRegistry, match=r"one\.link"):
        registry.look(moved)


@pytest.mark.parametrize("content", ["{", "", '{"format": 1, "sites": "abc"}'])
def test_a_damaged_record_is_written_anew_by_its_environment(
    registry: Registry,
    environment: Environment,
    held: list[str],
    root: Root,
    content: str,
) -> None:
    root.record.write_text(content)
    assert not registry.knows(environment)
    with pytest.raises(InvalidRegistry, match="commonwheel status"):
        list(registry.roots())
    registry.remember(environment, [])
    assert list(registry.roots()) == [root]


def test_everybody_may_read_what_is_needed(
    store: Store, environment: Environment
) -> None:
    before = os.umask(0o077)
    try:
        link(store, environment, "one")
    finally:
        os.umask(before)
    for path in (store.root / "environments").iterdir():
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_filesystem_that_has_another_number_now_is_noted(
    registry: Registry, root: Root
) -> None:
    fields = json.loads(root.record.read_text())
    root.record.write_text(json.dumps(fields | {"filesystem": "another"}))
    (other,) = registry.roots()
    registry.settle(other, registry.look(other).entries)
    assert list(registry.roots()) == [root]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_one_that_cannot_be_looked_at_is_not_gone(
    registry: Registry,
    held: list[str],
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    real = os.stat

    def refuse(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if str(path).startswith(str(root.environment)):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(registry_module.os, "stat", refuse)
    for sight in (registry.look(root), registry.glance(root)):
        assert (sight.state, set(sight.entries)) == (State.UNREADABLE, set(held))
        assert os.strerror(code) in sight.reason


@pytest.mark.parametrize(
    "content",
    [b"", b"commonwheel: 2\nentry: /s/entries/one\n", b"commonwheel: 1\nname: one\n"],
)
def test_one_with_a_damaged_manifest_holds_what_it_held(
    registry: Registry,
    environment: Environment,
    held: list[str],
    root: Root,
    content: bytes,
) -> None:
    path = environment.sites[0] / "_commonwheel/links/one.link"
    path.write_bytes(content)
    sight = registry.look(root)
    assert (sight.state, set(sight.entries)) == (State.UNREADABLE, set(held))
    assert "one.link" in sight.reason


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.json", '{"format": 2}'),
        ("a.json", '{"format": 1, "sites": [], "environment": "/e", "filesystem": "1"}'),
        ("a.json", '{"format": 1, "sites": ["/e"], "environment": "/e"}'),
        ("moved-a", "relative\n"),
        ("moved-a", ""),
    ],
)
def test_a_record_that_cannot_be_understood_is_an_error(
    registry: Registry, root: Root, name: str, content: str
) -> None:
    root.record.with_name(name).write_text(content)
    with pytest.raises(InvalidRegistry, match=name):
        list(registry.roots())


def test_a_record_that_cannot_be_written_is_an_error(
    registry: Registry, environment: Environment, root: Root
) -> None:
    note = root.record.with_name(f"{root.id}.entries")
    note.unlink()
    note.mkdir()
    with pytest.raises(InvalidStore):
        registry.remember(environment, [("three", LINKS)])


def test_the_clock_of_one_that_is_missing(
    registry: Registry, environment: Environment, root: Root
) -> None:
    assert registry.missing_since(root) is None
    registry.note_missing(root)
    since = registry.missing_since(root)
    assert since is not None
    registry.note_present(root)
    assert registry.missing_since(root) is None
    registry.note_missing(root)
    registry.remember(environment, [("three", LINKS)])  # it is there
    assert registry.missing_since(root) is None


def test_what_is_forgotten_leaves_nothing(registry: Registry, root: Root) -> None:
    registry.note_missing(root)
    registry.forget(root)
    assert os.listdir(root.record.parent) == []
    registry.forget(root)


def test_notes_beside_what_an_environment_said_of_itself_are_no_records(
    registry: Registry, environment: Environment, root: Root
) -> None:
    said = root.record.with_name("moved-0123")
    said.write_bytes(os.fsencode(environment.sites[0] / "nothing") + b"\n")
    moved = next(each for each in registry.roots() if each.record == said)
    registry.note_missing(moved)
    assert len(list(registry.roots())) == 2
    registry.forget(moved)
    assert list(registry.roots()) == [root]


def test_a_name_that_is_not_utf_8(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    environment = make_environment(folder)
    link(store, environment, "one")
    (root,) = store.registry.roots()
    assert root.environment == folder
    assert store.registry.look(root).state is State.PRESENT


FOLDERS = st.binary(min_size=1).filter(lambda name: not set(name) & {0, 10, 13, 47})
MODES = st.sampled_from([mode for mode in LinkMode if mode is not LinkMode.AUTO])


@given(name=FOLDERS.filter(lambda name: name != b"."), mode=MODES)
def test_reading_less_of_a_manifest_finds_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: bytes, mode: LinkMode
) -> None:
    entry = Path("/store: /entries", os.fsdecode(name))
    one = Manifest("one", "1.0", entry, "0" * 64, "one-1.0.dist-info", mode)
    site = tmp_path_factory.mktemp("site")
    (site / manifest.LINKS).mkdir(parents=True)
    (site / one.path).write_bytes(manifest.encode(one))
    assert manifest.read_all(site) == {"one": one}
    assert dict(manifest.read_entries(site)) == {entry.name: mode}
