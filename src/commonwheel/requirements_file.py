"""A requirements file whose lines are pinned, as pip reads it. Writes nothing.

Follows https://pip.pypa.io/en/stable/reference/requirements-file-format/: comments,
continued lines, ``${VARIABLE}``, ``-r`` and ``-c``, options of the index, ``--hash``.
Files are read from disk only, and every requirement says which one distribution it is
of: ``NAME==VERSION``, ``NAME @ URL``, a wheel, an archive, or a project's folder.
"""

from __future__ import annotations

import argparse
import codecs
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from packaging.requirements import InvalidRequirement, Requirement

from commonwheel import location
from commonwheel.errors import explain
from commonwheel.lock_errors import InvalidLock

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as the one of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=]\s*([-\w.]+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_EXTRAS = re.compile(r"(?<=[^\s])\[[^]]*\]$")

_WITH_VALUE = (
    "--index-url",
    "--extra-index-url",
    "--find-links",
    "--no-binary",
    "--only-binary",
    "--trusted-host",
    "--use-feature",
)
"""Options for the index that are handed to pip, each time with a value."""
_ALONE = ("--no-index", "--prefer-binary", "--pre")


@dataclass(frozen=True)
class Line:
    """A line that asks for a distribution."""

    file: Path
    number: int
    """Of its first physical line, from 1."""
    requirement: Requirement | None
    """``NAME==VERSION`` or ``NAME @ URL``."""
    place: str | None = None
    """A URL or path without a name, if it is no ``requirement``."""
    editable: bool = False
    hashes: frozenset[tuple[str, str]] = frozenset()
    """Pairs of an algorithm and a digest in hexadecimal."""

    @property
    def shown(self) -> str:
        """The URL or path of it, as anybody may read it."""
        url = self.requirement.url if self.requirement is not None else self.place
        return location.public(url or "")

    def wrong(self, reason: str) -> InvalidLock:
        """The error that something is wrong with this line."""
        return InvalidLock(self.file, reason, f"line {self.number}")


@dataclass(frozen=True)
class RequirementsFile:
    """What a requirements file says, with all the files that it names."""

    lines: tuple[Line, ...]
    constraints: tuple[Line, ...]
    options: tuple[str, ...]
    """For pip's index settings, as on its command line."""
    require_hashes: bool


def read(path: Path, variables: Mapping[str, str]) -> RequirementsFile:
    """What the requirements file ``path`` says; ``variables`` stand for ``${NAME}``.

    :raises InvalidLock: a line that is not understood, or is not a requirement
    :raises OSError: the file cannot be read
    """
    reader = _Reader(variables)
    reader.read(path, constraint=False)
    return RequirementsFile(
        tuple(reader.lines),
        tuple(reader.constraints),
        tuple(reader.options),
        reader.require_hashes,
    )


@dataclass
class _Reader:
    """Collects what files say that name each other."""

    variables: Mapping[str, str]
    lines: list[Line] = field(default_factory=list)
    constraints: list[Line] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    require_hashes: bool = False
    _open: list[str] = field(default_factory=list)

    def read(self, path: Path, *, constraint: bool) -> None:
        self._open.append(os.path.realpath(path))
        for number, text in _logical_lines(decode(path)):
            line = _VARIABLE.sub(self._expand, text)
            self._take(path, number, line, constraint=constraint)
        self._open.pop()

    def _expand(self, match: re.Match[str]) -> str:
        return self.variables.get(match[1]) or match[0]

    def _take(self, path: Path, number: int, text: str, *, constraint: bool) -> None:
        here = Line(path, number, None)
        wanted, options = _split(text)
        try:
            asked = _parser().parse_args(shlex.split(options), namespace=_Options())
        except ValueError as error:
            raise here.wrong(str(error)) from error
        if wanted or asked.editable:
            self._take_requirement(here, wanted, asked, constraint=constraint)
        elif asked.requirement is not None:
            self._take_file(here, asked.requirement, constraint=constraint)
        elif asked.constraint is not None:
            self._take_file(here, asked.constraint, constraint=True)
        elif asked.hash:
            raise here.wrong("--hash belongs to a requirement")
        else:
            self.require_hashes |= asked.require_hashes
            self.options += [_beside(path, each) for each in asked.index]

    def _take_file(self, here: Line, name: str, *, constraint: bool) -> None:
        place = location.local(name)
        if location.is_url(place):
            raise here.wrong(f"{name} is not on this machine; download it first")
        path = here.file.parent / place
        if os.path.realpath(path) in self._open:
            raise here.wrong(f"{name} names this file in turn")
        try:
            self.read(path, constraint=constraint)
        except OSError as error:
            raise here.wrong(explain(error)) from error

    def _take_requirement(
        self, here: Line, wanted: str, asked: _Options, *, constraint: bool
    ) -> None:
        if asked.index or asked.require_hashes:
            raise here.wrong("an option that needs a line of its own")
        hashes = frozenset(_hash(here, each) for each in asked.hash)
        place = asked.editable or wanted
        requirement = None if asked.editable else _requirement(here, place)
        line = Line(
            here.file,
            here.number,
            requirement,
            None if requirement is not None else place,
            bool(asked.editable),
            hashes,
        )
        (self.constraints if constraint else self.lines).append(line)


class _Options(argparse.Namespace):
    """The options of one line."""

    index: list[str]
    requirement: str | None
    constraint: str | None
    editable: str | None
    hash: list[str]
    require_hashes: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class _Index(argparse.Action):
    """An option for the index, kept as it is."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        kept = self.option_strings[-1]
        if isinstance(values, str):
            kept += f"={values}"
        namespace.index = [*namespace.index, kept]


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    short = {"--index-url": ("-i", "--pypi-url"), "--find-links": ("-f",)}
    for name in _WITH_VALUE:
        names = (*short.get(name, ()), name)
        parser.add_argument(*names, dest="index", default=[], action=_Index)
    for name in _ALONE:
        parser.add_argument(name, dest="index", action=_Index, nargs=0)
    parser.add_argument("-r", "--requirement")
    parser.add_argument("-c", "--constraint")
    parser.add_argument("-e", "--editable")
    parser.add_argument("--hash", action="append", default=[])
    parser.add_argument("--require-hashes", action="store_true")
    return parser


def decode(path: Path) -> str:
    """The text of a file: by its byte order mark, its coding comment, or UTF-8.

    :raises InvalidLock: it is something else
    :raises OSError: it cannot be read
    """
    content = path.read_bytes()
    encoding = "utf-8"
    for declared in map(_CODING.match, content.split(b"\n", 2)[:2]):
        if declared is not None:
            encoding = declared[1].decode("ascii")
    for mark, name in _BOMS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], name
            break
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InvalidLock(path, f"it is not text ({error})") from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with what continues it and without comments, and its number."""
    first, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        first = first if parts else number
        is_comment = re.match(r"\s*#", line) is not None
        if line.endswith("\\") and not is_comment:
            parts.append(line.rstrip("\\"))
            continue
        # a comment ends what is continued: a blank keeps it from being part of a word
        parts.append(f" {line}" if is_comment else line)
        joined = _COMMENT.sub("", "".join(parts)).strip()
        parts = []
        if joined:
            yield first, joined
    if joined := _COMMENT.sub("", "".join(parts)).strip():
        yield first, joined


def _split(text: str) -> tuple[str, str]:
    """The requirement and the options of a line."""
    tokens = text.split(" ")
    for position, token in enumerate(tokens):
        if token.startswith("-"):
            return " ".join(tokens[:position]).strip(), " ".join(tokens[position:])
    return text, ""


def _requirement(line: Line, text: str) -> Requirement | None:
    """What ``text`` asks for, or None if it is a place without a name."""
    place = _EXTRAS.sub("", text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if location.is_url(place) or os.sep in place or place.startswith("."):
            return None
        if os.path.isdir(place):
            return None
        reason = str(error).partition("\n")[0]
        raise line.wrong(
            f"{location.public(text)!r} is not a requirement ({reason})"
        ) from error
    # the name of a file may be one of a distribution, too
    return None if place == requirement.name and place.endswith(".whl") else requirement


def _hash(line: Line, given: str) -> tuple[str, str]:
    algorithm, _, digest = given.partition(":")
    if not re.fullmatch(r"[0-9a-fA-F]+", digest):
        raise line.wrong(f"--hash={given} is not ALGORITHM:DIGEST")
    return algorithm.lower(), digest.lower()


def _beside(path: Path, option: str) -> str:
    """``--find-links`` names a folder beside the file, if there is one of that name."""
    name, _, value = option.partition("=")
    if name == "--find-links" and not location.is_url(value):
        beside = path.parent / value
        if beside.exists():
            return f"{name}={beside}"
    return option
