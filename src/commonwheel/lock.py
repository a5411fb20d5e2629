"""A lock: which distributions an environment is to hold, and from which files.

Two kinds of file are locks: ``pylock.toml`` (:pep:`751`), which ``packaging.pylock``
parses and selects from, and requirements files whose lines are pinned. What either
names for one environment is the same kind of data, a :class:`Pin` for each distribution.
Only files on this machine are read, and nothing is run.

Paths in a ``pylock.toml`` are relative to it; in a requirements file they are relative to
the current folder, as they are for pip and uv.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import url2pathname

from packaging import markers, pylock
from packaging.pylock import Pylock, PylockSelectError, PylockValidationError
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from commonwheel import requirements_file
from commonwheel.environment import Environment
from commonwheel.errors import InvalidLock, LockMismatch
from commonwheel.requirements_file import Line, RequirementsFile
from commonwheel.wheel import STRONG_HASHES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Hashes = frozenset[tuple[str, str]]
"""Pairs of an algorithm and a digest in hexadecimal; a file has to have one of them."""

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
_IS_PYLOCK = re.compile(r"^lock-version\s*=", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VCS = re.compile(r"(git|hg|svn|bzr)\+")
_PIN_IT = "lock it (uv pip compile, pip-compile), or install the file with pip"
_FOREIGN = {
    "uv.lock": "uv export --format pylock.toml -o pylock.toml",
    "pdm.lock": "pdm export --format pylock -o pylock.toml",
    "poetry.lock": "poetry export -o requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
}
"""Lock files of one tool each, and how that one writes one for all."""


class Kind(Enum):
    """What a distribution comes from."""

    WHEEL = "wheel"
    SDIST = "sdist"
    """A source distribution, of an index."""
    ARCHIVE = "archive"
    """An archive with a project in it, named by its URL."""
    VCS = "vcs"
    """A commit of a repository."""
    DIRECTORY = "directory"
    """A project's folder."""
    INDEX = "index"
    """``NAME==VERSION``: which file of an index it is, is not said."""


@dataclass(frozen=True)
class Pin:
    """One distribution that a lock names for an environment, and what it comes from."""

    name: str
    """Normalized."""
    version: str | None
    """None where only building tells it."""
    kind: Kind
    filename: str | None = None
    """Of the wheel or archive."""
    location: str | None = None
    """A URL, or an absolute path; of a repository for VCS. None for INDEX."""
    hashes: Hashes = frozenset()
    """The file has one of these digests; of INDEX, any file of the distribution."""
    size: int | None = None
    """Of the file, in bytes, if the lock says it."""
    direct: bool = False
    """Whether it is named by ``location``, not by version (:pep:`610`)."""
    editable: bool = False
    subdirectory: str | None = None
    """Of an archive or repository: where the project is."""
    vcs: str | None = None
    """``git``, ``hg``, ..., for VCS."""
    commit: str | None = None
    requested_revision: str | None = None
    """The branch or tag that the commit was of."""

    @property
    def path(self) -> Path | None:
        """``location``, if it is on this machine."""
        if self.location is None or requirements_file.is_url(self.location):
            return None
        return Path(self.location)

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else self.name


class Lock(Protocol):
    """A lock that has been read."""

    @property
    def default_groups(self) -> tuple[str, ...]:
        """The dependency groups that are installed unless others are asked for."""

    @property
    def extras(self) -> tuple[str, ...]:
        """All extras that it knows."""

    @property
    def options(self) -> tuple[str, ...]:
        """Options for pip's command line that it brings: where the index is."""

    @property
    def require_hashes(self) -> bool:
        """Whether it says that every file must be verified."""

    def select(
        self,
        environment: Environment,
        extras: Collection[str] = (),
        groups: Collection[str] | None = None,
    ) -> tuple[Pin, ...]:
        """What it names for ``environment``; for default groups if those are None.

        :raises LockMismatch: it is for another Python or platform
        :raises InvalidLock: it does not have the extra or group, or is ambiguous
        """


