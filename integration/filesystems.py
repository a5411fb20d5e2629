"""Filesystems made for tests: images on loop devices, and what is taken on them."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import pytest

from environments import run

Result = TypeVar("Result")


class Kind(NamedTuple):
    """A kind of filesystem, how one is made in a file, and what it can do."""

    name: str
    size: str
    """As ``truncate`` takes it; the file is sparse."""
    make: tuple[str, ...]
    mount: tuple[str, ...]
    """The command that mounts the device that follows."""
    reflinks: bool = False


_MOUNT = ("mount", "-o", "noatime")
EXT4 = Kind("ext4", "96M", ("mkfs.ext4", "-q"), _MOUNT)
BTRFS = Kind("btrfs", "256M", ("mkfs.btrfs", "-q"), _MOUNT, reflinks=True)
XFS = Kind("xfs", "320M", ("mkfs.xfs", "-q", "-m", "reflink=1"), _MOUNT, reflinks=True)
OLD_XFS = Kind(
    "xfs without reflinks", "320M", ("mkfs.xfs", "-q", "-m", "reflink=0"), _MOUNT
)
TMPFS = Kind("tmpfs", "96M", (), ("mount", "-t", "tmpfs"))
VFAT = Kind("vfat", "64M", ("mkfs.vfat",), (*_MOUNT, "-o", "umask=022", "-t", "vfat"))
EXFAT = Kind(
    "exfat", "64M", ("mkfs.exfat",), ("mount.exfat-fuse", "-o", "noatime,umask=022")
)
"""By FUSE, for kernels that do not know vfat: no links of any kind either."""


@contextmanager
def mounts(root: Path) -> Iterator[Mounts]:
    """While this lasts, filesystems can be mounted below ``root``.

    However it ends, none of them is left, nor a loop device.
    """
    require("filesystems", "mount", "umount", "losetup", "truncate")
    with ExitStack() as stack:
        yield Mounts(root, stack)


class Mounts:
    """Mounts filesystems below a folder; ``stack`` knows how to undo that."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self._root = root
        self._stack = stack

    def filesystem(self, kind: Kind, options: str = "") -> Path:
        """A new, empty filesystem; gives the folder it is mounted at."""
        require(kind.name, *kind.make[:1], *kind.mount[:1])
        if not kind.make:
            return self._mount(*kind.mount, "-o", options or f"size={kind.size}", "none")
        image = self._new("image")
        run(["truncate", "-s", kind.size, image])
        run([*kind.make, image])
        return self._mount(*kind.mount, self._device(image))

    def without_links(self) -> tuple[Kind, Path]:
        """A filesystem that has neither symbolic nor hard links."""
        kind = VFAT if self._knows(VFAT) else EXFAT
        return kind, self.filesystem(kind)

    def _knows(self, kind: Kind) -> bool:
        """Whether this kernel has ``kind``; it may load it when it is asked to mount."""
        require(kind.name, *kind.make[:1])
        image = self._new("image")
        run(["truncate", "-s", kind.size, image])
        run([*kind.make, image])
        folder = self._new("mounted")
        folder.mkdir()
        tried = run([*kind.mount, self._device(image), folder], check=False)
        if tried.returncode == 0:
            _unmount(folder)
        elif "unknown filesystem type" not in tried.stderr:
            pytest.fail(tried.stderr)
        return tried.returncode == 0

    def image_of(self, folder: Path) -> Path:
        """What ``folder`` holds, as a read-only squashfs."""
        require("squashfs", "mksquashfs")
        image = self._new("image")
        run(["mksquashfs", folder, image, "-quiet", "-no-progress"])
        return self._mount(*_MOUNT, "-o", "ro", self._device(image))

    def mount_image(self, image: Path, at: Path) -> None:
        """A read-only image that is there already, at the folder ``at``."""
        self._mount(*_MOUNT, "-o", "ro", self._device(image), at=at)

    def overlay(self, lower: Path, beside: Path) -> Path:
        """``lower`` with an upper layer, which lies in the folder ``beside``."""
        upper, work = beside / "upper", beside / "work"
        for folder in (lower, upper, work):
            folder.mkdir(exist_ok=True)
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        return self._mount("mount", "-t", "overlay", "-o", layers, "none")

    def bind(self, folder: Path, at: Path | None = None) -> Path:
        """``folder`` under a second name, which is another mount of its filesystem."""
        return self._mount("mount", "--bind", folder, at=at)

    def replace(self, folder: Path, options: str = "") -> None:
        """A tmpfs of its own for ``folder``, with what is in it already."""
        kept = self._new("kept")
        shutil.copytree(folder, kept, symlinks=True)
        options = options or f"size={TMPFS.size}"
        self._mount(*TMPFS.mount, "-o", options, "none", at=folder)
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)

    def _mount(self, *command: object, at: Path | None = None) -> Path:
        folder = at or self._new("mounted")
        folder.mkdir(exist_ok=True)
        # noted before it is done: Ctrl-C can come in between
        self._stack.callback(_unmount, folder)
        run([*command, folder])
        return folder

    def _device(self, image: Path) -> str:
        self._stack.callback(_detach, image)
        return run(["losetup", "--find", "--show", image]).stdout.strip()

    def _new(self, name: str) -> Path:
        return self._root / f"{name}-{len(os.listdir(self._root))}"


