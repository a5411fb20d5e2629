"""RECORD: the list of a distribution's files, their hashes and sizes.

Follows https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from installer.records import InvalidRecordEntry, RecordEntry, parse_record_file


class Row(NamedTuple):
    """One line of a RECORD file."""

    path: str
    """Relative to the folder that holds the ``.dist-info`` folder, with ``/``."""

    hash: str = ""
    """``algorithm=urlsafe-base64-without-padding``, or empty."""

    size: str = ""
    """In bytes, or empty."""


def parse(text: str) -> Iterator[Row]:
    """The rows of a RECORD file.

    :raises ValueError: a line that is not a valid row
    """
    try:
        for elements in parse_record_file(_lines(text)):
            RecordEntry.from_elements(*elements)
            yield Row(*elements)
    except (InvalidRecordEntry, csv.Error) as error:
        raise ValueError(str(error)) from error


def render(rows: Iterable[Row]) -> str:
    """The text of a RECORD file with ``rows``."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def paths(text: str) -> list[str]:
    """The paths that a RECORD file in an environment lists; the rest is not looked at.

    :raises ValueError: it is not comma-separated values
    """
    try:
        return [row[0] for row in csv.reader(_lines(text)) if row]
    except csv.Error as error:
        raise ValueError(str(error)) from error


def encode_digest(algorithm: str, digest: bytes) -> str:
    """A digest as it stands in the hash column of a row."""
    value = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
    return f"{algorithm}={value}"


def _lines(text: str) -> Iterator[str]:
    # not `splitlines`: a name may hold a character that Unicode calls a line break
    return io.StringIO(text, newline="")
