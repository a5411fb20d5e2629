"""Repair: whatever is damaged is found by verify, mended by repair, and right then."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from commonwheel import manifest
from commonwheel.bytecode import Compiler
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import InvalidEnvironment
from commonwheel.files import remove_tree
from commonwheel.frontends.cli import main
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.maintenance.mending import interpreter
from commonwheel.maintenance.mending.plan import Outcome, RepairPlan
from commonwheel.maintenance.mending.sources import Sources
from commonwheel.maintenance.repair import carry_out, plan_environment, plan_store
from commonwheel.maintenance.verify import verify_environment, verify_store
from commonwheel.store import Store
from fake_host import FakeHost
from folders import snapshot
from wheel_file import write_wheel


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment, wheels, and a store with their entries; to be copied."""
    root = tmp_path_factory.mktemp("made")
    venv = [sys.executable, "-m", "venv", "--without-pip", root / "venv"]
    subprocess.run(venv, check=True)
    store, python = Store(root / "store"), of_interpreter(root / "venv")
    compiler = Compiler(python.python, python.cache_tag)
    write_wheels(root / "wheels")
    for wheel in (root / "wheels").iterdir():
        store.add(wheel, compiler)
    store.bytecode_of_runtime(compiler)
    return root


@pytest.fixture
def environment(made: Path, tmp_path: Path) -> Environment:
    shutil.copytree(made / "venv", tmp_path / "venv", symlinks=True)
    for path in (tmp_path / "venv/bin").glob("activate*"):  # as if made here
        text = path.read_text().replace(str(made / "venv"), str(tmp_path / "venv"))
        path.write_text(text)
    return of_interpreter(tmp_path / "venv")


@pytest.fixture
def wheels(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "wheels", tmp_path / "wheels")


def write_wheels(folder: Path) -> None:
    write_wheel(
        folder,
        {
            "one/__init__.py": "x = 1",
            "one/table.txt": "1 2 3",
            "one.pth": "import sys\n",
            "one-1.0.data/scripts/one-script": "#!python\nimport one\n",
            "one-1.0.data/data/share/one.txt": "data",
            "one-1.0.data/headers/one.h": "/* */",
        },
        "one",
        metadata={"entry_points.txt": "[console_scripts]\none-console = one:x\n"},
        executable=("one-1.0.data/scripts/one-script",),
    )
    write_wheel(folder, {"two.py": "x = 2"}, "two")
    write_wheel(folder, {"space/three/__init__.py": "x = 3"}, "three")
    write_wheel(folder, {"same.py": "x = 4", "four.py": ""}, "four")
    write_wheel(folder, {"same.py": "x = 5", "five.py": ""}, "five")
    write_wheel(folder, {"real/__init__.py": "x = 6", "real/table.txt": "6"}, "real")
    write_wheel(folder, {"hard/__init__.py": "x = 7", "hard/table.txt": "7"}, "hard")


NAMES = ("one", "two", "three", "four", "five")


def install(
    wheels: Path, environment: Environment, store: Store, *names: str, mode: str = ""
) -> None:
    requests = [WheelRequest(next(wheels.glob(f"{name}-*.whl"))) for name in names]
    links = LinkChoice(LinkMode(mode or "manifest"))
    install_wheels(requests, environment, store, links=links)


@pytest.fixture
def filled(
    made: Path, wheels: Path, environment: Environment, store: Store
) -> Environment:
    shutil.copytree(made / "store", store.root)
    install(wheels, environment, store, *NAMES)
    install(wheels, environment, store, "real", mode="copy")
    install(wheels, environment, store, "hard", mode="hardlink")
    return environment


def mend(
    of: Environment | Store,
    store: Store,
    *,
    wheels: Path | None = None,
    host: FakeHost | None = None,
    undo_edits: bool = False,
) -> Outcome:
    sources = Sources(host, (wheels,) if wheels is not None else ())
    if isinstance(of, Environment):
        plan = plan_environment(of, undo_edits=undo_edits)
        return carry_out(plan, of, store, sources)
    return carry_out(plan_store(of), None, of, sources)


def wrong(of: Environment | Store) -> list[str]:
    found = verify_environment(of) if isinstance(of, Environment) else verify_store(of)
    return [str(each) for each in found.findings]


