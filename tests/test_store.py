"""The store: an entry is complete, equals its wheel and is there once."""

from __future__ import annotations

import errno
import functools
import importlib.util
import itertools
import marshal
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import installer
import packaging
import pytest

import commonwheel
from commonwheel import files, memory, occupancy
from commonwheel import store as store_module
from commonwheel.bytecode import Compiler
from commonwheel.entry import Entry
from commonwheel.entry_folder import bytecode_of, read_entry
from commonwheel.errors import InvalidEnvironment, InvalidStore, InvalidWheel
from commonwheel.exclusion import LockFile
from commonwheel.limits import Limits
from commonwheel.memory import Memory
from commonwheel.shelf import Shelf
from commonwheel.store import Store
from conftest import CACHE_TAG
from faults import fault
from folders import snapshot
from wheel_file import change_hash, write_wheel

FILES = {
    "p/__init__.py": "x = 1\n",
    "p/broken.py": "def (",
    "p/template/t.txt": "text",
    "p/tool": "#!/bin/sh\n",
    "m.py": "y = 2\n",
    "sample-1.0.data/scripts/run": "#!python\n",
    "sample-1.0.data/data/share/x": "x",
    "sample-1.0.data/headers/x.h": "h",
    "sample-1.0.data/purelib/pure.py": "",
}


def write(folder: Path, version: str = "1.0", **options: object) -> Path:
    return write_wheel(
        folder,
        {name.replace("-1.0", f"-{version}"): text for name, text in FILES.items()},
        version=version,
        executable=["p/tool"],
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "wheels")


def leftovers(store: Store) -> list[str]:
    folders = [store.root / name for name in ("tmp", "entries")]
    return [name for folder in folders if folder.exists() for name in os.listdir(folder)]


def test_an_entry_equals_its_wheel(store: Store, path: Path, compiler: Compiler) -> None:
    entry = store.add(path, compiler)
    with zipfile.ZipFile(path) as archive:
        for name, expected in FILES.items():
            place = name.replace("sample-1.0.data/", "").replace("purelib", "tree")
            if place == name:
                place = f"tree/{name}"
            assert (entry.root / place).read_bytes() == expected.encode()
        for name in ("METADATA", "WHEEL"):
            content = archive.read(f"sample-1.0.dist-info/{name}")
            assert (entry.dist_info / name).read_bytes() == content
    assert (entry.dist_info / "top_level.txt").read_text() == "m\np\npure\n"
    for part in ("tree", "dist-info", "scripts", "headers", "data"):
        assert stat.S_IMODE((entry.root / part).stat().st_mode) == 0o555
        for name, (kind, mode, _) in snapshot(entry.root / part).items():
            expected_mode = 0o555 if kind == "folder" or name == "p/tool" else 0o444
            assert mode == expected_mode, name
    assert stat.S_IMODE(entry.root.stat().st_mode) == 0o755
    assert read_entry(entry.root) == entry == store.get(entry.description.id)


def test_modes_do_not_depend_on_the_umask(
    tmp_path: Path, path: Path, compiler: Compiler
) -> None:
    found = []
    for umask in (0o022, 0o077):
        previous = os.umask(umask)
        try:
            root = Store(tmp_path / str(umask)).add(path, compiler).root
        finally:
            os.umask(previous)
        found.append(snapshot(root))
    assert found[0] == found[1]


def test_bytecode_is_there_valid_and_unchecked(
    store: Store, path: Path, compiler: Compiler
) -> None:
    entry = store.add(path, compiler)
    compiled = list(entry.tree.rglob("*.pyc"))
    assert {file.name.partition(".")[0] for file in compiled} == {"__init__", "m", "pure"}
    for file in compiled:
        content = file.read_bytes()
        assert content[:4] == importlib.util.MAGIC_NUMBER
        assert content[4:8] == b"\x01\0\0\0"  # PEP 552: by hash, unchecked
        marshal.loads(content[16:])
    size = sum(file.stat().st_size for file in compiled)
    assert bytecode_of(entry, CACHE_TAG) == (3, size)
    assert bytecode_of(entry, "other-1") is None


