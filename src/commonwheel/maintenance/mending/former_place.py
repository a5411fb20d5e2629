"""The former place of an environment that was moved: who names it is told the new one.

That is scripts of distributions that are not linked, and of nobody (those of linked ones
are made anew with their links), and what activates the environment in a shell. Python
itself needs nothing: it finds ``pyvenv.cfg`` beside it (:pep:`405`). ``command`` in there
says how the environment was made, and where; that stays true.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from commonwheel import installed, record, relocation, runtime, scripts
from commonwheel.apply import changing, write
from commonwheel.environment import Environment
from commonwheel.errors import CommonwheelError
from commonwheel.exclusion import Patience
from commonwheel.installation import RealFile
from commonwheel.maintenance.mending.links import text_of
from commonwheel.maintenance.mending.plan import Former, Outcome
from commonwheel.record import Row
from commonwheel.relocation import Relocation

_ACTIVATED = re.compile(
    r"""^[ \t]*(?:export )?VIRTUAL_ENV="""
    r"""(?:'(/[^'\n]*)'|"(/[^"$\n]*)"|(/[^\s'"$]*))[ \t]*$""",
    re.MULTILINE,
)
_INTERPRETER = re.compile(r"(python|pypy)[\d.]*")
_ALGORITHMS = ("sha256", "sha384", "sha512")
"""What hashes of RECORD are made with."""
_TAME = re.compile(r"[\w./+@=:, -]+")
"""A path that means the same between quotation marks of all shells."""
_QUOTED = ("activate", "activate.csh", "activate.fish")
"""Files of shells that take the quotation marks of :func:`shlex.quote`."""


def find(environment: Environment) -> Former | None:
    """Where ``environment`` was, and which of its files say so; None: nothing does.

    The start-up file says it, and what activates the environment; so does a script whose
    interpreter is gone with the whole folder that it was in, if the environment has one
    of that name.

    :raises OSError: the environment cannot be read
    """
    if not (environment.scheme.data / relocation.CONFIGURATION).is_file():
        return None  # no virtual environment: programs of others are there
    places = {
        place: None
        for place in (*_at_start(environment), *_activated(environment))
        if not _is_same(place, environment.scheme.data)
    }
    for _, content in _scripts(environment):
        found = scripts.split(content)
        if found is not None and _is_lost(found[0], environment):
            places[_place_of(found[0], environment)] = None
    former = Former(tuple(places))
    named = tuple(each.path for each in _renewed(former, environment)) if places else ()
    return replace(former, files=named) if named else None


def renew(
    former: Former | None,
    environment: Environment,
    outcome: Outcome,
    patience: Patience = Patience(),  # noqa: B008  frozen
) -> None:
    """Write where ``environment`` is now into its files that name a former place."""
    if former is None:
        return
    try:
        with changing(environment, patience):
            renewed = list(_renewed(former, environment))
            written = [each for each in renewed if each.content is not None]
            records = list(_records(written, environment))
            write([*written, *records], environment)
    except (CommonwheelError, OSError) as error:
        outcome.broken += [(f"{path}: {error}", "write to it") for path in former.files]
        return
    outcome.mended += [f"{each.path}: is of this place now" for each in written]
    outcome.broken += [
        (f"{each.path} names {former.places[0]}", f"name {environment.scheme.data} there")
        for each in renewed
        if each.content is None
    ]


def _at_start(environment: Environment) -> Iterator[Path]:
    """Where the environment was when something was linked into it last."""
    for site in environment.sites:
        home = runtime.home_of(text_of(site / runtime.START_UP) or "")
        inside = os.path.relpath(site, environment.scheme.data)
        if home is not None and str(home).endswith(os.sep + inside):
            yield Path(str(home).removesuffix(os.sep + inside))


def _activated(environment: Environment) -> Iterator[Path]:
    text = text_of(environment.scheme.scripts / "activate") or ""
    for match in _ACTIVATED.finditer(text):
        yield Path(match[match.lastindex or 0])


def _is_lost(interpreter: Path, environment: Environment) -> bool:
    """Whether an interpreter was the environment's, as far as can be told."""
    name = interpreter.name
    return (
        _INTERPRETER.fullmatch(name) is not None
        and interpreter.parent.parts[-len(_inside(environment).parts) :]
        == _inside(environment).parts
        and not os.path.lexists(_place_of(interpreter, environment))
        and (environment.scheme.scripts / name).exists()
    )


def _inside(environment: Environment) -> Path:
    """The folder of scripts, relative to the environment."""
    return Path(os.path.relpath(environment.scheme.scripts, environment.scheme.data))