def works(environment: Environment) -> None:
    """Everything can be imported, is what it is to be, and is listed."""
    code = (
        "import one, two, space.three, same, real, hard, importlib.metadata as m;"
        "values = one.x, two.x, space.three.x, same.x, real.x, hard.x;"
        "assert values == (1, 2, 3, 5, 6, 7), values;"
        "assert {'one', 'real'} <= {d.name for d in m.distributions()};"
        "assert one.__spec__.loader.get_code('one').co_filename"
    )
    subprocess.run([environment.python, "-c", code], check=True, cwd="/")


class Place(NamedTuple):
    """What a damage is done to."""

    environment: Environment
    store: Store

    def entry(self, name: str) -> Path:
        (found,) = self.store.root.glob(f"entries/{name}-*")
        return found

    @property
    def site(self) -> Path:
        return self.environment.scheme.purelib

    @property
    def bin(self) -> Path:
        return self.environment.scheme.scripts


def overwrite(path: Path, text: str = "x = 0", encoding: str = "utf-8") -> None:
    """As root does, through whatever link leads there: in place."""
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    path.write_text(text, encoding)
    path.chmod(mode)


def remove(path: Path) -> None:
    mode = path.parent.stat().st_mode
    path.parent.chmod(mode | 0o200)
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()
    path.parent.chmod(mode)


def put(path: Path, text: str = "") -> None:
    mode = path.parent.stat().st_mode
    path.parent.chmod(mode | 0o200)
    path.write_text(text)
    path.parent.chmod(mode)


def compiled(folder: Path) -> Path:
    return next(folder.glob("__pycache__/*.pyc"))


def make_link(path: Path, target: str) -> None:
    remove(path)
    mode = path.parent.stat().st_mode
    path.parent.chmod(mode | 0o200)
    path.symlink_to(target)
    path.parent.chmod(mode)


def rewrite_json(path: Path, **fields: str) -> None:
    overwrite(path, json.dumps({**json.loads(path.read_text()), **fields}))


def add_folder(path: Path) -> None:
    mode = path.parent.stat().st_mode
    path.parent.chmod(mode | 0o200)
    path.mkdir()
    (path / "x.cpython-39.pyc").touch()
    path.parent.chmod(mode)


Damage = Callable[[Place], object]

IN_ENTRIES: dict[str, Damage] = {
    "an entry is missing": lambda p: remove_tree(p.entry("two")),
    "a file was written to": lambda p: overwrite(p.entry("one") / "tree/one/__init__.py"),
    "a file was cut off": lambda p: overwrite(p.entry("one") / "tree/one/table.txt", ""),
    "a file is missing": lambda p: remove(p.entry("one") / "tree/one/table.txt"),
    "a file was added": lambda p: put(p.entry("one") / "tree/one/new.py"),
    "a folder was added": lambda p: add_folder(p.entry("one") / "tree/one/new"),
    "root has imported it": lambda p: put(
        p.entry("one") / "tree/one/__pycache__/__init__.cpython-39.pyc"
    ),
    "a file is a link": lambda p: make_link(
        p.entry("one") / "tree/one/table.txt", "/etc/passwd"
    ),
    "a file may be written": lambda p: (p.entry("one") / "tree/one/__init__.py").chmod(
        0o666
    ),
    "a program sets the user": lambda p: (p.entry("one") / "scripts/one-script").chmod(
        0o4755
    ),
    "a folder may be written": lambda p: (p.entry("one") / "tree/one").chmod(0o755),
    "bytecode was written to": lambda p: overwrite(compiled(p.entry("one") / "tree/one")),
    "bytecode is missing": lambda p: remove(compiled(p.entry("one") / "tree/one")),
    "a note of bytecode was cut off": lambda p: overwrite(
        next((p.entry("one") / "bytecode").iterdir()), "1 20\n"
    ),
    "a note of bytecode is missing": lambda p: remove(
        next((p.entry("one") / "bytecode").iterdir())
    ),
    "metadata was written to": lambda p: overwrite(p.entry("one") / "dist-info/METADATA"),
    "RECORD is missing": lambda p: remove(p.entry("one") / "dist-info/RECORD"),
    "RECORD was cut off": lambda p: overwrite(p.entry("one") / "dist-info/RECORD", ""),
    "RECORD is garbage": lambda p: overwrite(p.entry("one") / "dist-info/RECORD", "a,b"),
    "RECORD is not text": lambda p: overwrite(
        p.entry("one") / "dist-info/RECORD", "ä", "latin-1"
    ),
    "a script was written to": lambda p: overwrite(p.entry("one") / "scripts/one-script"),
    "a data file was written to": lambda p: overwrite(
        p.entry("one") / "data/share/one.txt"
    ),
    "a header is missing": lambda p: remove(p.entry("one") / "headers/one.h"),
    "a part is missing": lambda p: remove(p.entry("two") / "scripts"),
    "entry.json is missing": lambda p: remove(p.entry("one") / "entry.json"),
    "entry.json is garbage": lambda p: overwrite(p.entry("one") / "entry.json", "{"),
    "entry.json is of another": lambda p: rewrite_json(
        p.entry("one") / "entry.json", id="two-1.0-12345678"
    ),
    "entry.json has another hash": lambda p: rewrite_json(
        p.entry("one") / "entry.json",
        sha256=json.loads((p.entry("one") / "entry.json").read_text())["sha256"][:8]
        + "0" * 56,
    ),
    "an entry is a file": lambda p: (
        name := p.entry("two"),
        remove_tree(name),
        name.touch(),
    ),
    "an entry is empty": lambda p: (
        name := p.entry("two"),
        remove_tree(name),
        name.mkdir(),
    ),
}
"""Seen in the store and in every environment that links there."""