def test_another_interpreter_only_adds(
    store: Store, path: Path, compiler: Compiler, tmp_path: Path
) -> None:
    entry = store.add(path, compiler)
    before = snapshot(entry.root)
    # The same interpreter under another tag: a wrapper that renames it.
    python = tmp_path / "python"
    patch = "sys.implementation.cache_tag = 'other-1'"
    python.write_text(
        f"#!{sys.executable}\nimport runpy, sys; {patch}\n"
        "sys.argv[:3] = []\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    python.chmod(0o755)
    assert store.add(path, Compiler(python, "other-1")) == entry
    after = snapshot(entry.root)
    added = {name: after[name] for name in after.keys() - before.keys()}
    assert {k: v for k, v in after.items() if k not in added} == before
    assert all(name.endswith((".other-1.pyc", "bytecode/other-1")) for name in added)
    assert len(added) == 4
    assert os.listdir(store.root / "tmp") == []


def test_adding_twice_is_one_entry(store: Store, path: Path, compiler: Compiler) -> None:
    one = store.add(path, compiler)
    before = snapshot(store.root)
    copy = path.parent / "copy" / path.name
    copy.parent.mkdir()
    shutil.copy(path, copy)
    assert store.add(copy, compiler) == Store(store.root).add(path, compiler) == one
    assert snapshot(store.root) == before


def test_other_bytes_are_another_entry(
    store: Store, path: Path, compiler: Compiler, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", metadata={"extra": ""})
    entries = [store.add(path, compiler), store.add(other, compiler)]
    assert len({entry.root for entry in entries}) == 2
    assert {entry.description.version for entry in entries} == {"1.0"}


def test_ask_01_eight_digits_are_not_the_hash(
    store: Store,
    path: Path,
    compiler: Compiler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = Memory.digest

    def collide(self: Memory, path: Path, remember: bool) -> str:
        return "0" * 8 + digest(self, path, remember)[8:]

    monkeypatch.setattr(Memory, "digest", collide)
    paths = [path, write(tmp_path / "2", metadata={"extra": ""})]
    paths.append(write(tmp_path / "3", metadata={"extra": "3"}))
    entries = [store.add(each, compiler) for each in paths]
    assert [entry.root.name for entry in entries] == [
        "sample-1.0-00000000",
        "sample-1.0-00000000-2",
        "sample-1.0-00000000-3",
    ]
    assert [store.add(each, compiler) for each in paths] == entries
    files.remove_tree(entries[0].root)  # collected
    assert [store.add(each, compiler) for each in paths[1:]] == entries[1:]
    assert store.add(paths[0], compiler).root == entries[0].root


def test_what_cannot_be_read_in_a_shared_folder_is_no_more_than_a_name(
    store: Store, path: Path
) -> None:
    """Else whoever makes such a name keeps everybody else from the wheel."""
    entry = store.add(path, None)
    name, digest = entry.root.name, entry.description.sha256
    elsewhere = entry.root.rename(entry.root.with_name(f"{name}-3"))
    for identifier in (name, f"{name}-2"):
        unreadable = store.folder_of(identifier)
        (unreadable / "dist-info").mkdir(parents=True)
        (unreadable / "dist-info/RECORD").touch()
        (unreadable / "entry.json").write_text("{")
        shared = Shelf(unreadable.parent, is_shared=True)
        found = shared.find("sample-1.0", digest)
        assert found is not None
        assert found.root == elsewhere
        assert shared.find("sample-1.0", f"{digest[:8]}{'0' * 56}") is None
        assert shared.find("another-1.0", digest) is None
        with pytest.raises(InvalidStore, match=f"entry {identifier}:"):
            Shelf(unreadable.parent, is_shared=False).find(
                "sample-1.0", f"{digest[:8]}{'0' * 56}"
            )
        files.remove_tree(unreadable)


def test_who_is_beaten_to_it_takes_the_winners_entry_and_drops_its_own(
    store: Store, path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks keep nobody out, as between overlays of one folder: the rename does."""
    publish = files.publish

    def be_beaten(staged: Path, destination: Path) -> None:
        shutil.copytree(staged, destination, symlinks=True)
        publish(staged, destination)

    monkeypatch.setattr(files, "publish", be_beaten)
    entry = store.add(path, compiler)
    assert os.listdir(store.root / "entries") == [entry.root.name]
    assert os.listdir(store.root / "tmp") == []

    def be_beaten_by_another(staged: Path, destination: Path) -> None:
        shutil.copytree(staged, destination, symlinks=True)
        described = destination / "entry.json"
        described.chmod(0o644)
        text = described.read_text().replace(entry.description.sha256, "0" * 64)
        described.write_text(text)
        publish(staged, destination)

    files.remove_tree(entry.root)
    monkeypatch.setattr(files, "publish", be_beaten_by_another)
    with pytest.raises(InvalidStore, match="exists"):
        store.add(path, compiler)
    assert os.listdir(store.root / "tmp") == []


def test_a_bad_last_member_leaves_nothing(
    store: Store, compiler: Compiler, tmp_path: Path
) -> None:
    path = write(tmp_path, edit_record=change_hash("sample-1.0.dist-info/WHEEL"))
    with pytest.raises(InvalidWheel, match="WHEEL': its hash is not the one in RECORD"):
        store.add(path, compiler)
    assert leftovers(store) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_whatever_fails_leaves_nothing(
    store: Store, path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compiler, "compile", lambda *_: None)
    compiler = Compiler(Path(sys.executable), CACHE_TAG)
    for number in itertools.count():
        with fault(store.root, number, error) as planned:
            try:
                entry = store.add(path, compiler)
            except (InvalidStore, KeyboardInterrupt):
                entry = published(store)
                # after that, only an empty folder remains to be removed
                assert entry is not None or leftovers(store) == []
        if entry is not None:
            assert store.get(entry.description.id) == entry
            files.remove_tree(entry.root)
            shutil.rmtree(store.root / "tmp")
        if not planned.happened:
            break
    assert number > 40


def published(store: Store) -> Entry | None:
    folder = store.root / "entries"
    names = os.listdir(folder) if folder.exists() else []
    return store.get(names[0]) if names else None


def test_an_interpreter_that_fails_leaves_nothing(store: Store, path: Path) -> None:
    for python, reason in (
        ("/nowhere/python", "does not run"),
        ("/bin/false", "cannot compile bytecode: exit status 1"),
    ):
        with pytest.raises(InvalidEnvironment, match=reason):
            store.add(path, Compiler(Path(python), CACHE_TAG))
    assert leftovers(store) == []


@pytest.mark.parametrize("hidden", [False, True])
def test_a_wheel_that_changes_meanwhile_is_refused(
    store: Store,
    path: Path,
    compiler: Compiler,
    hidden: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = store_module.wheel.read

    def replace_and_read(path: Path, limits: Limits) -> object:
        before = path.stat()
        if hidden:  # same size, and an mtime that says nothing
            time.sleep(0.02)  # the kernel's clock for files ticks every few milliseconds
            path.write_bytes(path.read_bytes())
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            write(path.parent, metadata={"extra": ""})
        return read(path, limits)

    monkeypatch.setattr(store_module.wheel, "read", replace_and_read)
    with pytest.raises(InvalidWheel, match="changed while it was unpacked"):
        store.add(path, compiler)
    assert leftovers(store) == []


def test_processes_at_once_make_one_entry(store: Store, path: Path) -> None:
    waiting, gate = os.pipe()
    children = [_fork_to_add(store.root, path, waiting, gate) for _ in range(3)]
    os.close(waiting)
    os.close(gate)  # all at once
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert len(os.listdir(store.root / "entries")) == 1
    assert os.listdir(store.root / "tmp") == []


def _fork_to_add(root: Path, path: Path, waiting: int, gate: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.close(gate)
            os.read(waiting, 1)
            Store(root).add(path, Compiler(Path(sys.executable), CACHE_TAG))
            os._exit(0)
        finally:
            os._exit(1)
    return child


@pytest.mark.parametrize("compiled", [True, False])
def test_bytecode_of_the_wheel_is_passed_over(
    store: Store, compiler: Compiler, tmp_path: Path, compiled: bool
) -> None:
    name = f"p/__pycache__/__init__.{CACHE_TAG}.pyc"
    path = write_wheel(tmp_path, {"p/__init__.py": "", name: "old", "p/only.pyc": "kept"})
    entry = store.add(path, compiler)
    assert (entry.tree / name).read_bytes() != b"old"
    assert (entry.tree / "p/only.pyc").read_bytes() == b"kept"
    assert name not in entry.record
    assert entry.description.files == 2


def test_metadata_of_another_installation_is_passed_over(
    store: Store, compiler: Compiler, tmp_path: Path
) -> None:
    wrong = {"INSTALLER": "x", "direct_url.json": "{}", "REQUESTED": "", "LICENSE": ""}
    entry = store.add(write_wheel(tmp_path, {"m.py": ""}, metadata=wrong), compiler)
    names = {"LICENSE", "METADATA", "WHEEL", "top_level.txt"}
    assert {*os.listdir(entry.dist_info)} == {*names, "RECORD"}
    assert {*entry.description.metadata} == names
    assert "INSTALLER" not in entry.record


class TestRemembering:
    """The hash of a wheel file that stays is remembered as long as it is the same."""

    @pytest.fixture(autouse=True)
    def _settled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_SETTLED", -1.0)

    @pytest.fixture
    def hashed(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Grows with every wheel file that is read."""
        calls: list[int] = []
        of = memory.digests.of

        def count(*given: Any) -> object:
            calls.append(1)
            return of(*given)

        monkeypatch.setattr(memory.digests, "of", count)
        return calls

    def test_same_file(
        self, store: Store, path: Path, compiler: Compiler, hashed: list[int]
    ) -> None:
        store.add(path, compiler, remember=True)
        calls = len(hashed)
        Store(store.root).add(path, compiler, remember=True)
        assert len(hashed) == calls
        Store(store.root).add(path, compiler)
        assert len(hashed) == calls + 1

    def test_changed_file_of_the_same_size_and_time(
        self, store: Store, path: Path, compiler: Compiler, tmp_path: Path
    ) -> None:
        one = store.add(path, compiler, remember=True)
        status = path.stat()
        other = write(tmp_path / "other", metadata={"WHEEL": _other_wheel(path)})
        assert other.stat().st_size == status.st_size
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert Store(store.root).add(path, compiler, remember=True) != one

    def test_young_files_are_not_trusted(
        self,
        store: Store,
        path: Path,
        compiler: Compiler,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(memory, "_SETTLED", 3600.0)
        store.add(path, compiler, remember=True)
        assert not (store.root / "wheels").exists()

    @pytest.mark.parametrize("content", [b"\xff", b"a b c\n1:2 3", b"1:2:3:4:5 abc"])
    def test_damaged_memory_is_none(
        self, store: Store, path: Path, compiler: Compiler, content: bytes
    ) -> None:
        one = store.add(path, compiler, remember=True)
        (store.root / "wheels").write_bytes(content)
        assert Store(store.root).add(path, compiler, remember=True) == one
        assert Store(store.root).add(path, compiler, remember=True) == one


def _other_wheel(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        text = archive.read("sample-1.0.dist-info/WHEEL").decode()
    return text.replace("Generator: hand", "Generator: dnah")


class TestOpening:
    def test_layout_of_another_version(self, tmp_path: Path) -> None:
        (tmp_path / "format").write_text("2\n")
        with pytest.raises(InvalidStore, match=r"layout is 2, this .* knows 1; upgrade"):
            Store(tmp_path)

    def test_a_folder_of_somebody_else(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(InvalidStore, match="holds something else"):
            Store(tmp_path)

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InvalidStore, match="Not a directory"):
            Store(tmp_path / "file")

    def test_an_empty_folder_and_none(
        self, tmp_path: Path, path: Path, compiler: Compiler
    ) -> None:
        (tmp_path / "empty").mkdir()
        for root in (tmp_path / "empty", tmp_path / "not/there"):
            store = Store(root)
            assert not root.exists() or not os.listdir(root)
            store.add(path, compiler)
        assert stat.S_IMODE((tmp_path / "not/there").stat().st_mode) == 0o700

    def test_a_line_break_in_the_path(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidStore, match="line break"):
            Store(tmp_path / "a\nb")

    def test_while_another_process_makes_it(
        self, store: Store, path: Path, compiler: Compiler
    ) -> None:
        for number in range(1000):
            with fault(store.root, number, KeyboardInterrupt()) as planned:
                try:
                    Store(store.root)._prepare()
                except KeyboardInterrupt:
                    pass
            Store(store.root).add(path, compiler)
            shutil.rmtree(store.root)
            if not planned.happened:
                break
        assert number > 4

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "\xff", "{"])
    def test_a_damaged_entry(
        self, store: Store, path: Path, compiler: Compiler, text: str
    ) -> None:
        entry = store.add(path, compiler)
        files.remove(entry.root / "entry.json")
        (entry.root / "entry.json").write_text(text, "latin-1")
        with pytest.raises(InvalidStore, match=f"entry {entry.root.name}: "):
            store.get(entry.description.id)

    def test_half_of_an_entry_is_none(
        self, store: Store, path: Path, compiler: Compiler
    ) -> None:
        entry = store.add(path, compiler)
        (entry.root / "entry.json").unlink()
        assert store.get(entry.description.id) is None
        again = store.add(path, compiler)
        assert again.root.name == f"{entry.root.name}-2"


AS_NOBODY = """
import os, sys
from pathlib import Path
from commonwheel import files
from commonwheel.bytecode import Compiler
from commonwheel.errors import CommonwheelError
from commonwheel.store import Store
root, wheel, action = sys.argv[1:]
assert os.getuid() != 0
tag = sys.implementation.cache_tag
try:
    entry = Store(Path(root)).add(Path(wheel), Compiler(Path(sys.executable), tag))
    if action == "add bytecode again":
        (entry.root / "bytecode" / tag).unlink()
        for file in entry.tree.rglob("*.pyc"):
            file.parent.chmod(0o755)
            file.unlink()
            file.parent.chmod(0o555)
        again = Store(Path(root)).add(Path(wheel), Compiler(Path(sys.executable), tag))
        assert list(again.tree.rglob("*.pyc"))
    if action == "remove":
        files.remove_tree(entry.root)
    print(entry.root)
except CommonwheelError as error:
    print(error)
"""
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@functools.cache
def python_of_nobody() -> str | None:
    """An interpreter that another user may run; those in a home folder are none."""
    code = "import subprocess, sys; subprocess.check_call([sys.executable, '-c', ''])"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run([*NOBODY, python, "-c", code], capture_output=True)
        except OSError:
            return None
        if done.returncode == 0:
            return python
    return None


@pytest.mark.skipif(
    os.getuid() != 0 or python_of_nobody() is None, reason="cannot become nobody"
)
class TestAsAnotherUser:
    """Root may do what others may not, and tests often run as root."""

    @pytest.fixture(autouse=True)
    def _shared(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as folder:
            shared = Path(folder)  # those of pytest are private
            shared.chmod(0o1777)
            self.path = write(shared / "wheels")
            self.root = shared / "store"
            self.source = shared / "source"
            for module in (commonwheel, filelock, installer, packaging):
                package = Path(module.__path__[0])
                shutil.copytree(package, self.source / package.name)
            yield
            if self.root.exists():
                files.remove_tree(self.root)

    def run(self, action: str) -> str:
        python = python_of_nobody()
        assert python is not None
        done = subprocess.run(
            [*NOBODY, python, "-c", AS_NOBODY, self.root, self.path, action],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(self.source), "PATH": os.defpath},
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.strip()

    def test_own_store(self) -> None:
        root = Path(self.run("add"))
        assert root.stat().st_uid == 65534
        assert list((root / "tree").rglob("*.pyc"))
        assert self.run("add bytecode again") == str(root)
        assert not os.listdir(self.root / "tmp")
        assert self.run("remove") == str(root)
        assert not root.exists()

    def test_store_of_root(self, compiler: Compiler) -> None:
        entry = Store(self.root).add(self.path, compiler)
        assert "Permission denied" in self.run("add")  # it is private
        self.root.chmod(0o755)
        assert self.run("add") == str(entry.root)
        for note in (entry.root / "bytecode").iterdir():
            note.unlink()
        assert self.run("add") == str(entry.root)
        assert not list((entry.root / "bytecode").iterdir())
        files.remove_tree(entry.root)
        refused = f"the store {self.root} cannot be used: it belongs to root; run this as"
        assert self.run("add").startswith(refused)

    def test_no_right_to_list(self) -> None:
        self.root.mkdir(mode=0o711)
        assert "Permission denied" in self.run("add")


def test_chains_of_the_same_stores_are_locked_in_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two processes could wait for each other, each with a lock of its own."""
    roots = [tmp_path / name for name in ("b", "a", "c")]
    for root in roots:
        Store(root)._prepare()
    opened: list[Path] = []
    lock_file = occupancy.LockFile

    def record(path: Path, flags: int) -> LockFile:
        opened.append(path.parent.parent)
        return lock_file(path, flags)

    monkeypatch.setattr(occupancy, "LockFile", record)
    for chain in itertools.permutations(roots):
        opened.clear()
        with Store(*chain).in_use():
            assert [*dict.fromkeys(opened)] == sorted(roots)


def test_what_another_user_makes_under_the_same_lock_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._prepare()
    for name in ("ab-left", "ab-left-too", "cd-other"):
        (store.root / "tmp" / name).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with store._staging("ab12"):
            assert len(os.listdir(store.root / "tmp")) == 4
    with store._staging("ab12"):
        pass
    assert os.listdir(store.root / "tmp") == ["cd-other"]


def test_a_read_only_store_serves_what_it_has(
    store: Store, path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry: Entry = store.add(path, compiler)
    before = snapshot(store.root)
    monkeypatch.setattr(os, "access", lambda *_: False)
    other = Compiler(Path("/nowhere"), "other-1")
    assert store.add(path, other) == entry
    assert store.bytecode_of_runtime(other) == b""
    assert snapshot(store.root) == before


def test_entries_are_found_by_what_they_are_of(
    store: Store, tmp_path: Path, compiler: Compiler
) -> None:
    assert list(store.contents().of_name("sample-x")) == []
    names = {"a": ("Sample_X", "1.0"), "b": ("sample.x", "1.0.0"), "c": ("sample_x", "2")}
    added = {
        key: store.add(write_wheel(tmp_path / key, {"m.py": key}, *name), compiler)
        for key, name in names.items()
    }
    contents = store.contents()
    digests = {key: entry.description.sha256 for key, entry in added.items()}

    def keys(found: Iterator[Entry]) -> set[str]:
        return {key for entry in found for key in added if added[key] == entry}

    assert keys(contents.of_name("sample-x")) == {"a", "b", "c"}
    assert keys(contents.of_name("other")) == set()
    assert keys(contents.of_digests("sample-x", {digests["b"], "0" * 64})) == {"b"}
    # the whole hash counts, not what names an entry
    almost = digests["c"][:8] + "0" * 56
    assert keys(contents.of_digests("sample-x", {almost})) == set()
    files.remove_tree(added["a"].root)  # gone since somebody looked
    assert keys(contents.of_name("sample-x")) == {"b", "c"}


def test_origins_are_remembered(store: Store, path: Path, compiler: Compiler) -> None:
    assert store.of_origin("git+https://host@1") is None
    entry = store.add(path, compiler)
    for _ in range(2):
        store.remember_origin("git+https://host@1", entry)
    fresh = Store(store.root)
    assert fresh.of_origin("git+https://host@1") == entry
    assert fresh.of_origin("git+https://host@2") is None
    note = store.root / "origins"
    assert len(note.read_text().splitlines()) == 1
    with note.open("a") as file:
        file.write("half a li")
    assert Store(store.root).of_origin("git+https://host@1") == entry
    files.remove_tree(entry.root)
    assert Store(store.root).of_origin("git+https://host@1") is None
