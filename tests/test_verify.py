"""Verify: everything that is not as recorded is named, once, and with who sees it.

That each kind of damage is found is shown with its repair, in ``test_repair.py``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from commonwheel import files, reading
from commonwheel.bytecode import Compiler
from commonwheel.damage import Fault
from commonwheel.entry import Entry
from commonwheel.environment import Environment
from commonwheel.files import remove_tree
from commonwheel.frontends.cli import main
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.maintenance.verify import verify_environment, verify_store
from commonwheel.store import Store
from conftest import make_environment
from faults import fault
from folders import snapshot
from wheel_file import write_wheel


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    files = {"one/__init__.py": "x = 1", "one/table.txt": "1 2 3"}
    return write_wheel(tmp_path / "wheels", files, "one")


@pytest.fixture
def entry(store: Store, wheel: Path, compiler: Compiler) -> Entry:
    return store.add(wheel, compiler)


def overwrite(path: Path, text: str) -> None:
    """As root does: in place, whatever the permission bits say."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_text(text)
    path.chmod(mode)


def faults(store: Store, *, quick: bool = False) -> dict[str, Fault]:
    found = verify_store(store, quick=quick).findings
    assert len({each.damage.path for each in found}) == len(found), "said twice"
    return {each.damage.path: each.damage.fault for each in found}


def test_how_much_was_verified_is_said(store: Store, entry: Entry) -> None:
    found = verify_store(store)
    everything = snapshot(entry.root).values()
    sizes = [len(content) for kind, _, content in everything if kind == "file"]
    assert found.entries == 1
    assert (found.files, found.size) == (len(sizes), sum(sizes))
    assert not found.findings