def _place_of(interpreter: Path, environment: Environment) -> Path:
    return interpreter.parents[len(_inside(environment).parts)]


def _is_same(place: Path, other: Path) -> bool:
    try:
        return place.samefile(other)
    except OSError:
        return False  # it is not there


def _renewed(former: Former, environment: Environment) -> Iterator[RealFile]:
    """The files as they are to be; without contents if that cannot be said."""
    folder = environment.scheme.scripts
    inside = _inside(environment)
    here = Relocation(
        [place / inside for place in former.places],
        inside.as_posix(),
        environment.scheme.data,
    )
    of_links = _of_links(environment)
    for path, content in _scripts(environment):
        found = scripts.split(content)
        if path in of_links or found is None or not (folder / found[0].name).exists():
            continue
        new = here.script(content)
        if new != content:
            executable = path.stat().st_mode & stat.S_IXUSR != 0
            yield RealFile(path, content=new, executable=executable)
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if relocation.activates(name) and path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            told = _activating(name, content, former, environment)
            if told != content:
                executable = path.stat().st_mode & stat.S_IXUSR != 0
                yield RealFile(path, content=told, executable=executable)


def _scripts(environment: Environment) -> Iterator[tuple[Path, bytes]]:
    """The files in the folder of scripts that a kernel runs by their first line."""
    folder = environment.scheme.scripts
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as file:
                begin = file.read(2)
                if begin == b"#!":
                    yield path, begin + file.read()


def _activating(
    name: str, content: bytes, former: Former, environment: Environment
) -> bytes | None:
    """A file that activates the environment; None if it cannot be known how it quotes."""
    here = os.fspath(environment.scheme.data)
    ways = (re.escape(os.fsencode(place)) for place in former.places)
    places = rb"(?:" + rb"|".join(ways) + rb")"
    # the folder or what is below it, but no other path that it is a part of
    named = rb"(?<![\w./%+@~-])" + places + rb"(?![\w.%+@~-])"
    if shlex.quote(here) == here:
        return re.sub(named, lambda _: os.fsencode(here), content)
    if name in _QUOTED:
        bare = rb"(?<![\w./%+@~'\"-])" + places + rb"(?![\w./%+@~'\"-])"
        words = rb"'" + places + rb"'|\"" + places + rb"\"|" + bare
        quoted = os.fsencode(shlex.quote(here))
        new, number = re.subn(words, lambda _: quoted, content)
    elif _TAME.fullmatch(here):
        words = rb"(?<=')" + places + rb"(?=')|(?<=\")" + places + rb"(?=\")"
        new, number = re.subn(words, lambda _: os.fsencode(here), content)
    else:
        new, number = content, 0
    return new if number == len(re.findall(named, content)) else None


def _of_links(environment: Environment) -> set[Path]:
    """The files that linked distributions list."""
    found: set[Path] = set()
    for each in _distributions(environment):
        if each.link is not None:
            found |= {_listed(each, row) for row in _rows(each)}
    return found


def _records(files: Iterable[RealFile], environment: Environment) -> Iterator[RealFile]:
    """RECORD of the distributions that list ``files``, with what they will be.

    The row of a file that somebody has edited goes on saying that it was.
    """
    new = {each.path: each.content for each in files if each.content is not None}
    for each in _distributions(environment):
        rows = list(_rows(each))
        changed = [_of_now(row, _listed(each, row), new) for row in rows]
        if changed != rows:
            content = record.render(changed).encode("utf-8")
            yield RealFile(each.metadata / "RECORD", content=content)


def _of_now(row: Row, path: Path, new: Mapping[Path, bytes]) -> Row:
    algorithm = row.hash.partition("=")[0]
    if path not in new or algorithm not in _ALGORITHMS:
        return row
    if row.hash.rstrip("=") != _hash(algorithm, path.read_bytes()):
        return row
    return Row(row.path, _hash(algorithm, new[path]), str(len(new[path])))


def _hash(algorithm: str, content: bytes) -> str:
    return record.encode_digest(algorithm, hashlib.new(algorithm, content).digest())


def _distributions(environment: Environment) -> Iterator[installed.Installed]:
    for found in installed.read(environment).values():
        yield from found


def _rows(distribution: installed.Installed) -> Iterator[Row]:
    text = text_of(distribution.metadata / "RECORD")
    try:
        yield from record.parse(text or "")
    except ValueError:
        return  # what lists them cannot be known


def _listed(distribution: installed.Installed, row: Row) -> Path:
    return Path(os.path.normpath(distribution.metadata.parent / row.path))