IN_ENVIRONMENT: dict[str, Damage] = {
    "a link is missing": lambda p: (p.site / "_commonwheel/view/one").unlink(),
    "a link leads elsewhere": lambda p: make_link(
        p.site / "_commonwheel/view/one", "/etc"
    ),
    "a marker is missing": lambda p: (
        p.site / "_commonwheel/view/space/.three.commonwheel"
    ).unlink(),
    "the view is missing": lambda p: remove_tree(p.site / "_commonwheel/view"),
    "a link of nobody": lambda p: (p.site / "_commonwheel/view/more").symlink_to(
        p.entry("one") / "tree/one"
    ),
    "a hidden link is missing": lambda p: (
        p.site / "_commonwheel/view/.four.same.py.kept"
    ).unlink(),
    "bytecode beside a link was written to": lambda p: overwrite(
        next((p.site / "_commonwheel/view/__pycache__").glob("two.*")), "another"
    ),
    "the runtime is missing": lambda p: (p.site / "_commonwheel.py").unlink(),
    "the runtime is empty": lambda p: overwrite(p.site / "_commonwheel.py", ""),
    "the start-up file is missing": lambda p: (p.site / "00_commonwheel.pth").unlink(),
    "RECORD is missing": lambda p: (p.site / "one-1.0.dist-info/RECORD").unlink(),
    "RECORD is empty": lambda p: overwrite(p.site / "two-1.0.dist-info/RECORD", "a"),
    "RECORD was cut off": lambda p: overwrite(
        p.site / "one-1.0.dist-info/RECORD", "_commonwheel/links/one.link,,\n"
    ),
    "metadata is missing": lambda p: remove_tree(p.site / "one-1.0.dist-info"),
    "METADATA is missing": lambda p: (p.site / "one-1.0.dist-info/METADATA").unlink(),
    "a file of metadata was written to": lambda p: overwrite(
        p.site / "one-1.0.dist-info/INSTALLER", "x"
    ),
    "a manifest is garbage": lambda p: overwrite(
        p.site / "_commonwheel/links/one.link", "x"
    ),
    "a manifest is missing": lambda p: (p.site / "_commonwheel/links/one.link").unlink(),
    "a script is missing": lambda p: (p.bin / "one-console").unlink(),
    "a script was written to": lambda p: overwrite(p.bin / "one-script"),
    "a start-up file is missing": lambda p: (p.site / "one.pth").unlink(),
    "a data file is missing": lambda p: (
        p.environment.scheme.data / "share/one.txt"
    ).unlink(),
    "a copied file is missing": lambda p: (p.site / "real/table.txt").unlink(),
    "a hard link is missing": lambda p: (p.site / "hard/table.txt").unlink(),
    "a hard link was written to": lambda p: overwrite(p.site / "hard/table.txt", "0"),
    "several things at once": lambda p: (
        (p.site / "_commonwheel/view/one").unlink(),
        (p.site / "_commonwheel.py").unlink(),
        (p.site / "five-1.0.dist-info/RECORD").unlink(),
        remove_tree(p.entry("two")),
        overwrite(p.entry("one") / "tree/one/__init__.py"),
    ),
}


