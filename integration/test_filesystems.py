"""Each link mode on real filesystems: what it does there, and what that takes.

Needs the superuser: filesystems are made in files and mounted.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import cargo
import interpreters
from environments import Environment, Templates, Tree, run, store_contents, tree
from filesystems import (
    BTRFS,
    EXT4,
    OLD_XFS,
    TMPFS,
    XFS,
    Kind,
    Mounts,
    extents,
    mounts,
    require,
    taken,
)
from wheelhouse import NEWEST_PIP, Wheelhouse, write_wheel

MODES = ("manifest", "auto", "reflink", "hardlink", "copy")
PAYLOAD = len(cargo.NOISE)
"""What cannot but take space, in bytes; all the rest takes less than a quarter of it."""
ELSEWHERE = "the store is on another filesystem"

Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Machine:
    """An environment with commonwheel and pip, which serves others."""

    host: Environment
    base: Path
    wheel: Path

    def commonwheel(self, *arguments: object, check: bool = True) -> Completed:
        """Run it."""
        program = self.host.path / "bin/commonwheel"
        return self.host.run(program, *arguments, check=check)

    def environment(self, path: Path, base: Path | None = None) -> Path:
        """A new virtual environment, with nothing in it."""
        command = (base or self.base, "-m", "venv", "--without-pip", path)
        self.host.run(*command)
        return path

    def install(
        self, path: Path, store: Path, mode: str, *wheels: Path, check: bool = True
    ) -> Completed:
        """Install into an environment; of itself a distribution that has everything."""
        options = ("--store", store, "--link-mode", mode, "--json")
        given = wheels or (self.wheel,)
        return self.commonwheel(
            "install", "--python", path, *options, *given, check=check
        )

    def used(self, path: Path) -> str:
        """The mode that ``status`` shows for the distribution that has everything."""
        told = json.loads(self.commonwheel("status", "--json", path).stdout)
        return next(each["mode"] for each in told["linked"] if each["name"] == "cargo")

    def assert_works(self, path: Path) -> None:
        """It can be imported, and its scripts run."""
        here = self.host.run(path / "bin/python", "-W", "error", "-c", cargo.USE)
        assert here.stdout == "1.0\n"
        script = self.host.run(path / "bin/cargo-console")
        assert script.stdout == "console 1.0\n"

    def assert_in_order(self, path: Path) -> None:
        """Nothing is wrong with it, as ``doctor`` says."""
        self.commonwheel("doctor", path)


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, python: Path
) -> Machine:
    root = tmp_path_factory.mktemp("machine")
    host = templates.make(root / "host", python, NEWEST_PIP)
    return Machine(host, python, cargo.write_cargo(root / "wheels"))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounts]:
    with mounts(tmp_path) as made:
        yield made


def site_of(path: Path) -> Path:
    return next(path.glob("lib/python*/site-packages"))


def said_by(done: Completed) -> list[str]:
    """What a person is told."""
    return done.stderr.splitlines()


def fill(machine: Machine, store: Path, scratch: Path) -> Path:
    """A store that has the distribution, and holes in a file; gives its tree."""
    machine.install(machine.environment(scratch), store, "manifest")
    shutil.rmtree(scratch)
    (found,) = store.glob("entries/cargo-*/tree")
    run(["fallocate", "--dig-holes", found / "cargo/zeros.bin"])
    return found


# These tests themselves


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_stays_mounted(tmp_path: Path, error: type[BaseException]) -> None:
    places: list[Path] = []

    def use() -> None:
        with mounts(tmp_path) as made:
            places.extend((made.filesystem(EXT4), made.filesystem(TMPFS)))
            places.append(made.overlay(places[0] / "lower", places[0]))
            assert all(map(os.path.ismount, places))
            raise error

    with pytest.raises(error):
        use()
    assert not any(map(os.path.ismount, places))
    assert str(tmp_path) not in run(["losetup", "--list"]).stdout


def test_what_cannot_be_tested_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    no_program = "btrfs: no mkfs.nothing and no mkfs.nowhere"
    nobody = "btrfs: only the superuser can mount filesystems"
    for reason, user in ((no_program, 0), (nobody, 1000)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match=reason):
            require("btrfs", "mkfs.nothing", "mkfs.nowhere")
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match=reason):
            require("btrfs", "mkfs.nothing", "mkfs.nowhere")


# All on one filesystem


@dataclass(frozen=True)
class Disk:
    """A filesystem with a store on it."""

    name: str
    path: Path
    reflinks: bool
    fiemap: bool
    store: Path
    tree: Path
    """Of the distribution, in the store."""


DISKS = {
    **{kind.name: kind for kind in (EXT4, BTRFS, XFS, OLD_XFS, TMPFS)},
    "overlay on ext4": EXT4,
    "overlay on xfs": XFS,
}


@pytest.fixture(scope="module", params=DISKS)
def disk(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    machine: Machine,
) -> Iterator[Disk]:
    name, kind = request.param, DISKS[request.param]
    with mounts(tmp_path_factory.mktemp("disk")) as made:
        path = made.filesystem(kind)
        if name.startswith("overlay"):
            path = made.overlay(path / "lower", path)
        store = path / "store"
        found = fill(machine, store, path / "scratch")
        yield Disk(name, path, kind.reflinks, kind is not TMPFS, store, found)


@pytest.mark.parametrize("asked", MODES)
def test_what_a_mode_does_and_takes(
    machine: Machine,
    disk: Disk,
    asked: str,
    record_property: Callable[[str, object], None],
) -> None:
    path = machine.environment(disk.path / "environment")
    row = [disk.name, asked, "impossible", "0 K"]
    try:
        before = tree(path)
        space, done = taken(
            disk.path, lambda: machine.install(path, disk.store, asked, check=False)
        )
        row[3] = f"{space // 1024} K"
        if asked == "reflink" and not disk.reflinks:
            assert_refused(done, asked, "Operation not supported")
            assert tree(path) == before
            return
        used = _used_mode(disk, asked)
        row[2] = machine.used(path)
        assert (done.returncode, done.stderr) == (0, "")
        assert row[2] == used
        assert json.loads(done.stdout)["installed"][0]["mode"] == used
        machine.assert_works(path)
        CHECKS[used](disk, site_of(path))
        if used != "copy":
            assert space < PAYLOAD / 4
        elif not disk.reflinks:
            assert space > PAYLOAD
    finally:
        record_property("filesystem", row)
        shutil.rmtree(path)


def _used_mode(disk: Disk, asked: str) -> str:
    if asked == "auto":
        return "reflink" if disk.reflinks else "hardlink"
    return asked


def assert_refused(done: Completed, mode: str, reason: str) -> None:
    """It failed with one line that says why."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = said_by(done)
    assert line.startswith(f"commonwheel: error: link mode {mode} does not work from /")
    assert f": {reason}; choose another one, or auto" in line


