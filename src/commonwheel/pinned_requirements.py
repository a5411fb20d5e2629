"""Requirements files whose lines are pinned, as locks.

Paths are relative to the current folder, as they are for pip and uv.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs

from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from commonwheel import location, requirements_file
from commonwheel.environment import Environment
from commonwheel.lock_errors import InvalidLock
from commonwheel.pin import Hashes, Kind, Pin
from commonwheel.requirements_file import Line, RequirementsFile
from commonwheel.wheel_metadata import STRONG_HASHES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_VCS = re.compile(r"(git|hg|svn|bzr)\+")
_PIN_IT = "lock it (uv pip compile, pip-compile), or install the file with pip"


def read(path: Path, variables: Mapping[str, str]) -> PinnedRequirements:
    """The lock that the requirements file ``path`` is.

    ``variables`` are what ``${NAME}`` in it stands for.

    :raises InvalidLock: it is damaged; names the line
    :raises OSError: it cannot be read
    """
    return PinnedRequirements(path, requirements_file.read(path, variables))


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
        for what, names in (("extra", extras), ("group", groups or ())):
            for name in names:
                reason = f"it has no {what} {name!r}: a requirements file has none"
                raise InvalidLock(self.path, reason)
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
    place = location.local(place)
    if not location.is_url(place):
        if not os.path.exists(place):
            place = re.sub(r"\[[^]]*\]$", "", place)  # extras
        place = os.path.abspath(place)
        if os.path.isdir(place):
            place = os.path.normpath(os.path.join(place, pin.subdirectory or ""))
            name = pin.name or _project_name(Path(place))
            return replace(
                pin,
                name=name,
                kind=Kind.DIRECTORY,
                location=place,
                subdirectory=None,
            )
    if line.editable:
        raise line.wrong(f"{line.shown} cannot be editable: it is no project's folder")
    filename = location.file_name(place)
    pin = replace(pin, filename=filename, location=place)
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