def read(path: Path, variables: Mapping[str, str] = _NO_VARIABLES) -> Lock:
    """Read the lock ``path``: a ``pylock.toml`` by name or contents, or requirements.

    ``variables`` are what ``${NAME}`` in a requirements file stands for.

    :raises InvalidLock: it is neither, or damaged; names the line or key
    :raises OSError: it cannot be read
    """
    if requirements_file.is_url(str(path)):
        raise InvalidLock(path, "a lock is a file on this machine; download it first")
    if path.name in _FOREIGN:
        reason = f"only its own tool reads it; write a lock: {_FOREIGN[path.name]}"
        raise InvalidLock(path, reason)
    text = requirements_file.decode(path)
    if pylock.is_valid_pylock_path(path) or _IS_PYLOCK.search(text):
        return PylockFile(path, _parse_pylock(path, text))
    if path.suffix == ".toml":
        raise InvalidLock(path, "it has no lock-version, so it is no lock (PEP 751)")
    return PinnedRequirements(path, requirements_file.read(path, variables))


def _parse_pylock(path: Path, text: str) -> Pylock:
    try:
        return Pylock.from_dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidLock(path, f"it is not TOML: {error}") from error
    except PylockValidationError as error:
        raise InvalidLock(path, error.message, error.context) from error


@dataclass(frozen=True)
class PylockFile:
    """A ``pylock.toml``."""

    path: Path
    content: Pylock
    options: tuple[str, ...] = ()
    require_hashes: bool = False

    @property
    def default_groups(self) -> tuple[str, ...]:
        """The dependency groups that are installed unless others are asked for."""
        return tuple(self.content.default_groups or ())

    @property
    def extras(self) -> tuple[str, ...]:
        """All extras that it knows."""
        return tuple(self.content.extras or ())

    def select(
        self,
        environment: Environment,
        extras: Collection[str] = (),
        groups: Collection[str] | None = None,
    ) -> tuple[Pin, ...]:
        """What it names for ``environment``, as :pep:`751` says how to select.

        :raises LockMismatch: it is for another Python or platform
        :raises InvalidLock: it does not have the extra or group, or is ambiguous
        """
        known = self.content.dependency_groups or ()
        wanted_groups = None
        if groups is not None:
            defaults = self.default_groups
            wanted_groups = _known(self.path, "group", groups, (*known, *defaults))
        selected = self.content.select(
            environment=cast("markers.Environment", dict(environment.markers)),
            tags=[Tag(*tag.split("-")) for tag in environment.tags or ()],
            extras=_known(self.path, "extra", extras, self.extras),
            dependency_groups=wanted_groups,
        )
        try:
            return tuple(self._pin(package, source) for package, source in selected)
        except PylockSelectError as error:
            raise LockMismatch(self.path, str(environment), str(error)) from error

    def _pin(self, package: pylock.Package, source: object) -> Pin:
        pin = Pin(
            package.name,
            str(package.version) if package.version is not None else None,
            Kind.INDEX,
        )
        if isinstance(source, pylock.PackageDirectory):
            place = os.path.join(self._absolute(source.path), source.subdirectory or "")
            return replace(
                pin,
                kind=Kind.DIRECTORY,
                location=os.path.normpath(place),
                direct=True,
                editable=bool(source.editable),
            )
        if isinstance(source, pylock.PackageVcs):
            return replace(
                pin,
                kind=Kind.VCS,
                location=self._location(source),
                direct=True,
                subdirectory=source.subdirectory,
                vcs=source.type,
                commit=source.commit_id,
                requested_revision=source.requested_revision,
            )
        if isinstance(source, pylock.PackageArchive):
            place = self._location(source)
            kind = Kind.WHEEL if _file_name(place).endswith(".whl") else Kind.ARCHIVE
            pin = replace(pin, kind=kind, direct=True, subdirectory=source.subdirectory)
            filename = _file_name(place)
        else:
            assert isinstance(source, (pylock.PackageWheel, pylock.PackageSdist))
            is_wheel = isinstance(source, pylock.PackageWheel)
            pin = replace(pin, kind=Kind.WHEEL if is_wheel else Kind.SDIST)
            filename = source.filename
        if pin.kind is Kind.WHEEL and pin.version is None:
            pin = replace(pin, version=self._version(package, filename))
        return replace(
            pin,
            filename=filename,
            location=self._location(source),
            hashes=self._hashes(package, source.hashes),
            size=source.size,
        )

    def _version(self, package: pylock.Package, filename: str) -> str:
        try:
            return str(parse_wheel_filename(filename)[1])
        except InvalidWheelFilename as error:
            raise InvalidLock(self.path, str(error), f"package {package.name}") from error

    def _hashes(self, package: pylock.Package, found: Mapping[str, str]) -> Hashes:
        strong = {(key.lower(), value.lower()) for key, value in found.items()}
        strong = {pair for pair in strong if pair[0] in STRONG_HASHES}
        if not strong:
            reason = f"{', '.join(found)} cannot vouch for a file; lock again with sha256"
            raise InvalidLock(self.path, reason, f"package {package.name}")
        return frozenset(strong)

    def _location(self, source: Any) -> str:
        """Where a file or repository is: the path in the lock, if it is there."""
        if source.path is not None:
            path = self._absolute(source.path)
            if source.url is None or os.path.exists(path):
                return path
        return _local(source.url)

    def _absolute(self, path: str) -> str:
        return os.path.abspath(os.path.join(os.path.dirname(self.path), path))