@pytest.fixture(params=IN_ENTRIES)
def in_entries(request: pytest.FixtureRequest) -> Damage:
    return IN_ENTRIES[request.param]


@pytest.fixture(params=IN_ENVIRONMENT)
def in_environment(request: pytest.FixtureRequest) -> Damage:
    return IN_ENVIRONMENT[request.param]


def test_nothing_is_wrong_with_what_was_just_installed(
    filled: Environment, store: Store
) -> None:
    before = snapshot(filled.scheme.data), snapshot(store.root)
    assert wrong(filled) == wrong(store) == []
    assert plan_environment(filled) == plan_store(store) == RepairPlan()
    assert mend(filled, store) == mend(store, store) == Outcome()
    assert (snapshot(filled.scheme.data), snapshot(store.root)) == before
    works(filled)


def test_damage_of_an_entry_is_found_and_mended_in_the_store(
    filled: Environment, store: Store, wheels: Path, in_entries: Damage
) -> None:
    before = snapshot(store.root / "entries")
    in_entries(Place(filled, store))
    assert wrong(store)
    outcome = mend(store, store, wheels=wheels)
    assert outcome.broken == []
    assert wrong(store) == []
    assert snapshot(store.root / "entries") == before
    if outcome.remarks:  # of hard links that an environment has
        assert f"commonwheel repair {filled.scheme.data}" in outcome.remarks[0]
        assert mend(filled, store).broken == []
    works(filled)


def test_damage_of_an_entry_is_found_and_mended_in_an_environment(
    filled: Environment, store: Store, wheels: Path, in_entries: Damage
) -> None:
    in_entries(Place(filled, store))
    assert wrong(filled)
    assert mend(filled, store, wheels=wheels).broken == []
    assert wrong(filled) == wrong(store) == []
    works(filled)
    assert mend(filled, store) == Outcome()


def test_damage_of_an_environment_is_found_and_mended(
    filled: Environment, store: Store, wheels: Path, in_environment: Damage
) -> None:
    view = snapshot(filled.scheme.purelib / manifest.VIEW)
    metadata = snapshot(filled.scheme.purelib / "one-1.0.dist-info")
    in_environment(Place(filled, store))
    assert wrong(filled)
    assert mend(filled, store, wheels=wheels).broken == []
    assert wrong(filled) == wrong(store) == []
    works(filled)
    assert snapshot(filled.scheme.purelib / manifest.VIEW) == view
    assert snapshot(filled.scheme.purelib / "one-1.0.dist-info").keys() == metadata.keys()
    assert mend(filled, store) == Outcome()


def test_a_folder_in_the_place_of_a_link_gets_links(
    filled: Environment, store: Store
) -> None:
    path = filled.scheme.purelib / manifest.VIEW / "one"
    path.unlink()
    path.mkdir()
    assert wrong(filled)
    assert mend(filled, store).broken == []
    assert wrong(filled) == []
    works(filled)


def test_what_was_edited_in_the_environment_stays_unless_that_is_asked_for(
    filled: Environment, store: Store
) -> None:
    path = filled.scheme.purelib / "real/table.txt"
    path.write_text("mine")
    (found,) = wrong(filled)
    assert found.endswith("real/table.txt was edited here (4 bytes, not 1)")
    outcome = mend(filled, store)
    assert (outcome.mended, outcome.broken) == ([], [])
    assert "it stays" in outcome.remarks[0]
    (filled.scheme.purelib / "real/__init__.py").unlink()
    ((what, way_out),) = mend(filled, store).broken
    assert "would be lost" in what
    assert way_out.startswith("--undo-edits, or ")
    assert path.read_text() == "mine"
    assert mend(filled, store, undo_edits=True).broken == []
    assert path.read_text() == "6"
    assert wrong(filled) == []