def check_links(disk: Disk, site: Path) -> None:
    assert not (site / "cargo").exists()
    view = site / "_commonwheel/view"
    assert os.readlink(view / "cargo") == f"{disk.tree}/cargo"
    (compiled,) = view.glob("__pycache__/cargo_module.*.pyc")
    assert compiled.stat().st_nlink == 1  # what is run is no file of the store's
    assert next(site.glob("*.dist-info/METADATA")).stat().st_nlink > 1


def check_reflinks(disk: Disk, site: Path) -> None:
    check_own_files(disk, site)
    noise = extents(site / "cargo/library.bin")
    assert noise.shared == noise.size > PAYLOAD
    assert_holes_kept(site)
    assert_independent(disk, site)


def assert_holes_kept(site: Path) -> None:
    zeros = (site / "cargo/zeros.bin").stat()
    assert zeros.st_size > len(cargo.EMPTY)
    assert zeros.st_blocks * 512 < len(cargo.EMPTY) / 4


def assert_independent(disk: Disk, site: Path) -> None:
    """What is written into a file in place is written into this one only."""
    stored = (disk.tree / "cargo/library.bin").read_bytes()
    with open(site / "cargo/library.bin", "r+b") as file:
        file.write(b"edited")
    assert (disk.tree / "cargo/library.bin").read_bytes() == stored
    assert (site / "cargo/library.bin").read_bytes()[:6] == b"edited"