@dataclass(frozen=True)
class PinnedRequirements:
    """A requirements file, each line of which is of one distribution and one version.

    As with pip, hashes in one line are asked of all of them. What has no file that could
    be hashed, a project's folder and a commit, is let pass unless ``--require-hashes``
    says otherwise: ``uv export`` writes such files.
    """

    path: Path
    content: RequirementsFile
    default_groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """Options for pip's command line that it brings: where the index is."""
        return self.content.options

    @property
    def require_hashes(self) -> bool:
        """Whether it says that every file must be verified."""
        return self.content.require_hashes

    def select(
        self,
        environment: Environment,
        extras: Collection[str] = (),
        groups: Collection[str] | None = None,
    ) -> tuple[Pin, ...]:
        """What it names for ``environment``.

        :raises InvalidLock: a line is not pinned, has no hash though others have, or
            names what another one names; or there is an extra or group asked for
        """
        _known(self.path, "extra", extras, ())
        _known(self.path, "group", groups or (), ())
        pins: dict[str, tuple[Line, Pin]] = {}
        applying = list(_applying(self.content.lines, environment))
        for line in applying:
            pin = self._constrained(line, _pin(line), environment)
            _, earlier = pins.get(pin.name, (line, pin))
            if replace(earlier, hashes=pin.hashes) != pin:
                raise line.wrong(f"it names {pin.name} again, differently")
            pins[pin.name] = line, replace(pin, hashes=pin.hashes | earlier.hashes)
        if any(pin.hashes for _, pin in pins.values()):
            for line, pin in pins.values():
                if not pin.hashes and pin.kind not in (Kind.DIRECTORY, Kind.VCS):
                    raise line.wrong(f"{pin} has no --hash, which other lines have")
        return tuple(pin for _, pin in pins.values())

    def _constrained(self, line: Line, pin: Pin, environment: Environment) -> Pin:
        """The pin with the hashes that constraints bring.

        :raises InvalidLock: it is not what they allow
        """
        for each in _applying(self.content.constraints, environment):
            asked = each.requirement
            if asked is None or asked.url is not None:
                raise each.wrong("a constraint is NAME and versions")
            if canonicalize_name(asked.name) != pin.name:
                continue
            if pin.version and not asked.specifier.contains(pin.version, True):
                reason = f"{pin} is not what {each.file}, line {each.number} allows"
                raise line.wrong(reason)
            pin = replace(pin, hashes=pin.hashes or _strong(each))
        return pin


def _applying(lines: Iterable[Line], environment: Environment) -> Iterator[Line]:
    """The lines whose marker holds."""
    variables = {**environment.markers, "extra": ""}
    for line in lines:
        marker = line.requirement.marker if line.requirement is not None else None
        if marker is None or marker.evaluate(variables):
            yield line


def _pin(line: Line) -> Pin:
    if line.requirement is None:
        assert line.place is not None
        return _pin_of_place(line, None, line.place)
    name = canonicalize_name(line.requirement.name)
    if line.requirement.url is not None:
        return _pin_of_place(line, name, line.requirement.url)
    version = _version(line, line.requirement)
    return Pin(name, version, Kind.INDEX, hashes=_strong(line))


