"""Power cuts: what is on the disk when nothing more is written to it.

Filesystems lie in image files, and these in an xfs with reflinks, which itself is in a
file: so what a filesystem has on its disk can be copied at any moment, in no time
(``FICLONE``). Every state begins with a copy of the same image. Before a change that the
command makes, its disk is cut off:

- ``names``: all names are on the disk, and not what files hold. ext4 and xfs are shut
  down (``FS_IOC_SHUTDOWN``) when their journal has been written; btrfs commits, and the
  disk is copied.
- ``at once``: ext4 and xfs are shut down, without their journal.
- ``copy``: of the disk, as it is.

The filesystem is mounted again, which replays its journal, and looked at as
:mod:`endurance.scenes` says. Background writeback, which comes when it wants to, is
played at random changes before: of names, or of everything. To do one again: call
:func:`power_cuts` with the same kind, number of states, seed and acts.
"""

from __future__ import annotations

import fcntl
import itertools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from endurance import scenes, victim
from endurance.figures import Figure
from endurance.scenes import Act, Expected, Scene
from environments import run
from filesystems import BTRFS, EXT4, XFS, Kind, Mounts, mounts, require

# small files would be in the metadata otherwise, and with it on the disk
NOT_INLINE = BTRFS._replace(mount=("mount", "-o", "noatime,max_inline=0"))
KINDS = (EXT4, XFS, NOT_INLINE)
ACTS = (
    *(scenes.INSTALL, scenes.INSTALL_COPIES, scenes.INSTALL_AUTO, scenes.UPGRADE),
    *(scenes.UPGRADE_COPIES, scenes.UNINSTALL, scenes.COLLECT, scenes.REPAIR_ENTRY),
    *(scenes.REPAIR_ENVIRONMENT, scenes.BYTECODE),
)
NAMES, AT_ONCE, COPY = "names", "at once", "copy"
_WAYS = {
    EXT4: (NAMES, NAMES, AT_ONCE, COPY),
    XFS: (NAMES, NAMES, AT_ONCE, COPY),
    NOT_INLINE: (NAMES, NAMES, COPY),
}
_FLAGS = {NAMES: 1, AT_ONCE: 2}
_ADD_DEVICE, _REMOVE_DEVICE = 0x4C80, 0x4C81
_OUTER = Kind("xfs", "24G", XFS.make, XFS.mount, reflinks=True)


@dataclass(frozen=True)
class Cut:
    """When a disk is cut off, and how."""

    act: Act
    way: str
    number: int
    """Before which change."""
    commits: tuple[int, ...] = ()
    """Before which changes all names are brought to the disk."""
    syncs: tuple[int, ...] = ()
    """Before which changes all that was written is."""

    def __str__(self) -> str:
        parts = [f"{self.act.name}: {self.way}, before change {self.number}"]
        parts += [f"names brought there before {n}" for n in self.commits]
        parts += [f"everything brought there before {n}" for n in self.syncs]
        return ", ".join(parts)


class Disk:
    """A filesystem in an image, which is mounted, cut off, and mounted again."""

    def __init__(self, kind: Kind, folder: Path, name: str) -> None:
        self.kind = kind
        self.place = folder / f"{name}-mounted"
        self.image = folder / f"{name}.image"
        self.copy = folder / f"{name}.copy"
        self._kept = folder / f"{name}.kept"
        # always the same: xfs is another filesystem on another one (`f_fsid`)
        self._number = _add_device()
        self._device = f"/dev/loop{self._number}"
        self.place.mkdir()
        run(["truncate", "-s", kind.size, self.image])
        run([*kind.make, self.image])

    def mount(self) -> None:
        run(["losetup", self._device, self.image])
        run([*self.kind.mount, self._device, self.place])

    def unmount(self) -> None:
        """Take it off, whatever state it is in."""
        # of one that was cut off nothing can be known, not even that it is mounted
        with open("/proc/self/mounts", encoding="utf-8") as file:
            mounted = str(self.place) in file.read().split()
        if mounted:
            run(["umount", self.place])
        listed = ["losetup", "--associated", self.image, "--noheadings", "-O", "NAME"]
        for device in run(listed).stdout.split():
            run(["losetup", "--detach", device])

    def close(self) -> None:
        """Leave neither a mount nor a device."""
        self.unmount()
        with open("/dev/loop-control", "rb") as control:
            fcntl.ioctl(control, _REMOVE_DEVICE, self._number)

    def keep(self) -> None:
        """What it holds now is what :meth:`begin` begins with; it is not mounted."""
        victim.clone(str(self.image), str(self._kept))

    def begin(self) -> None:
        """It is as it was kept, and mounted."""
        self.unmount()
        self.image.unlink()
        victim.clone(str(self._kept), str(self.image))
        self.mount()

    def come_back(self, *, from_copy: bool) -> None:
        """It is mounted again after it was cut off."""
        self.unmount()
        if from_copy:
            self.copy.replace(self.image)
        self.mount()


def _add_device() -> int:
    """The number of a new loop device, which nobody else finds free (``loop(4)``)."""
    with open("/dev/loop-control", "rb") as control:
        for number in itertools.count(256):
            try:
                return fcntl.ioctl(control, _ADD_DEVICE, number)
            except FileExistsError:
                continue
    raise AssertionError("numbers do not end")