def test_a_link_that_has_an_owner_again_is_not_said_to_be_removed(
    filled: Environment, store: Store
) -> None:
    (filled.scheme.purelib / "_commonwheel/links/one.link").unlink()
    assert mend(filled, store).mended == ["one: linked again"]
    works(filled)


def test_what_pip_was_killed_uninstalling_is_found_and_the_way_out_said(
    filled: Environment, store: Store
) -> None:
    """It moves manifest and links away first, and metadata last."""
    (filled.scheme.purelib / "_commonwheel/links/two.link").unlink()
    (filled.scheme.purelib / "_commonwheel/view/two.py").unlink()
    assert wrong(filled)
    ((what, way_out),) = mend(filled, store).broken
    assert "two.link is missing" in what
    assert "the wheel of two==1.0" in way_out


@pytest.mark.parametrize("begun", [False, True])
def test_bytecode_that_was_written_to_is_made_again_without_the_wheel(
    filled: Environment, store: Store, begun: bool
) -> None:
    """Also what was half added when somebody was killed."""
    (entry,) = store.root.glob("entries/one-*")
    (note,) = (entry / "bytecode").iterdir()
    if begun:
        note.rename(note.with_name(f".{note.name}"))
    (path,) = (entry / "tree").rglob("*.pyc")
    overwrite(path)
    assert wrong(store)
    assert mend(store, store).broken == []
    assert wrong(store) == []