def _version(line: Line, requirement: Requirement) -> str:
    specifiers = list(requirement.specifier)
    if len(specifiers) == 1:
        (only,) = specifiers
        if only.operator in ("==", "===") and not only.version.endswith(".*"):
            try:
                return str(Version(only.version))
            except InvalidVersion:
                reason = f"{only.version!r} is not a version"
                raise line.wrong(reason) from None
    raise line.wrong(f"{requirement} is not pinned to one version; {_PIN_IT}")


def _pin_of_place(line: Line, name: str | None, place: str) -> Pin:
    """The pin of a line that gives a URL or path."""
    place, _, fragment = place.partition("#")
    said = {key: values[-1] for key, values in parse_qs(fragment).items()}
    egg = canonicalize_name(said["egg"].partition("[")[0]) if "egg" in said else None
    pin = Pin(
        name or egg or "",
        None,
        Kind.ARCHIVE,
        location=place,
        hashes=_strong(line) | {(k, v) for k, v in said.items() if k in STRONG_HASHES},
        direct=True,
        editable=line.editable,
        subdirectory=said.get("subdirectory"),
    )
    if _VCS.match(place):
        pin = _pin_of_repository(line, pin, place)
    else:
        pin = _pin_of_file(line, pin, place)
    if not pin.name:
        reason = f"{line.shown} does not say its name: write NAME @ in front of the URL"
        raise line.wrong(f"{reason}, or #egg=NAME behind it")
    return pin


def _pin_of_repository(line: Line, pin: Pin, place: str) -> Pin:
    vcs, _, url = place.partition("+")
    base, at, revision = url.rpartition("@")
    if not at or "/" in revision or (vcs == "git" and not _COMMIT.fullmatch(revision)):
        raise line.wrong(f"{line.shown} is not pinned to one commit; {_PIN_IT}")
    return replace(pin, kind=Kind.VCS, location=base, vcs=vcs, commit=revision)


def _pin_of_file(line: Line, pin: Pin, place: str) -> Pin:
    location = _local(place)
    if not requirements_file.is_url(location):
        if not os.path.exists(location):
            location = re.sub(r"\[[^]]*\]$", "", location)  # extras
        location = os.path.abspath(location)
        if os.path.isdir(location):
            location = os.path.normpath(os.path.join(location, pin.subdirectory or ""))
            name = pin.name or _project_name(Path(location))
            return replace(
                pin,
                name=name,
                kind=Kind.DIRECTORY,
                location=location,
                subdirectory=None,
            )
    if line.editable:
        raise line.wrong(f"{line.shown} cannot be editable: it is no project's folder")
    filename = _file_name(location)
    pin = replace(pin, filename=filename, location=location)
    try:
        if filename.endswith(".whl"):
            name, version, *_ = parse_wheel_filename(filename)
            if pin.name not in ("", name):
                raise line.wrong(f"{line.shown} is a wheel of {name}, not of {pin.name}")
            return replace(pin, name=name, version=str(version), kind=Kind.WHEEL)
        return pin if pin.name else replace(pin, name=parse_sdist_filename(filename)[0])
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise line.wrong(str(error)) from error


def _project_name(folder: Path) -> str:
    """The name of a project as its ``pyproject.toml`` says it; empty if it does not."""
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
        return canonicalize_name(found["project"]["name"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""  # it may be in a setup.py, which is not run here


def _strong(line: Line) -> Hashes:
    for algorithm, _ in line.hashes:
        if algorithm not in STRONG_HASHES:
            raise line.wrong(f"{algorithm} cannot vouch for a file; use sha256")
    return line.hashes


def _known(
    path: Path, what: str, wanted: Collection[str], known: Collection[str]
) -> frozenset[str]:
    """The extras or groups ``wanted`` as the lock spells them.

    :raises InvalidLock: it has no such
    """
    spelled = {canonicalize_name(name): name for name in known}
    for name in wanted:
        if canonicalize_name(name) not in spelled:
            have = ", ".join(sorted(spelled.values())) or "none"
            raise InvalidLock(path, f"it has no {what} {name!r} (it has: {have})")
    return frozenset(spelled[canonicalize_name(name)] for name in wanted)


def _file_name(location: str) -> str:
    if requirements_file.is_url(location):
        return unquote(urlsplit(location).path.rpartition("/")[2])
    return os.path.basename(location)


def _local(url: str) -> str:
    """A path for a ``file:`` URL of this machine; other URLs and paths as they are."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return url2pathname(parts.path)
    return url