def check_hard_links(disk: Disk, site: Path) -> None:
    for path in cargo.SHARED:
        status = (site / path.format(version="1.0")).stat()
        assert status.st_nlink > 1, path
        bits = 0o555 if path.endswith(".sh") else 0o444
        assert stat.S_IMODE(status.st_mode) == bits, path
    for path in cargo.EDITED:
        status = (site / path.format(version="1.0")).stat()
        assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (1, 0o644), path
    for path in ("bin/cargo-script", "bin/cargo.sh", "etc/cargo.conf"):
        assert (site.parents[2] / path).stat().st_nlink == 1, path
    # those of a tree are one file with the store's
    for path in ("cargo/library.bin", "cargo_module.py"):
        same = (site / path).stat().st_ino == (disk.tree / path).stat().st_ino
        assert same, path
    assert_holes_kept(site)


def check_copies(disk: Disk, site: Path) -> None:
    check_own_files(disk, site)
    if disk.fiemap and not disk.reflinks:
        assert extents(site / "cargo/library.bin").shared == 0
    assert_independent(disk, site)


def check_own_files(disk: Disk, site: Path) -> None:
    """As pip makes them, with the times that they have in the store."""
    for path in (*cargo.SHARED, *cargo.EDITED):
        status = (site / path.format(version="1.0")).stat()
        bits = 0o755 if path.endswith(".sh") else 0o644
        assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (1, bits), path
        stored = disk.tree / path
        if stored.exists():
            assert status.st_mtime_ns == stored.stat().st_mtime_ns, path


CHECKS: dict[str, Callable[[Disk, Path], None]] = {
    "manifest": check_links,
    "reflink": check_reflinks,
    "hardlink": check_hard_links,
    "copy": check_copies,
}


# Found out on the first file


def test_nothing_is_probed_and_nothing_tried_twice(
    machine: Machine, mounted: Mounts
) -> None:
    """Reflinks are tried once for files that may be hard links, once for others."""
    disk = mounted.filesystem(EXT4)
    store = disk / "store"
    fill(machine, store, disk / "scratch")
    for mode, reflinks in (("auto", 2), ("hardlink", 1), ("copy", 1), ("manifest", 1)):
        path = machine.environment(disk / mode)
        calls = trace(machine, disk / "trace", path, store, mode)
        assert len(re.findall(r"\bFICLONE\b", calls)) == reflinks
        links = re.findall(r"\blink(?:at)?\(.*\) = 0", calls)
        assert ("/library.bin" in "".join(links)) == (mode in ("auto", "hardlink"))
        # the kernel copies, not we
        copied = re.findall(r"\bcopy_file_range\(.*\) = (\d+)", calls)
        assert (sum(map(int, copied)) > PAYLOAD) == (mode == "copy")


def trace(machine: Machine, log: Path, path: Path, store: Path, mode: str) -> str:
    """The calls of the system that make links and copies."""
    program = machine.host.path / "bin/commonwheel"
    calls = "trace=ioctl,link,linkat,copy_file_range"
    options = ("--python", path, "--store", store, "--link-mode", mode)
    machine.host.run(
        *("strace", "-f", "-qq", "-y", "-e", calls, "-o", log),
        *(program, "install", *options, machine.wheel),
    )
    return log.read_text()


