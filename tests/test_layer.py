"""Layers: stores of just what is needed, complete, only read, and the same each time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel import installed, runtime
from commonwheel.environment import Environment, of_interpreter
from commonwheel.errors import InvalidStore
from commonwheel.export_errors import NotInLayer
from commonwheel.files import remove_tree
from commonwheel.frontends.cli import main
from commonwheel.install import WheelRequest, compiler_of, install_wheels
from commonwheel.link_mode import LinkChoice
from commonwheel.maintenance.doctor import examine
from commonwheel.maintenance.layer import of_environment, of_lock, write_layer
from commonwheel.pin import Kind, Pin
from commonwheel.store import Store
from conftest import CACHE_TAG
from folders import snapshot
from wheel_file import write_wheel

ANYBODY = 0o222
NAMES = ("one", "two", "three")


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "wheels"
    return {
        name: write_wheel(folder, {f"{name}/__init__.py": f"NAME = '{name}'\n"}, name)
        for name in (*NAMES, "unneeded")
    }


def make(folder: Path) -> Environment:
    command = [sys.executable, "-m", "venv", "--without-pip", folder]
    subprocess.run(command, check=True)
    return of_interpreter(folder)


@pytest.fixture
def environment(tmp_path: Path, wheels: dict[str, Path], store: Store) -> Environment:
    """One with three distributions, of which one is real files; the store has four."""
    found = make(tmp_path / "venv")
    real = LinkChoice(real=frozenset({"three"}))
    requests = [WheelRequest(wheels[name]) for name in NAMES]
    install_wheels(requests, found, store, links=real)
    store.add(wheels["unneeded"], compiler_of(found))
    return found


@pytest.fixture
def layer(environment: Environment, store: Store, tmp_path: Path) -> Path:
    write(environment, store, tmp_path / "layer")
    return tmp_path / "layer"


def write(environment: Environment, store: Store, target: Path) -> None:
    compiler = compiler_of(environment)
    assert compiler is not None
    write_layer(of_environment(environment), store, compiler, target)


def names_in(folder: Path) -> set[str]:
    return {each.partition("-")[0] for each in Store(folder).identifiers()}


def test_it_has_what_the_environment_needs_and_no_more(layer: Path) -> None:
    assert names_in(layer) == set(NAMES)
    assert {path.name for path in layer.iterdir()} == {
        *("entries", "format", "runtime", "sizes")
    }
    for path in (layer, *layer.rglob("*")):
        assert not stat.S_IMODE(path.lstat().st_mode) & ANYBODY, path
    for entry in (layer / "entries").iterdir():
        assert list(entry.glob(f"tree/*/__pycache__/*.{CACHE_TAG}.pyc"))
    source = runtime.SOURCE.read_bytes()
    digest = hashlib.sha256(source).hexdigest()[:16]
    assert (layer / f"runtime/{digest}.{CACHE_TAG}.pyc").is_file()


def test_an_environment_is_filled_from_it_and_nothing_is_copied(
    layer: Path, store: Store, wheels: dict[str, Path], tmp_path: Path
) -> None:
    remove_tree(store.root)
    before = snapshot(layer)
    chain = Store(tmp_path / "own", layer)
    other = make(tmp_path / "other")
    install_wheels([WheelRequest(path) for path in wheels.values()], other, chain)
    assert names_in(chain.root) == {"unneeded"}
    found = {name: each[0].link for name, each in installed.read(other).items()}
    for name in NAMES:
        link = found[name]
        assert link is not None
        assert link.entry.parent == layer / "entries"
    code = "import one, two, three, unneeded; print(one.NAME, one.__cached__)"
    done = subprocess.run([other.python, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("one "), done.stderr
    assert examine(other) == []
    after = snapshot(layer)
    if os.geteuid() == 0:  # whom permission bits do not hold
        after = {path: each for path, each in after.items() if path in before}
    assert {p: each[2] for p, each in after.items()} == {
        p: each[2] for p, each in before.items()
    }


@pytest.mark.parametrize("kind", ["tar.gz", "squashfs", "erofs"])
def test_the_same_bytes_from_another_store_that_has_served_others(
    wheels: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    found = []
    for number, folder in enumerate((tmp_path / "one", tmp_path / "deeper/other")):
        store = Store(folder / "store")
        environment = make(folder / "venv")
        order = list(wheels)[:: -1 if number else 1]
        for name in order:
            if number:
                store.add(wheels[name], None)  # bytecode comes later
            if name != "unneeded":
                install_wheels([WheelRequest(wheels[name])], environment, store)
        if number:
            pretend_another_python(store)
        target = folder / f"layer.{kind}"
        write(environment, store, target)
        found.append(target.read_bytes())
    assert found[0] == found[1]


def pretend_another_python(store: Store) -> None:
    """As if it had compiled for one."""
    for identifier in store.identifiers():
        root = store.folder_of(identifier)
        lines = ["1 4\n"]
        for path in root.glob(f"tree/**/*.{CACHE_TAG}.pyc"):
            other = path.with_name(path.name.replace(CACHE_TAG, "cpython-27"))
            path.parent.chmod(0o755)
            other.write_bytes(b"code")
            other.chmod(0o444)
            path.parent.chmod(0o555)
            digest = hashlib.sha256(b"code").hexdigest()
            lines.append(f"{digest} {other.relative_to(root / 'tree').as_posix()}\n")
        note = root / "bytecode/cpython-27"
        note.write_text("".join(lines))
        note.chmod(0o444)


def test_where_it_is_in_a_tar_archive(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    target = tmp_path / "layer.tar"
    write(environment, store, target)
    shutil.unpack_archive(target, tmp_path / "out", filter="tar")
    assert names_in(tmp_path / "out/usr/share/commonwheel/store") == set(NAMES)


def lock(tmp_path: Path, wheels: dict[str, Path], *names: str) -> Path:
    lines = []
    for name in names:
        digest = hashlib.sha256(wheels[name].read_bytes()).hexdigest()
        lines.append(f"{name}==1.0 --hash=sha256:{digest}\n")
    path = tmp_path / "requirements.txt"
    path.write_text("".join(lines))
    return path


def test_of_a_lock_whatever_is_installed(
    environment: Environment,
    store: Store,
    wheels: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    python = ["--python", str(environment.scheme.data), "--store", str(store.root)]
    source = lock(tmp_path, wheels, "two", "unneeded")
    target = tmp_path / "layer"
    assert main(["layer", str(source), str(target), *python, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each.partition("-")[0] for each in told["entries"]] == ["two", "unneeded"]
    assert names_in(target) == {"two", "unneeded"}


def test_what_no_store_has_is_named(
    environment: Environment,
    store: Store,
    wheels: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wheels["new"] = write_wheel(tmp_path / "wheels", {"new.py": ""}, "new")
    source = lock(tmp_path, wheels, "new", "two")
    python = ["--python", str(environment.scheme.data), "--store", str(store.root)]
    assert main(["layer", str(source), str(tmp_path / "layer"), *python]) == 1
    said = capsys.readouterr().err
    assert "new 1.0" in said
    assert "two" not in said
    assert "commonwheel sync" in said
    assert not (tmp_path / "layer").exists()


def test_what_was_built_is_found_by_its_source_in_the_layer(
    environment: Environment, store: Store, wheels: dict[str, Path], tmp_path: Path
) -> None:
    pin = Pin(
        *("one", "1.0", Kind.SDIST, "one-1.0.tar.gz", "https://host/one-1.0.tar.gz"),
        frozenset({("sha256", "0" * 64)}),
    )
    (origin,) = pin.origins(CACHE_TAG)
    compiler = compiler_of(environment)
    assert compiler is not None
    with pytest.raises(NotInLayer, match=r"one 1\.0"):
        of_lock([pin], environment, store)
    store.remember_origin(origin, store.add(wheels["one"], compiler))
    write_layer(of_lock([pin], environment, store), store, compiler, tmp_path / "layer")
    found = Store(tmp_path / "own", tmp_path / "layer").of_origin(origin)
    assert found is not None
    assert found.root.parent.parent == tmp_path / "layer"


def test_an_environment_whose_entry_is_gone(
    environment: Environment, store: Store
) -> None:
    (entry,) = (store.root / "entries").glob("two-*")
    remove_tree(entry)
    with pytest.raises(NotInLayer, match=r"two 1\.0"):
        of_environment(environment)


def test_damage_does_not_spread(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    (entry,) = (store.root / "entries").glob("two-*")
    file = entry / "tree/two/__init__.py"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("two", "owt"))
    file.chmod(0o444)
    before = snapshot(tmp_path)
    with pytest.raises(InvalidStore, match="two/__init__"):
        write(environment, store, tmp_path / "layer")
    assert snapshot(tmp_path, without=("locks",)) == {
        path: each for path, each in before.items() if not path.startswith("store/locks")
    }


@pytest.mark.parametrize("name", ["deep/layer", "layer.tar"])
def test_whatever_stops_it_leaves_nothing(
    environment: Environment,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    before = snapshot(tmp_path, without=("locks",))

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "bytecode_of_runtime", fail)
    with pytest.raises(KeyboardInterrupt):
        write(environment, store, tmp_path / name)
    assert snapshot(tmp_path, without=("locks",)) == before


def test_nothing_is_written_over(
    environment: Environment, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer/mine").touch()
    with pytest.raises(FileExistsError):
        write(environment, store, tmp_path / "layer")
    assert os.listdir(tmp_path / "layer") == ["mine"]


@pytest.mark.parametrize("mode", [0o3775, 0o2755, 0o700])
def test_a_store_is_open_to_a_group_if_its_root_is(
    tmp_path: Path, wheels: dict[str, Path], mode: int
) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(mode)
    before = os.umask(0o077)
    try:
        Store(root).add(wheels["one"], None)
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()}
    is_open = mode == 0o3775
    for name in ("entries", "environments", "runs", "tmp", "trash", "unused", "locks"):
        assert found[name] == (mode if is_open else 0o755), name
    for lock in (root / "locks").iterdir():
        assert (stat.S_IMODE(lock.stat().st_mode) == 0o664) is is_open, lock
    (entry,) = (root / "entries").iterdir()
    for path in entry.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444, path


def test_options_of_locks_are_not_for_environments(environment: Environment) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["layer", str(environment.scheme.data), "x", "--extra", "y"])
    assert caught.value.code == 2