def _unmount(folder: Path) -> None:
    """Lazily: whoever still has a file open there must not keep it mounted."""
    # of two mounts of one filesystem, os.path.ismount does not know the inner one
    run(["umount", "--lazy", folder], check=os.path.ismount(folder))


def _detach(image: Path) -> None:
    devices = run(["losetup", "--associated", image, "--noheadings", "-O", "NAME"])
    for device in devices.stdout.split():
        run(["losetup", "--detach", device])


def require(what: str, *programs: str) -> None:
    """Skip the test where ``what`` cannot be mounted; fail where ``CI`` is set."""
    if os.geteuid() != 0:
        _do_without(f"{what}: only the superuser can mount filesystems")
    if not os.path.exists("/dev/loop-control"):
        _do_without(f"{what}: no loop devices")
    missing = [each for each in programs if shutil.which(each) is None]
    if missing:
        _do_without(f"{what}: no {' and no '.join(missing)}")


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def taken(place: Path, act: Callable[[], Result]) -> tuple[int, Result]:
    """How many bytes ``act`` takes on its filesystem, as that counts; what it gives."""
    before = _used(place)
    result = act()
    return _used(place) - before, result


def _used(place: Path) -> int:
    run(["sync", "--file-system", place])  # space is given out when data is written
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


class Extents(NamedTuple):
    """How the data of a file lies on the disk."""

    size: int
    """In bytes, without holes."""
    shared: int
    """How many of them are other files' data, too."""


def extents(path: Path) -> Extents:
    """What the filesystem says of a file, by ``FS_IOC_FIEMAP`` (as ``filefrag -v``)."""
    count = 512
    request = struct.pack("=QQLLLL", 0, 2**64 - 1, _SYNC, 0, count, 0)
    answer = bytearray(request + bytes(_EXTENT.size * count))
    with open(path, "rb") as file:
        fcntl.ioctl(file, _FIEMAP, answer)
    (mapped,) = struct.unpack_from("=L", answer, 20)
    size = shared = 0
    for number in range(mapped):
        place = len(request) + number * _EXTENT.size
        _, _, length, flags = _EXTENT.unpack_from(answer, place)
        size += length
        shared += length if flags & _SHARED else 0
    return Extents(size, shared)


_FIEMAP = 0xC020660B
_EXTENT = struct.Struct("=QQQ16xL12x")  # where in the file, where on the disk, length
_SYNC = 0x1
_SHARED = 0x2000