def test_a_file_that_has_all_the_links_there_can_be(
    machine: Machine, mounted: Mounts
) -> None:
    """It is copied, and the rest is linked."""
    disk = mounted.filesystem(EXT4)
    stored = fill(machine, disk / "store", disk / "scratch")
    with pytest.raises(OSError, match="Too many links"):
        link_without_end(stored / "cargo/library.bin", disk / "many")
    path = machine.environment(disk / "environment")
    assert said_by(machine.install(path, disk / "store", "hardlink")) == []
    assert machine.used(path) == "hardlink"
    machine.assert_works(path)
    site = site_of(path)
    assert (site / "cargo/library.bin").stat().st_nlink == 1
    assert (site / "cargo/__init__.py").stat().st_nlink > 1


def link_without_end(file: Path, folder: Path) -> None:
    folder.mkdir()
    for number in itertools.count():
        os.link(file, folder / f"{number}")


# The store is elsewhere


@pytest.mark.parametrize("kind", [TMPFS, BTRFS], ids=lambda kind: kind.name)
def test_a_store_on_another_filesystem(
    machine: Machine, mounted: Mounts, tmp_path: Path, kind: Kind
) -> None:
    disk, store = mounted.filesystem(kind), mounted.filesystem(EXT4) / "store"
    fill(machine, store, store.parent / "scratch")
    in_store = store_contents(store)
    other = write_wheel(tmp_path, "other", "1", {"other.py": ""})
    for mode in MODES:
        path = machine.environment(disk / mode)
        before = tree(path)
        done = machine.install(path, store, mode, machine.wheel, other, check=False)
        if mode in ("reflink", "hardlink"):
            assert_refused(done, mode, ELSEWHERE)
            assert tree(path) == before
            continue
        # of two distributions, and said once
        warned = [f"commonwheel: warning: {ELSEWHERE}: copying"]
        assert said_by(done) == (warned if mode == "auto" else [])
        assert machine.used(path) == ("manifest" if mode == "manifest" else "copy")
        machine.assert_works(path)
    now = store_contents(store)
    assert {name: now[name] for name in in_store} == in_store


def test_pip_says_once_that_it_copies_and_why(
    machine: Machine, mounted: Mounts, tmp_path: Path
) -> None:
    disk, store = mounted.filesystem(TMPFS), mounted.filesystem(EXT4) / "store"
    path = machine.environment(disk / "environment")
    other = write_wheel(tmp_path, "other", "1", {"other.py": "", "settings.cfg": ""})

    def install(mode: str) -> Completed:
        return machine.host.pip(
            *("--python", path, "install", "--use-shared-store", "--no-index"),
            *("--shared-store-path", store, "--shared-store-link-mode", mode),
            *(machine.wheel, other),
            check=False,
        )

    before = tree(path)
    for mode in ("reflink", "hardlink"):
        done = install(mode)
        assert done.returncode == 1
        assert done.stderr.count(f"link mode {mode} does not work from") == 1
        assert ELSEWHERE in done.stderr
        assert "Traceback" not in done.stderr
        assert tree(path) == before
    done = install("auto")
    assert done.returncode == 0
    assert done.stderr.count(f"{ELSEWHERE}: copying") == 1
    assert f"Installed 2 distributions from the store {store} (copy)" in done.stdout
    machine.assert_works(path)


def test_two_mounts_of_one_filesystem_are_two_to_hard_links(
    machine: Machine, mounted: Mounts
) -> None:
    """As of two volumes of a container; reflinks reach from one to the other."""
    for kind, used in ((EXT4, "copy"), (BTRFS, "reflink")):
        disk = mounted.filesystem(kind)
        places = [disk / "stores", disk / "environments"]
        for place in places:
            place.mkdir()
        store, environments = (mounted.bind(place) for place in places)
        path = machine.environment(environments / "environment")
        done = machine.install(path, store / "store", "hardlink", check=False)
        assert_refused(done, "hardlink", ELSEWHERE)
        machine.install(path, store / "store", "auto")
        assert machine.used(path) == used
        machine.assert_works(path)