def test_what_was_shared_with_the_store_is_copied_on_another_filesystem(
    filled: Environment, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    path = filled.scheme.purelib / "hard/table.txt"
    path.unlink()
    monkeypatch.setattr(os, "link", link)
    assert mend(filled, store).broken == []
    assert path.stat().st_nlink == 1
    assert "mode: copy" in (
        filled.scheme.purelib / "_commonwheel/links/hard.link"
    ).read_text("utf-8")
    assert wrong(filled) == []
    works(filled)


def test_how_a_distribution_was_installed_is_kept(
    environment: Environment, store: Store, wheels: Path
) -> None:
    wheel = next(wheels.glob("one-*"))
    request = WheelRequest(
        wheel, requested=False, direct_url='{"url": "x"}', header_folder="One"
    )
    install_wheels([replace(request, installer="pip")], environment, store)
    before = snapshot(environment.scheme.data, without=("__pycache__", "one.link"))
    (environment.scheme.purelib / manifest.VIEW / "one").unlink()
    assert mend(environment, store).broken == []
    after = snapshot(environment.scheme.data, without=("__pycache__", "one.link"))
    assert after == before
    dist_info = environment.scheme.purelib / "one-1.0.dist-info"
    assert not (dist_info / "REQUESTED").exists()
    assert (dist_info / "INSTALLER").read_text() == "pip\n"


def test_a_sound_entry_of_another_store_is_copied(
    filled: Environment, store: Store, wheels: Path, tmp_path: Path, compiler: Compiler
) -> None:
    other = Store(tmp_path / "other")
    for wheel in wheels.iterdir():
        other.add(wheel, compiler)
    damaged = Place(filled, store).entry("one")
    remove_tree(damaged)
    overwrite(Place(filled, other).entry("two") / "tree/two.py")
    remove_tree(Place(filled, store).entry("two"))
    chain = Store(store.root, other.root)
    outcome = mend(filled, chain)
    ((what, way_out),) = outcome.broken
    assert "two-1.0" in what  # the other store's is damaged, too
    assert not list(store.root.glob("entries/two-*"))
    assert "--find-links" in way_out
    assert damaged.is_dir()
    assert mend(filled, chain, wheels=wheels).broken == []
    assert wrong(filled) == wrong(store) == []


def test_wheels_are_fetched_together_and_what_is_other_is_refused(
    filled: Environment, store: Store, wheels: Path, tmp_path: Path
) -> None:
    place = Place(filled, store)
    for name in ("one", "two"):
        remove_tree(place.entry(name))
    others = tmp_path / "others"
    shutil.copytree(wheels, others)
    write_wheel(others, {"two.py": "another"}, "two")
    host = FakeHost(others)
    ((what, _),) = mend(filled, store, host=host).broken
    assert [str(pin) for pin in host.calls[0][1]] == ["one 1.0", "two 1.0"]
    assert "two-1.0" in what
    assert not list(store.root.glob("entries/two-*"))
    assert place.entry("one").is_dir()
    assert mend(filled, store, host=FakeHost(wheels)).broken == []
    assert wrong(filled) == []


def test_offline_it_says_what_is_not_at_hand(filled: Environment, store: Store) -> None:
    before = snapshot(filled.scheme.data)
    remove_tree(Place(filled, store).entry("two"))
    ((what, way_out),) = mend(filled, store).broken
    assert "two-1.0" in what
    assert "not fetched offline" in what
    assert way_out.startswith("give its wheel's folder by --find-links, or: ")
    assert snapshot(filled.scheme.data) == before


def test_one_that_cannot_be_had_does_not_keep_the_others_from_being_mended(
    filled: Environment, store: Store
) -> None:
    remove_tree(Place(filled, store).entry("two"))
    (filled.scheme.purelib / manifest.VIEW / "one").unlink()
    (filled.scheme.purelib / manifest.VIEW / "two.py").unlink()
    assert len(mend(filled, store).broken) == 1
    assert (filled.scheme.purelib / manifest.VIEW / "one").exists()


def test_a_wheel_that_was_installed_by_its_path_is_found_there(
    environment: Environment, store: Store, wheels: Path
) -> None:
    wheel = next(wheels.glob("one-*"))
    told = json.dumps({"url": wheel.as_uri(), "archive_info": {}})
    install_wheels([WheelRequest(wheel, direct_url=told)], environment, store)
    remove_tree(Place(environment, store).entry("one"))
    assert mend(environment, store).broken == []
    assert wrong(environment) == []


def test_an_entry_that_says_nothing_and_nobody_holds_stays_with_the_way_out(
    store: Store, wheels: Path, compiler: Compiler
) -> None:
    entry = store.add(next(wheels.glob("one-*")), compiler)
    overwrite(entry.root / "entry.json", "{")
    ((what, way_out),) = mend(store, store, wheels=wheels).broken
    assert "no environment says which wheel it is of" in what
    assert str(entry.root) in way_out


def test_what_is_no_entry_is_left_to_its_owner(store: Store, wheels: Path) -> None:
    store.add(next(wheels.glob("two-*")), None)
    stranger = store.root / "entries/notes"
    stranger.mkdir()
    assert wrong(store) == [f"{stranger}: does not belong there (it is no entry)"]
    assert mend(store, store).broken[0][1] == f"remove {stranger}"


def test_a_store_that_cannot_be_written_is_left_and_its_entry_made_in_the_own_one(
    filled: Environment,
    store: Store,
    wheels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overwrite(Place(filled, store).entry("one") / "tree/one/__init__.py")
    before = snapshot(store.root / "entries")
    access = os.access

    def refuse(path: Path, mode: int) -> bool:  # root may write everywhere
        inside = Path(path).is_relative_to(store.root)
        return access(path, mode) and not (inside and mode == os.W_OK)

    monkeypatch.setattr(os, "access", refuse)
    own = Store(tmp_path / "own")
    assert mend(filled, own, wheels=wheels).broken == []
    assert snapshot(store.root / "entries") == before
    assert wrong(filled) == []
    works(filled)
    assert len(list(own.root.glob("entries/*"))) == 1


def test_a_moved_environment_is_made_right_where_it_is_now(
    filled: Environment, store: Store, tmp_path: Path
) -> None:
    there = tmp_path / "elsewhere/with a blank"
    there.parent.mkdir()
    filled.scheme.data.rename(there)
    moved = of_interpreter(there)
    assert any("one-console was changed (it is run by" in each for each in wrong(moved))
    assert mend(moved, store).broken == []
    assert wrong(moved) == []
    assert mend(moved, store) == Outcome()
    subprocess.run([there / "bin/one-script"], check=True)
    works(moved)


def test_bytecode_is_there_again_for_every_python_that_it_was_there_for(
    filled: Environment, store: Store, wheels: Path
) -> None:
    entry = Place(filled, store).entry("one")
    tags = sorted(os.listdir(entry / "bytecode"))
    remove(entry / "tree/one/__init__.py")
    assert mend(store, store, wheels=wheels).broken == []
    assert sorted(os.listdir(entry / "bytecode")) == tags


def test_who_imports_while_an_entry_is_swapped_never_misses_it(
    filled: Environment, store: Store, wheels: Path
) -> None:
    code = (
        "import sys, importlib, one, two\n"
        "print('ready', flush=True)\n"
        "count = 0\n"
        "import select\n"
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    for name in ('one', 'two'):\n"
        "        del sys.modules[name]\n"
        "        importlib.invalidate_caches()\n"
        "        module = importlib.import_module(name)\n"
        "        assert module.__spec__.loader and module.x in (1, 2), module\n"
        "    open(one.__path__[0] + '/table.txt').close()\n"
        "    count += 1\n"
        "print(count)\n"
    )
    command = [filled.python, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as importer:
        assert importer.stdin is not None
        assert importer.stdout is not None
        assert importer.stdout.readline() == "ready\n"
        for _ in range(5):
            for name in ("one", "two"):
                put(Place(filled, store).entry(name) / "tree/added.txt")
                overwrite(Place(filled, store).entry(name) / "dist-info/WHEEL")
            assert mend(store, store, wheels=wheels).broken == []
        said, _ = importer.communicate("stop")
    assert importer.returncode == 0
    assert int(said) > 5


def test_an_entry_that_is_swapped_is_there_in_every_step(
    filled: Environment, store: Store, wheels: Path
) -> None:
    root = Place(filled, store).entry("one")
    overwrite(root / "dist-info/WHEEL")
    looking, steps = True, []

    def look(event: str, _: tuple[object, ...]) -> None:  # before each step
        if looking and event.startswith("os."):
            steps.append(os.access(root / "tree/one/__init__.py", os.F_OK))

    sys.addaudithook(look)  # for ever
    try:
        assert mend(store, store, wheels=wheels).broken == []
    finally:
        looking = False
    assert len(steps) > 20
    assert all(steps)


def test_a_plan_changes_nothing(filled: Environment, store: Store) -> None:
    put(Place(filled, store).entry("one") / "tree/added.txt")
    (filled.scheme.purelib / manifest.VIEW / "one").unlink()
    before = snapshot(filled.scheme.data), snapshot(store.root, without=("locks",))
    plan = plan_environment(filled)
    assert [each.name for each in plan.entries] == ["one"]
    assert [each.manifest.name for each in plan.again] == ["one"]
    assert not plan_store(store).is_empty
    after = snapshot(filled.scheme.data), snapshot(store.root, without=("locks",))
    assert after == before


def test_an_interpreter_that_is_gone_is_replaced_or_all_stays(
    filled: Environment, store: Store
) -> None:
    folder = filled.scheme.data
    for name in ("python", "python3"):
        path = folder / "bin" / name
        path.unlink()
        path.symlink_to("/nowhere/python")
    before = snapshot(folder)
    with pytest.raises(InvalidEnvironment):
        interpreter.renew(folder, Path("/nowhere/python"))
    assert snapshot(folder) == before
    interpreter.renew(folder, Path(sys.executable))
    assert wrong(of_interpreter(folder)) == []
    works(of_interpreter(folder))


def test_the_command(
    filled: Environment,
    store: Store,
    wheels: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*arguments: object) -> int:
        chosen = ("--store", store.root)
        return main(["repair", *map(str, (*arguments, *chosen))])

    folder = filled.scheme.data
    assert run(folder) == 0
    assert capsys.readouterr().err.endswith("nothing to repair\n")
    remove_tree(Place(filled, store).entry("two"))
    assert run(folder, "--dry-run") == 0
    assert capsys.readouterr().out.startswith("would make anew ")
    assert run(folder, "--offline") == 1
    assert "to mend it: give its wheel's folder" in capsys.readouterr().err
    assert run(folder, "--offline", "--find-links", wheels, "--json") == 0
    assert json.loads(capsys.readouterr().out)["broken"] == []
    assert run(store.root, "--offline") == 0
    (folder / "bin/python").unlink()
    (folder / "bin/python").symlink_to("/nowhere")
    assert run(folder) == 1
    assert f"repair {folder} --python PY" in capsys.readouterr().err
    assert run(folder, "--python", sys.executable, "--offline") == 0
    works(of_interpreter(folder))
