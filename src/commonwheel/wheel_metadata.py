"""METADATA, WHEEL and RECORD of a wheel: what they say, if it is of this wheel.

Follows https://packaging.python.org/en/latest/specifications/core-metadata/ and
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Container
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from commonwheel import record
from commonwheel.errors import InvalidWheel
from commonwheel.wheel_rules import WheelRule as Rule

STRONG_HASHES = frozenset(
    {
        *("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"),
        *("blake2b", "blake2s"),
    }
)
"""As good as sha256 or better, and known to every Python."""
_SIZES = {name: hashlib.new(name).digest_size for name in STRONG_HASHES}
"""Of digests, in bytes."""
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_HEADER = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
"""The field of a header, :rfc:`5322#section-2.2`."""
_FILES = {Rule.METADATA: "METADATA", Rule.WHEEL_VERSION: "WHEEL"}
"""The file whose headers a rule is about."""


def agree(own_name: str, own_version: str, name: str, version: Version) -> bool:
    """Whether name and version as a wheel spells them are ``name`` and ``version``."""
    try:
        return canonicalize_name(own_name) == name and Version(own_version) == version
    except ValueError:  # too many digits are no InvalidVersion
        return False


def check_metadata(path: Path, text: str, name: str, version: Version) -> None:
    """Check that METADATA is of the distribution that the wheel ``path`` is named after.

    :raises InvalidWheel: it is of another one, of two or of none
    """
    own_name = _required(path, text, "Name", Rule.METADATA)
    own_version = _required(path, text, "Version", Rule.METADATA)
    if not agree(own_name, own_version, name, version):
        reason = f"METADATA is of {own_name} {own_version}, not of {name} {version}"
        raise InvalidWheel(path, Rule.METADATA, reason)


def read_wheel_file(path: Path, text: str) -> bool:
    """Whether the root of the wheel is purelib, as its file WHEEL says.

    :raises InvalidWheel: it is a wheel of another version
    """
    version = _required(path, text, "Wheel-Version", Rule.WHEEL_VERSION)
    if version.partition(".")[0] != "1":
        reason = f"Wheel-Version {version} is not supported (only 1.x)"
        raise InvalidWheel(path, Rule.WHEEL_VERSION, reason)
    # where it is not said, all installers take it for no
    root_is_purelib = _header(path, text, "Root-Is-Purelib", Rule.WHEEL_VERSION)
    return root_is_purelib is not None and root_is_purelib.lower() == "true"


def read_record(
    path: Path, text: str, name: str, files: Container[str]
) -> dict[str, record.Row]:
    """The rows of RECORD, the member ``name``, by path; folders in it mean nothing.

    :raises InvalidWheel: it is no list of the ``files``
    """
    rows: dict[str, record.Row] = {}
    try:
        for row in record.parse(text):
            if row.path.endswith("/"):
                continue
            if row.path not in files:
                reason = "RECORD lists it, the archive has no such file"
                raise InvalidWheel(path, Rule.NOT_PRESENT, reason, row.path)
            row = row._replace(hash=_in_base64(row.hash))  # noqa: PLW2901
            if rows.setdefault(row.path, row) != row:
                reason = "RECORD lists it twice, differently"
                raise InvalidWheel(path, Rule.RECORD, reason, row.path)
    except ValueError as error:
        reason = f"not a list of files ({error})"
        raise InvalidWheel(path, Rule.RECORD, reason, name) from error
    return rows


def _in_base64(value: str) -> str:
    """A hash as it should stand in RECORD, of one that some tool wrote in hexadecimal.

    The two differ in length, so that nothing is ambiguous.
    """
    algorithm, _, digest = value.partition("=")
    size = _SIZES.get(algorithm)
    if size is None or len(digest) != 2 * size or not _HEXADECIMAL.fullmatch(digest):
        return value
    return record.encode_digest(algorithm, bytes.fromhex(digest))


def _required(path: Path, text: str, wanted: str, rule: Rule) -> str:
    """The value of the header ``wanted``.

    :raises InvalidWheel: there is none, or readers may differ in what it is
    """
    found = _header(path, text, wanted, rule)
    if found is None:
        raise InvalidWheel(path, rule, f"it has no {wanted}", _FILES[rule])
    return found


def _header(path: Path, text: str, wanted: str, rule: Rule) -> str | None:
    """The value of the header ``wanted``, of a text without a body or with one.

    Read here and not by :mod:`email`, which holds all of what may be large, and whose
    idea of where headers end changes.

    :raises InvalidWheel: it is there twice, or has several lines
        (:rfc:`5322#section-2.2.3`), so that readers may differ
    """
    found: list[str] = []
    is_wanted = False
    for line in io.StringIO(text, newline=None):
        if line[0] in " \t":
            if is_wanted:
                reason = f"its {wanted} has several lines"
                raise InvalidWheel(path, rule, reason, _FILES[rule])
            continue  # of a header that is longer
        header = _HEADER.match(line)
        if header is None:
            break
        is_wanted = header[1].lower() == wanted.lower()
        if is_wanted:
            found.append(header[2].strip())
    if len(found) > 1:
        reason = f"it says {wanted} {len(found)} times"
        raise InvalidWheel(path, rule, reason, _FILES[rule])
    return found[0] if found else None