def test_subvolumes_are_filesystems_of_their_own_to_hard_links(
    machine: Machine, mounted: Mounts
) -> None:
    disk = mounted.filesystem(BTRFS)
    for name in ("stores", "environments"):
        run(["btrfs", "subvolume", "create", disk / name])
    store = disk / "stores/store"
    path = machine.environment(disk / "environments/environment")
    for mode, used in (("manifest", "manifest"), ("auto", "reflink")):
        assert said_by(machine.install(path, store, mode)) == []
        assert machine.used(path) == used
        machine.assert_works(path)
    before = tree(path)
    done = machine.install(path, store, "hardlink", check=False)
    assert_refused(done, "hardlink", ELSEWHERE)
    assert tree(path) == before


@pytest.mark.parametrize("kind", [EXT4, XFS], ids=lambda kind: kind.name)
def test_a_store_in_a_lower_layer(machine: Machine, mounted: Mounts, kind: Kind) -> None:
    """As in an image; the environment is in the layer of a container."""
    disk = mounted.filesystem(kind)
    lower = disk / "lower"
    fill(machine, lower / "store", disk / "scratch")
    in_image = tree(lower)
    merged = mounted.overlay(lower, disk)
    store = merged / "store"
    for mode in ("manifest", "auto", "hardlink", "copy"):
        path = machine.environment(merged / mode)
        space, done = taken(disk, partial(machine.install, path, store, mode))
        assert said_by(done) == []
        used = {"auto": "reflink" if kind.reflinks else "hardlink"}.get(mode, mode)
        assert machine.used(path) == used
        machine.assert_works(path)
        machine.assert_in_order(path)
        if mode == "manifest" or used == "reflink":
            assert space < PAYLOAD / 4
    assert tree(lower) == in_image


def test_a_store_that_cannot_be_written(
    machine: Machine, mounted: Mounts, tmp_path: Path
) -> None:
    """A squashfs, which is as read-only to the superuser."""
    disk = mounted.filesystem(TMPFS)
    fill(machine, disk / "store", disk / "scratch")
    store = mounted.image_of(disk / "store")
    path = machine.environment(disk / "environment")
    for mode, said, used in (
        ("manifest", [], "manifest"),
        ("auto", [f"commonwheel: warning: {ELSEWHERE}: copying"], "copy"),
    ):
        assert said_by(machine.install(path, store, mode)) == said
        assert machine.used(path) == used
        machine.assert_works(path)
        machine.assert_in_order(path)
    before = tree(path)
    assert_refused(
        machine.install(path, store, "hardlink", check=False), "hardlink", ELSEWHERE
    )
    other = write_wheel(tmp_path, "other", "1", {"other.py": ""})
    done = machine.install(path, store, "manifest", other, check=False)
    assert done.returncode == 1
    (line,) = said_by(done)
    assert "cannot be used: Read-only file system" in line
    assert tree(path) == before


@pytest.mark.parametrize("mode", ["manifest", "auto"])
def test_a_store_that_cannot_be_written_serves_another_python(
    machine: Machine, mounted: Mounts, mode: str
) -> None:
    """It has no bytecode for it; that is made, or not, as for any files."""
    disk = mounted.filesystem(TMPFS)
    fill(machine, disk / "store", disk / "scratch")
    store = mounted.image_of(disk / "store")
    base = interpreters.require("3.11")
    path = machine.environment(disk / "environment", base)
    machine.install(path, store, mode)
    assert not list(site_of(path).rglob("*cargo*/**/*.cpython-311.pyc"))
    machine.assert_works(path)


# No links at all


def test_an_environment_without_symbolic_links(
    machine: Machine, mounted: Mounts, tmp_path: Path
) -> None:
    """It gets real files by itself, and that is said once."""
    _, disk = mounted.without_links()
    store = mounted.filesystem(EXT4) / "store"
    path = disk / "environment"
    (path / "lib64").mkdir(parents=True)  # else venv would make a symbolic link
    machine.host.run(machine.base, "-m", "venv", "--without-pip", "--copies", path)
    before = tree(path)
    other = write_wheel(tmp_path, "other", "1", {"other.py": ""})
    for _ in range(2):
        done = machine.install(path, store, "manifest", machine.wheel, other)
        no_links, copying = said_by(done)
        reason = re.escape("commonwheel: warning: no symbolic links on its filesystem (")
        assert re.fullmatch(reason + r"[\w ]+\): real files", no_links)
        assert copying == f"commonwheel: warning: {ELSEWHERE}: copying"
        assert machine.used(path) == "copy"
        machine.assert_works(path)
        machine.assert_in_order(path)
    machine.commonwheel("uninstall", "--python", path, "cargo", "other")
    left = {name for name in tree(path) if name not in before}
    assert not [name for name in left if "cargo" in name or "other" in name]


