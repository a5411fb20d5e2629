"""``pylock.toml``, the lock file of :pep:`751`. Paths in it are relative to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from packaging import markers, pylock
from packaging.pylock import Pylock, PylockSelectError, PylockValidationError
from packaging.tags import Tag
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)

from commonwheel import location
from commonwheel.environment import Environment
from commonwheel.lock_errors import InvalidLock, LockMismatch
from commonwheel.pin import Hashes, Kind, Pin
from commonwheel.wheel_metadata import STRONG_HASHES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse(path: Path, text: str) -> PylockFile:
    """The lock that ``text``, the contents of ``path``, is.

    :raises InvalidLock: it is none, or damaged; names the key
    """
    try:
        return PylockFile(path, Pylock.from_dict(tomllib.loads(text)))
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
            kind = (
                Kind.WHEEL if location.file_name(place).endswith(".whl") else Kind.ARCHIVE
            )
            pin = replace(pin, kind=kind, direct=True, subdirectory=source.subdirectory)
            filename = location.file_name(place)
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
        return location.local(source.url)

    def _absolute(self, path: str) -> str:
        return os.path.abspath(os.path.join(os.path.dirname(self.path), path))


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