def test_all_of_a_chain_is_verified(
    store: Store, entry: Entry, wheel: Path, compiler: Compiler, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    below = other.add(wheel, compiler)
    overwrite(below.tree / "one/table.txt", "4 5 6")
    chain = Store(store.root, other.root)
    (found,) = verify_store(chain).findings
    assert found.damage.place == below.root


def test_bytecode_that_is_being_added_belongs_there(
    store: Store, wheel: Path, compiler: Compiler
) -> None:
    """Whenever the process is killed that adds it, and when the next one has."""
    entry = store.add(wheel, None)
    note = entry.root / "bytecode" / compiler.cache_tag
    for number in itertools.count():
        stopped = stopped_adding(store, entry, compiler, number)
        assert not verify_store(store).findings, f"change {number}"
        if not stopped:
            break
        assert not note.exists()
    assert number > 5
    store.ensure_bytecode(entry, compiler)
    assert not verify_store(store).findings


def test_bytecode_that_was_begun_is_what_it_was_begun_as(
    store: Store, compiler: Compiler, tmp_path: Path
) -> None:
    """Also when it was begun twice, and an interpreter makes other bytes each time."""
    modules = dict.fromkeys(("one/__init__.py", "one/a.py", "one/b/c.py", "b.py"), "")
    entry = store.add(write_wheel(tmp_path / "wheels", modules, "one"), None)
    compile_all = Compiler.compile
    attempts = itertools.count()

    def compile_otherwise(
        self: Compiler, tree: Path, sources: list[str], output: Path
    ) -> None:
        compile_all(self, tree, sources, output)
        attempt = next(attempts)
        for path in output.rglob("*.pyc"):
            path.write_bytes(path.read_bytes() + b"x" * attempt)

    with patch.object(Compiler, "compile", compile_otherwise):
        # late, and then when there is no more than the note
        for number in (each for late in itertools.count(1) for each in (late, 1)):
            stopped = stopped_adding(store, entry, compiler, number)
            assert not verify_store(store).findings, f"change {number}"
            if not stopped:
                break
    assert number > 10
    assert len(list(entry.tree.rglob("*.pyc"))) == len(modules)


def test_a_note_of_what_was_begun_does_not_say_where_to_write(
    store: Store, wheel: Path, compiler: Compiler
) -> None:
    """In a team's store it may be of somebody else than who goes on."""
    entry = store.add(wheel, None)
    planted = b"planted"
    for place in (entry.tree, entry.tree.parent.parent):
        place.chmod(0o755)
        (place / "planted.py").write_bytes(planted)
    digest = hashlib.sha256(planted).hexdigest()
    note = entry.root / f"bytecode/.{compiler.cache_tag}"
    note.write_text(f"2 14\n{digest} planted.py\n{digest} ../../planted.py\n")
    store.ensure_bytecode(entry, compiler)
    assert not (store.root / "tmp/planted.py").exists()
    assert digest not in (entry.root / "bytecode" / compiler.cache_tag).read_text()


def test_damage_in_bytecode_that_was_begun_is_found(
    store: Store, wheel: Path, compiler: Compiler
) -> None:
    """An interpreter loads it, whether or not the rest is ever added."""
    entry = store.add(wheel, None)
    note = entry.root / "bytecode" / compiler.cache_tag
    store.ensure_bytecode(entry, compiler)
    note.rename(note.with_name(f".{note.name}"))  # killed before the last step
    assert not verify_store(store).findings
    (path,) = entry.tree.rglob("*.pyc")
    path.parent.chmod(0o755)
    entry.tree.joinpath("one").chmod(0o700)
    assert not verify_store(store).findings
    overwrite(path, "damaged")
    path.parent.chmod(0o775)
    damaged = path.relative_to(entry.root)
    for quick in (False, True):
        assert faults(store, quick=quick) == {
            str(damaged): Fault.CHANGED,
            str(damaged.parent): Fault.MODE,
        }
    store.ensure_bytecode(entry, compiler)
    assert not verify_store(store).findings


def stopped_adding(store: Store, entry: Entry, compiler: Compiler, number: int) -> bool:
    """Add bytecode, until change ``number`` of the entry; whether there are as many."""
    with (
        fault(entry.root, number, KeyboardInterrupt()) as planned,
        patch.object(files, "_writable", left_open),
        suppress(KeyboardInterrupt),
    ):
        store.ensure_bytecode(entry, compiler)
    return planned.happened


@contextmanager
def left_open(folder: Path, sealed: int) -> Iterator[None]:
    """As of a process that is killed: nothing is put right on the way out."""
    folder.chmod(sealed | stat.S_IWUSR)
    yield
    folder.chmod(sealed)


def test_what_an_environment_takes_from_another_store_is_not_missing_here(
    store: Store, entry: Entry, tmp_path: Path
) -> None:
    other = write_wheel(tmp_path / "wheels", {"two.py": ""}, "two")
    layer = Store(tmp_path / "layer")
    place = make_environment(tmp_path / "place")
    install_wheels([WheelRequest(other)], place, layer)
    chain = Store(store.root, layer.root)
    one = tmp_path / "wheels/one-1.0-py3-none-any.whl"
    install_wheels([WheelRequest(one)], place, chain)
    for each in (store, layer, chain):
        assert verify_store(each).findings == ()


def test_a_leaked_edit_names_the_environments_that_see_it(
    store: Store, entry: Entry, wheel: Path, tmp_path: Path
) -> None:
    modes = {"linked": "manifest", "other": "manifest", "hard": "hardlink"}
    places = {}
    for name, mode in {**modes, "copied": "copy"}.items():
        places[name] = make_environment(tmp_path / name)
        links = LinkChoice(LinkMode(mode))
        install_wheels([WheelRequest(wheel)], places[name], store, links=links)
    # through the link of one of them
    view = places["linked"].scheme.purelib / "_commonwheel/view"
    overwrite(view / "one/table.txt", "3 2 1")
    found = next(
        each
        for each in verify_store(store).findings
        if each.damage.path == "tree/one/table.txt"
    )
    seeing = {str(places[name].scheme.data) for name in modes}
    assert {str(path) for path in found.seen_by} == seeing
    assert all(path in str(found) for path in seeing)
    of_other = verify_environment(places["other"]).findings
    assert found in of_other
    assert found in verify_environment(places["hard"]).findings
    assert not [
        each for each in verify_environment(places["copied"]).findings if each.seen_by
    ]


def test_only_the_entries_of_the_environment_are_verified_with_it(
    store: Store, wheel: Path, entry: Entry, compiler: Compiler, environment: Environment
) -> None:
    other = store.add(write_wheel(wheel.parent, {"two.py": ""}, "two"), compiler)
    install_wheels([WheelRequest(wheel)], environment, store)
    overwrite(other.tree / "two.py", "x")
    assert verify_environment(environment).entries == 1
    assert not verify_environment(environment).findings
    assert verify_store(store).findings


def test_what_environments_hold_has_to_be_there(
    store: Store, wheel: Path, entry: Entry, environment: Environment
) -> None:
    install_wheels([WheelRequest(wheel)], environment, store)
    remove_tree(entry.root)
    (found,) = verify_store(store).findings
    assert (found.damage.place, found.damage.fault) == (entry.root, Fault.MISSING)


def test_what_is_collected_meanwhile_is_not_missing(
    store: Store,
    wheel: Path,
    entry: Entry,
    environment: Environment,
    compiler: Compiler,
) -> None:
    other = store.add(write_wheel(wheel.parent, {"two.py": ""}, "two"), compiler)
    install_wheels([WheelRequest(wheel)], environment, store)

    def collect(task: str, number: int, total: int) -> None:
        for each in (other.root, *gone):
            if each.exists():
                remove_tree(each)

    gone: list[Path] = []
    assert verify_store(store, progress=collect).findings == ()
    gone.append(entry.root)  # which somebody needs
    (found,) = verify_store(store, progress=collect).findings
    assert (found.damage.place, found.damage.fault) == (entry.root, Fault.MISSING)


def test_what_cannot_be_read_is_said_and_the_rest_is_verified(
    store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(entry.tree / "one/table.txt", "3 2 1")
    opened = open

    def refuse(path: str, *args: object, **kwargs: object) -> object:
        if str(path).endswith("tree/one/__init__.py"):
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(reading, "open", refuse, raising=False)
    assert faults(store) == {
        "tree/one/__init__.py": Fault.UNREADABLE,
        "tree/one/table.txt": Fault.CHANGED,
    }


def test_a_damaged_record_of_an_environment_is_a_finding(
    store: Store, wheel: Path, environment: Environment
) -> None:
    install_wheels([WheelRequest(wheel)], environment, store)
    (path,) = store.root.glob("environments/*.json")
    path.write_text("{")
    (found,) = verify_store(store).findings
    assert found.damage.path == f"environments/{path.name}"


def test_verifying_changes_nothing(
    store: Store, wheel: Path, environment: Environment
) -> None:
    install_wheels([WheelRequest(wheel)], environment, store)
    before = snapshot(store.root), snapshot(environment.scheme.data)
    verify_store(store)
    verify_environment(environment)
    assert (snapshot(store.root), snapshot(environment.scheme.data)) == before


@pytest.fixture
def settled(entry: Entry) -> Entry:
    """Made long enough ago for the filesystem's clock to have gone on."""
    made = os.stat(entry.root / "entry.json").st_ctime_ns
    probe = entry.root.parent.parent / "probe"
    while True:
        probe.touch()
        if os.stat(probe).st_ctime_ns > made:
            break
    probe.unlink()
    return entry


def test_quick_reads_nothing_of_what_nobody_wrote_to(
    store: Store, settled: Entry, wheel: Path, environment: Environment
) -> None:
    links = LinkChoice(LinkMode.HARDLINK)  # which change the time of the inode
    install_wheels([WheelRequest(wheel)], environment, store, links=links)
    assert verify_store(store, quick=True).read == 0
    assert verify_store(store).read > 0


def test_quick_sees_what_was_written_to(store: Store, settled: Entry) -> None:
    overwrite(settled.tree / "one/table.txt", "3 2 1")  # of the same size
    assert faults(store, quick=True) == {"tree/one/table.txt": Fault.CHANGED}


def test_quick_sees_what_was_written_to_and_dated_back(
    store: Store, settled: Entry
) -> None:
    path = settled.tree / "one/table.txt"
    before = path.stat()
    overwrite(path, "3 2 1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert faults(store, quick=True) == {"tree/one/table.txt": Fault.CHANGED}


def test_quick_does_not_see_a_hard_link_that_was_written_to_and_dated_back(
    store: Store, settled: Entry, tmp_path: Path
) -> None:
    path = settled.tree / "one/table.txt"
    before = path.stat()
    os.link(path, tmp_path / "link")
    overwrite(tmp_path / "link", "3 2 1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert faults(store, quick=True) == {}
    assert faults(store) == {"tree/one/table.txt": Fault.CHANGED}


def test_bytecode_that_is_just_being_added_is_not_damage(
    store: Store, entry: Entry
) -> None:
    """It is in the tree before the note that names it; whoever adds it has a lock."""
    note = next((entry.root / "bytecode").iterdir())
    text = note.read_bytes()
    note.unlink()
    adding, looked = threading.Event(), threading.Event()

    def add() -> None:
        with store.undisturbed(entry.description.sha256):
            adding.set()
            looked.wait(10)
            note.write_bytes(text)
            note.chmod(0o444)

    thread = threading.Thread(target=add)
    thread.start()
    adding.wait(10)
    threading.Timer(0.3, looked.set).start()
    assert faults(store) == {}
    thread.join()


def test_the_command(
    store: Store, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(store.root)]) == 0
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"{store.root}: 1 entry, ")
    assert err.endswith("verified; nothing is wrong\n")
    overwrite(entry.tree / "one/table.txt", "3 2 1")
    assert main(["verify", "--store", str(store.root)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{entry.root}: tree/one/table.txt was changed\n"
    assert "1 thing is wrong" in err
    assert main(["verify", "--quick", "--json", str(store.root)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["findings"][0]["path"] == "tree/one/table.txt"
    assert told["read"] == 1