def test_a_store_without_links(machine: Machine, mounted: Mounts) -> None:
    _, disk = mounted.without_links()
    target = disk / "target"
    options = ("install", "--store", disk / "store", machine.wheel)
    done = machine.commonwheel(*options, "--target", target)
    (line,) = said_by(done)
    # one reason for all files, so no file is named
    assert re.fullmatch(r"commonwheel: warning: [\w ]+: copying", line)
    variables = {"PYTHONPATH": str(target)}
    code = "import cargo; print(cargo.VERSION)"
    assert machine.host.code(code, variables=variables) == "1.0"
    before = tree(target)
    done = machine.commonwheel(
        *options, "--target", target, "--link-mode", "hardlink", check=False
    )
    assert_refused(done, "hardlink", "Operation not permitted")
    assert tree(target) == before


# One environment on two filesystems


def test_scripts_may_be_on_another_filesystem_than_modules(
    machine: Machine, mounted: Mounts
) -> None:
    disk = mounted.filesystem(EXT4)
    store = disk / "store"
    path = machine.environment(disk / "environment")
    mounted.replace(path / "bin")
    before = set(os.listdir(path / "bin"))
    for mode in ("manifest", "hardlink", "copy", "manifest"):
        machine.install(path, store, mode)
        assert machine.used(path) == mode
        machine.assert_works(path)
        machine.assert_in_order(path)
    machine.commonwheel("uninstall", "--python", path, "cargo")
    assert set(os.listdir(path / "bin")) == before


def test_no_room_for_scripts(machine: Machine, mounted: Mounts) -> None:
    disk = mounted.filesystem(EXT4)
    store = disk / "store"
    for mode in ("manifest", "hardlink"):
        path = machine.environment(disk / f"environment-{mode}")
        mounted.replace(path / "bin", "size=128k")
        with full(path / "bin"):
            before = tree(path)
            assert_no_space(machine.install(path, store, mode, check=False))
            assert tree(path) == before
        machine.install(path, store, mode)
        machine.assert_works(path)


# No room


@contextmanager
def full(place: Path) -> Iterator[None]:
    """While this lasts, nothing more can be written."""
    filler = place / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            yield
    filler.unlink()


def assert_no_space(done: Completed) -> None:
    assert done.returncode == 1
    (line,) = said_by(done)
    assert "No space left on device" in line
    assert line.startswith("commonwheel: error: ")


LIMITS = {"bytes": "size=3m", "inodes": "nr_inodes=42"}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_no_room_for_an_environment(
    machine: Machine, mounted: Mounts, limit: str
) -> None:
    disk, store = mounted.filesystem(TMPFS, limit), mounted.filesystem(EXT4) / "store"
    path = machine.environment(disk / "environment")
    before = tree(path)
    assert_no_space(machine.install(path, store, "copy", check=False))
    assert tree(path) == before
    target = disk / "target"
    options = ("--target", target, "--store", store, "--link-mode", "copy")
    done = machine.commonwheel("install", *options, machine.wheel, check=False)
    assert_no_space(done)
    assert not target.exists()


