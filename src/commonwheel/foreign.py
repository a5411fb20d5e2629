"""A foreign Python: one that is not on this machine, for which folders are filled.

What it supports, and what its environment markers say, follows from what is said of it;
nothing is run. What fits it is decided by its compatibility tags alone
(https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging import tags

from commonwheel.environment import OLDEST, Environment, Scheme
from commonwheel.errors import InvalidEnvironment, InvalidSetting
from commonwheel.scripts import Launcher

_VERSION = re.compile(r"3\.(\d{1,3})(?:\.(\d{1,3}))?")
_MACHINE = r"(?P<machine>[a-z][a-z0-9_]*)"
_MANYLINUX = re.compile(rf"manylinux_2_(?P<minor>\d+)_{_MACHINE}")
_OLD_MANYLINUX = re.compile(rf"(?P<name>manylinux(1|2010|2014))_{_MACHINE}")
_MUSLLINUX = re.compile(rf"musllinux_1_(?P<minor>\d+)_{_MACHINE}")
_LINUX = re.compile(rf"linux_{_MACHINE}")
_MAC = re.compile(r"macosx_(?P<major>1\d|2\d)_(?P<minor>\d+)_(?P<machine>arm64|x86_64)")
_OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
"""What :pep:`600` calls ``manylinux_2_5`` and so on had names of their own before."""
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
"""The oldest glibc 2.N that there are wheels for, by machine; of all others it is that
of manylinux2014 (:pep:`599`)."""
_KINDS = "manylinux_2_28_x86_64, musllinux_1_2_aarch64, macosx_14_0_arm64 or win_amd64"


@dataclass(frozen=True)
class _System:
    """An operating system, as environment markers name it."""

    os_name: str
    sys_platform: str
    platform_system: str


_ON_LINUX = _System("posix", "linux", "Linux")
_ON_MAC = _System("posix", "darwin", "Darwin")
_ON_WINDOWS = _System("nt", "win32", "Windows")


@dataclass(frozen=True)
class _Platform:
    """A system and a kind of machine, and which wheels work there."""

    system: _System
    machine: str
    """As :func:`platform.machine` says there."""
    tags: tuple[str, ...]
    """The platforms of wheels that work there, the best one first."""
    launcher: Launcher | None = None
    """What scripts are started by, where they are programs."""


_WINDOWS = {
    "win32": _Platform(_ON_WINDOWS, "x86", ("win32",), "win-ia32"),
    "win_amd64": _Platform(_ON_WINDOWS, "AMD64", ("win_amd64",), "win-amd64"),
    "win_arm64": _Platform(_ON_WINDOWS, "ARM64", ("win_arm64",), "win-arm64"),
}


@dataclass(frozen=True)
class _Implementation:
    """An implementation of Python; ``{0}`` in a name is the version, as in ``312``."""

    name: str
    """As :data:`sys.implementation` has it."""
    marker: str
    """As :func:`platform.python_implementation` has it."""
    program: str
    cache_tag: str
    abi: str


_IMPLEMENTATIONS = {
    "cp": _Implementation("cpython", "CPython", "python", "cpython-{0}", "cp{0}"),
    "pp": _Implementation("pypy", "PyPy", "pypy", "pypy{0}", "pypy{0}_pp73"),
}
IMPLEMENTATIONS = tuple(_IMPLEMENTATIONS)
"""Those that can be named, as in compatibility tags."""


@dataclass(frozen=True)
class ForeignPython:
    """A Python, as far as it is told.

    :raises InvalidSetting: there is no such Python
    """

    version: str
    """``3.12``, or ``3.12.4``; the former stands for ``3.12.0``."""
    platforms: tuple[str, ...]
    """As wheels name them. Wheels for older ones of the same kind work there, too."""
    implementation: str = "cp"
    """One of :data:`IMPLEMENTATIONS`."""
    abis: tuple[str, ...] = ()
    """As wheels name them; without any it is the implementation's usual one."""
    program: Path | None = None
    """The interpreter that scripts are to name. A name without a folder is looked for
    when the script is run; that is what ``python3.12`` does if nothing is said."""

    def __post_init__(self) -> None:
        match = _VERSION.fullmatch(self.version)
        if match is None or (3, int(match[1])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            reason = f"name one such as 3.12 or 3.12.4, not older than {oldest}"
            raise InvalidSetting("the Python version", self.version, reason)
        if self.implementation not in IMPLEMENTATIONS:
            reason = f"choose one of {', '.join(IMPLEMENTATIONS)}"
            raise InvalidSetting("the implementation", self.implementation, reason)
        first, *others = self._platforms
        for name, other in zip(self.platforms[1:], others, strict=True):
            if (other.system, other.machine) != (first.system, first.machine):
                reason = f"it is no other name for a machine like {self.platforms[0]}"
                raise InvalidSetting("another platform", name, reason)

    def __str__(self) -> str:
        name = "Python" if self.implementation == "cp" else self._implementation.marker
        return f"{name} {self.version} on {self.platforms[0]}"

    @property
    def tags(self) -> Iterator[tags.Tag]:
        """The compatibility tags that it supports, the best one first."""
        platforms = [tag for platform in self._platforms for tag in platform.tags]
        abis = self.abis or (self._implementation.abi.format(self._digits),)
        interpreter = f"{self.implementation}{self._digits}"
        if self.implementation == "cp":
            yield from tags.cpython_tags(self._release[:2], abis, platforms)
        else:
            yield from tags.generic_tags(interpreter, abis, platforms)
            interpreter = f"{self.implementation}{self._release[0]}"
        yield from tags.compatible_tags(self._release[:2], interpreter, platforms)

    @property
    def markers(self) -> dict[str, str]:
        """The variables of environment markers; empty are those that nobody can know.

        As https://packaging.python.org/en/latest/specifications/dependency-specifiers/
        defines them.
        """
        platform, implementation = self._platforms[0], self._implementation
        return {
            "implementation_name": implementation.name,
            "implementation_version": self._full if self.implementation == "cp" else "",
            "os_name": platform.system.os_name,
            "platform_machine": platform.machine,
            "platform_release": "",
            "platform_system": platform.system.platform_system,
            "platform_version": "",
            "python_full_version": self._full,
            "platform_python_implementation": implementation.marker,
            "python_version": self._short,
            "sys_platform": platform.system.sys_platform,
        }

    def in_target(self, target: Path) -> Environment:
        """The plain folder ``target``, as ``pip --target`` has it on every system.

        :raises InvalidEnvironment: it belongs to an environment of this machine
        """
        target = Path(os.path.abspath(target))
        for parent in target.parents:
            if target.name == "site-packages" and (parent / "pyvenv.cfg").is_file():
                reason = f"it is of the virtual environment {parent}, which has a Python"
                raise InvalidEnvironment(target, f"{reason}; name no other one")
        headers = target / "include" / self._implementation.program
        return self._environment(Scheme(target, target, target / "bin", headers, target))

    def in_prefix(self, prefix: Path) -> Environment:
        """The plain folders below ``prefix``, as ``pip --prefix`` has them there."""
        prefix = Path(os.path.abspath(prefix))
        if self._platforms[0].system is _ON_WINDOWS:
            site = prefix / "Lib" / "site-packages"
            scripts, headers = prefix / "Scripts", prefix / "Include"
        else:
            is_threaded = f"cp{self._digits}t" in self.abis
            version = f"{self._program}{'t' if is_threaded else ''}"
            site = prefix / "lib" / version / "site-packages"
            scripts, headers = prefix / "bin", prefix / "include" / version
        return self._environment(Scheme(site, site, scripts, headers, prefix))

    def _environment(self, scheme: Scheme) -> Environment:
        is_windows = self._platforms[0].system is _ON_WINDOWS
        default = f"{self._implementation.program}.exe" if is_windows else self._program
        return Environment(
            python=self.program or Path(default),
            version=self._full,
            cache_tag=self._implementation.cache_tag.format(self._digits),
            scheme=scheme,
            tags=tuple(map(str, self.tags)),
            markers=self.markers,
            plain=True,
            foreign=str(self),
            launcher=self._platforms[0].launcher,
        )

    @property
    def _implementation(self) -> _Implementation:
        return _IMPLEMENTATIONS[self.implementation]

    @cached_property
    def _platforms(self) -> tuple[_Platform, ...]:
        return tuple(map(_platform, self.platforms))

    @property
    def _release(self) -> tuple[int, ...]:
        return tuple(map(int, self.version.split(".")))

    @property
    def _digits(self) -> str:
        return "".join(map(str, self._release[:2]))

    @property
    def _short(self) -> str:
        return ".".join(map(str, self._release[:2]))

    @property
    def _full(self) -> str:
        return ".".join(map(str, (*self._release, 0)[:3]))

    @property
    def _program(self) -> str:
        return f"{self._implementation.program}{self._short}"


def _platform(name: str) -> _Platform:
    """The platform that wheels call ``name``.

    :raises InvalidSetting: there is none
    """
    if name in _WINDOWS:
        return _WINDOWS[name]
    for pattern, read in (
        (_MAC, _mac),
        (_MANYLINUX, _manylinux),
        (_OLD_MANYLINUX, _old_manylinux),
        (_MUSLLINUX, _musllinux),
        (_LINUX, _linux),
    ):
        if match := pattern.fullmatch(name):
            return read(match)
    raise InvalidSetting("the platform", name, f"name one such as {_KINDS}")


def _mac(match: re.Match[str]) -> _Platform:
    version = (int(match["major"]), int(match["minor"]))
    found = tags.mac_platforms(version, match["machine"])
    return _Platform(_ON_MAC, match["machine"], tuple(found))


def _manylinux(match: re.Match[str]) -> _Platform:
    machine = match["machine"]
    return _Platform(_ON_LINUX, machine, tuple(_glibc(int(match["minor"]), machine)))


def _old_manylinux(match: re.Match[str]) -> _Platform:
    machine = match["machine"]
    minor = next(n for n, name in _OLD_NAMES.items() if name == match["name"])
    return _Platform(_ON_LINUX, machine, tuple(_glibc(minor, machine)))


def _musllinux(match: re.Match[str]) -> _Platform:
    """Wheels for an older musl work with a newer one (:pep:`656`)."""
    machine = match["machine"]
    minors = range(int(match["minor"]), -1, -1)
    found = tuple(f"musllinux_1_{minor}_{machine}" for minor in minors)
    return _Platform(_ON_LINUX, machine, found)


def _linux(match: re.Match[str]) -> _Platform:
    """Wheels that were built on a system like the one they are for, whichever that is."""
    return _Platform(_ON_LINUX, match["machine"], (match[0],))


def _glibc(newest: int, machine: str) -> Iterator[str]:
    """Wheels for an older glibc work with a newer one (:pep:`600`)."""
    for minor in range(newest, min(newest, _OLDEST_GLIBC.get(machine, 17)) - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _OLD_NAMES:
            yield f"{_OLD_NAMES[minor]}_{machine}"