class PowerCuts:
    """Disks of one kind, with a scene on them."""

    def __init__(self, disks: Sequence[Disk], scene: Scene, acts: Sequence[Act]) -> None:
        self.disks = disks
        self.scene = scene
        self.expected: dict[Act, Expected] = {}
        for disk in disks:
            disk.mount()
        for act in acts:
            scene.prepare(act)
        self._off()
        for disk in disks:
            disk.keep()
        for act in acts:
            self._begin()
            self.expected[act] = scene.expected(act)

    def _off(self) -> None:
        for disk in self.disks:
            disk.unmount()

    def _begin(self) -> None:
        for disk in self.disks:
            disk.begin()

    def meet(self, cut: Cut) -> list[str]:
        """What does not hold after a cut."""
        self._begin()
        scene, act, wanted = self.scene, cut.act, self.expected[cut.act]
        accident: dict[str, object] = {
            "cut": cut.number,
            "disks": [str(disk.place) for disk in self.disks],
            "commits": cut.commits,
            "syncs": cut.syncs,
        }
        copied = cut.way == COPY or self.disks[0].kind == NOT_INLINE
        if copied:
            accident["copies"] = [(str(d.image), str(d.copy)) for d in self.disks]
        else:
            accident["log"] = _FLAGS[cut.way]
        if copied and cut.way == NAMES:
            accident["commits"] = (*cut.commits, cut.number)
        done = scene.act(act, **accident)
        if done["status"] != victim.CUT:
            return [f"it was not cut off: {done['status']} {done['err'][-1000:]}"]
        for disk in self.disks:
            disk.come_back(from_copy=copied)
        return scene.after_an_accident(act, wanted) or scene.again(act, wanted)

    def met(self, count: int, seed: int) -> Iterator[tuple[Cut, list[str]]]:
        """Let about ``count`` cuts happen; each with what does not hold after it."""
        chance = random.Random(seed)
        cuts = [*self._cuts(count, chance)]
        chance.shuffle(cuts)
        yield from ((cut, self.meet(cut)) for cut in cuts)

    def _cuts(self, count: int, chance: random.Random) -> Iterator[Cut]:
        """``count`` of them, shared out among the acts, and spread over each."""
        share = count // len(self.expected)
        for act, wanted in self.expected.items():
            for number in wanted.spread(share, chance):
                way = chance.choice(_WAYS[self.disks[0].kind])
                yield Cut(act, way, number, _some(number, chance), _some(number, chance))


def _some(below: int, chance: random.Random) -> tuple[int, ...]:
    """None to two changes, none being the likeliest."""
    count = chance.choice((0, 0, 1, 2))
    return tuple(sorted({chance.randrange(below + 1) for _ in range(count)}))


@contextmanager
def power_cuts_on(
    kind: Kind,
    *,
    apart: bool = False,
    acts: Sequence[Act] = ACTS,
) -> Iterator[PowerCuts]:
    """A scene on disks of this kind; ``apart``: store and environments on one each."""
    require(kind.name, kind.make[0])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mounted: Mounts = stack.enter_context(mounts(folder))
        outer = mounted.filesystem(_OUTER)
        disks = [Disk(kind, outer, name) for name in ("one", "two")[: 1 + apart]]
        for disk in disks:
            stack.callback(disk.close)
        python = scenes.python_here()
        scenes.write_wheels(folder / "wheels", python)
        (folder / "home").mkdir()
        places = [disk.place / "work" for disk in disks]
        scene = Scene(
            folder / "wheels",
            *(places[0], places[-1]),
            python,
            scenes.another_python(),
            folder / "home",
        )
        stack.enter_context(scene.running())
        yield PowerCuts(disks, scene, acts)


def power_cuts(
    kind: Kind,
    states: int,
    *,
    seed: int = 0,
    apart: bool = False,
    acts: Sequence[Act] = ACTS,
) -> Iterator[Figure]:
    """Cut the power about ``states`` times; what does not hold is printed."""
    where = f"{kind.name}, two disks" if apart else kind.name
    tried = failed = 0
    begin = time.monotonic()
    with power_cuts_on(kind, apart=apart, acts=acts) as made:
        for cut, wrong in made.met(states, seed):
            tried += 1
            if wrong:
                failed += 1
                print(f"{where}: {cut}:", *wrong[:4], sep="\n    ", flush=True)
        changes = sum(len(each.operations) for each in made.expected.values())
    note = (
        f"{len(acts)} commands, which make {changes:,} changes;"
        f" {(time.monotonic() - begin) / 60:.0f} min"
    )
    yield Figure("power cuts", where, tried, failed, note)


def broken_by(control: str, kind: Kind, states: int, *, seed: int = 0) -> set[str]:
    """What does not hold with a commonwheel that must not pass (:data:`victim.CONTROLS`).

    ``entry``, ``environment``; at most ``states`` cuts are tried until both were found.
    Half of them come when the environment is about done.
    """
    chance = random.Random(seed)
    found: set[str] = set()
    with power_cuts_on(kind, acts=(scenes.INSTALL,)) as made:
        made.scene.controls = (control,)
        total = len(made.expected[scenes.INSTALL].operations)
        for turn in range(states):
            number = chance.randrange(total - 5 if turn % 2 else total // 10, total)
            wrong = made.meet(Cut(scenes.INSTALL, NAMES, number))
            found |= {each.partition(":")[0] for each in wrong}
            if found >= {"entry", "environment"}:
                break
    return found & {"entry", "environment"}