def test_no_room_for_an_upgrade_by_pip(
    machine: Machine, mounted: Mounts, tmp_path: Path
) -> None:
    """pip has uninstalled the old version by then, and puts it back."""
    disk, store = mounted.filesystem(TMPFS), mounted.filesystem(EXT4) / "store"
    path = machine.environment(disk / "environment")
    newer = cargo.write_cargo(tmp_path, "2.0")

    def install(mode: str, wheel: Path) -> Completed:
        return machine.host.pip(
            *("--python", path, "install", "--use-shared-store", "--no-index"),
            *("--shared-store-path", store, "--shared-store-link-mode", mode, wheel),
            check=False,
            variables={"TMPDIR": str(tmp_path)},
        )

    for mode in ("copy", "manifest"):
        assert install(mode, machine.wheel).returncode == 0
        before = tree(path)
        with full(disk):
            done = install("copy", newer)
            assert done.returncode == 1
            assert "No space left on device" in done.stderr
            assert tree(path) == {**before, **_runtime(path)}
        machine.assert_works(path)


def _runtime(path: Path) -> Tree:
    """What of ours may be there or not, with whatever in it."""
    return {name: kind for name, kind in tree(path).items() if name.endswith("/lock")}


def test_no_room_for_an_entry(machine: Machine, mounted: Mounts) -> None:
    small, disk = mounted.filesystem(TMPFS, "size=3m"), mounted.filesystem(EXT4)
    path = machine.environment(disk / "environment")
    before = tree(path)
    assert_no_space(machine.install(path, small / "store", "manifest", check=False))
    assert tree(path) == before
    assert os.listdir(small / "store/tmp") == []
    assert os.listdir(small / "store/entries") == []


# pip's temporary folders


def test_builds_do_not_fail_where_a_mode_does_not_work(
    machine: Machine, mounted: Mounts, wheelhouse: Wheelhouse, tmp_path: Path
) -> None:
    """The place of an isolated build environment is pip's choice, not the user's."""
    disk, temporary = mounted.filesystem(EXT4), mounted.filesystem(TMPFS)
    path = machine.environment(disk / "environment")
    project = tmp_path / "project"
    (project / "src/project").mkdir(parents=True)
    (project / "src/project/__init__.py").write_text("")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "project"\nversion = "1"\n'
    )
    done = machine.host.pip(
        *("--python", path, "install", "--use-shared-store", "--no-index"),
        *("--shared-store-path", disk / "store", "--find-links", wheelhouse.folder),
        *("--shared-store-link-mode", "hardlink", project),
        variables={"TMPDIR": str(temporary)},
    )
    assert "Installed 1 distribution from the store" in done.stdout
    assert (site_of(path) / "project/__init__.py").stat().st_nlink == 2
    assert list((disk / "store").glob("entries/hatchling-*"))


@pytest.mark.parametrize("kind", [EXT4, XFS], ids=lambda kind: kind.name)
def test_what_pip_puts_into_a_target_elsewhere_is_shared_all_the_same(
    machine: Machine, mounted: Mounts, tmp_path: Path, kind: Kind
) -> None:
    disk = mounted.filesystem(kind)
    store, target = disk / "store", disk / "new/target"
    fill(machine, store, disk / "scratch")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    broken = write_wheel(tmp_path, "broken", "1", {"b.py": ""}, requires=("missing",))

    def install(*arguments: object, check: bool = True) -> Completed:
        return machine.host.pip(
            *("install", "--use-shared-store", "--no-index", "--target", target),
            *("--shared-store-path", store, *arguments),
            check=check,
            variables={"TMPDIR": str(temporary)},
        )

    # what fails, or is only tried, leaves nothing
    assert install(broken, check=False).returncode == 1
    install("--dry-run", machine.wheel)
    assert not (disk / "new").exists()
    for options in ((), ("--upgrade",)):
        space, _ = taken(disk, partial(install, *options, machine.wheel))
        assert space < PAYLOAD / 4
        library = target / "cargo/library.bin"
        if kind.reflinks:
            assert extents(library).shared > PAYLOAD
        else:
            assert library.stat().st_nlink == 2
        assert not [name for name in os.listdir(target) if name.startswith(".")]
    assert not [n for n in os.listdir(disk / "new") if n != "target"]
    assert os.listdir(temporary) == []
