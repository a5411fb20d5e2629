"""Link manifests: the small text files that say what an environment links to.

``site-packages/_commonwheel/links/NAME.link``, one for each linked distribution::

    commonwheel: 1
    name: numpy
    version: 2.4.6
    entry: STORE/entries/numpy-2.4.6-1a2b3c4d
    sha256: the wheel's, in full
    metadata: numpy-2.4.6.dist-info
    mode: hardlink

``mode`` is there if the distribution consists of real files: how they were made. The
entry is then where they came from; what is in the environment does not depend on it.

The runtime reads the same lines (``name``, ``version``, ``entry``, ``metadata``), so a
key that it uses keeps its meaning for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from commonwheel import files
from commonwheel.link_mode import LinkMode

FOLDER = "_commonwheel"
"""In site-packages: everything of ours but the start-up files."""
LINKS = f"{FOLDER}/links"
ASIDE = f"{FOLDER}/stage-"
"""Begins the names of the folders of changes that are not done."""
VIEW = f"{FOLDER}/view"
SUFFIX = ".link"
_FIRST = "commonwheel: 1"
_LARGE = 1 << 16
"""More bytes than a manifest has."""
_MODE = b"mode: "
_MODES = {mode.value.encode(): mode for mode in LinkMode} | {None: LinkMode.MANIFEST}
_ENTRY = re.compile(
    rb"commonwheel: 1\n(?:(?!entry: |mode: ).*\n)*entry: (?:.*/)?([^/\n]+)\n"
    rb"(?:(?!entry: |mode: ).*\n)*(?:mode: (manifest|reflink|hardlink|copy|auto)\n"
    rb"(?:(?!entry: |mode: ).*\n)*)?"
)


@dataclass(frozen=True)
class Manifest:
    """What one environment says of one linked distribution."""

    name: str
    """Normalized."""
    version: str
    entry: Path
    """The entry's folder."""
    sha256: str
    """Of the wheel file."""
    metadata: str
    """The name of the ``.dist-info`` folder beside."""
    mode: LinkMode = LinkMode.MANIFEST
    """What was really used, never :attr:`LinkMode.AUTO`."""

    @property
    def is_linked(self) -> bool:
        """Whether the distribution is links in the view, not real files."""
        return self.mode is LinkMode.MANIFEST

    @property
    def path(self) -> str:
        """Relative to site-packages."""
        return path_of(self.name)


def path_of(name: str) -> str:
    """Where the manifest of distribution ``name`` is, relative to site-packages."""
    return f"{LINKS}/{name}{SUFFIX}"


def name_of(path: str) -> str:
    """The distribution whose manifest is at ``path``, relative to site-packages."""
    return path.removeprefix(f"{LINKS}/").removesuffix(SUFFIX)


def render(manifest: Manifest) -> str:
    """The text of a manifest.

    :raises ValueError: a path with a line break in it
    """
    lines = [
        _FIRST,
        f"name: {manifest.name}",
        f"version: {manifest.version}",
        f"entry: {manifest.entry}",
        f"sha256: {manifest.sha256}",
        f"metadata: {manifest.metadata}",
    ]
    if not manifest.is_linked:
        lines.append(f"{_MODE.decode()}{manifest.mode.value}")
    text = "".join(f"{line}\n" for line in lines)
    if text.count("\n") != len(lines):
        raise ValueError(f"a path with a line break in it: {str(manifest.entry)!r}")
    return text


def parse(text: str) -> Manifest:
    """The manifest that ``text`` holds.

    :raises ValueError: it is not one, or of a newer format
    """
    first, *lines = text.removesuffix("\n").split("\n")
    if first != _FIRST:
        raise ValueError(f"not a link manifest of this format: {first!r}")
    fields = dict(line.partition(": ")[::2] for line in lines)
    try:
        return Manifest(
            fields["name"],
            fields["version"],
            Path(fields["entry"]),
            fields["sha256"],
            fields["metadata"],
            LinkMode(fields.get("mode", LinkMode.MANIFEST.value)),
        )
    except KeyError as error:
        raise ValueError(f"a link manifest without {error}") from error


def encode(manifest: Manifest) -> bytes:
    """The manifest as a file. Names of folders are bytes, not all of them UTF-8."""
    return render(manifest).encode("utf-8", "surrogateescape")


def decode(content: bytes) -> Manifest:
    """The manifest that a file holds.

    :raises ValueError: it is not one, or of a newer format
    """
    return parse(content.decode("utf-8", "surrogateescape"))


def read_linked(site: Path, without: Collection[str] = ()) -> dict[str, Manifest]:
    """As :func:`read_all`, of the distributions that are links."""
    found = read_all(site, without)
    return {name: each for name, each in found.items() if each.is_linked}


def read_real(site: Path, without: Collection[str] = ()) -> dict[str, Manifest]:
    """As :func:`read_all`, of the distributions that are real files."""
    found = _read(site, without, having=_MODE)  # the others need not be parsed
    return {name: each for name, each in found.items() if not each.is_linked}


def read_all(site: Path, without: Collection[str] = ()) -> dict[str, Manifest]:
    """The manifests in the site-packages folder ``site``, by distribution name.

    Those of the distributions ``without`` are not looked at.

    :raises ValueError: one of them is damaged; names it
    :raises OSError: one of them is not readable
    """
    return _read(site, without)


def read_entries(site: Path) -> Iterator[tuple[str, LinkMode]]:
    """The names of the entries that the manifests in ``site`` lead to, and how.

    It reads no more than that: whoever asks, asks very many environments.

    :raises ValueError: one of them is damaged; names it
    :raises OSError: one of them is not readable
    """
    folder = os.path.join(site, LINKS, "")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if name.endswith(SUFFIX) and not name.startswith("."):
            found = _ENTRY.fullmatch(files.read(folder + name))
            if found is None:
                raise ValueError(f"{folder}{name}: not a link manifest of this format")
            entry, mode = found.groups()
            yield entry.decode("utf-8", "surrogateescape"), _MODES[mode]


def read_aside(site: Path) -> Iterator[tuple[str, LinkMode]]:
    """As :func:`read_entries`, of manifests that a change has put aside.

    If it was killed, the next one puts them back. What is gone when it is looked at has
    come to its end meanwhile.

    :raises OSError: one of them is not readable, or what was put aside is another user's
    """
    for stage in site.glob(f"{ASIDE}*"):
        with suppress(FileNotFoundError):
            for name in os.listdir(stage):  # a glob passes over what it may not read
                yield from _read_if_entry(stage / name)


def _read_if_entry(path: Path) -> Iterator[tuple[str, LinkMode]]:
    """What a file says that may be a manifest, under any name."""
    with suppress(FileNotFoundError):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb", buffering=0) as file:
                found = _ENTRY.fullmatch(file.read(_LARGE))
            if found is not None:
                entry, mode = found.groups()
                yield entry.decode("utf-8", "surrogateescape"), _MODES[mode]


def is_lost(site: Path) -> bool:
    """Whether the folder of manifests is gone from below links that are still there."""
    view = site / VIEW
    if (site / LINKS).is_dir() or not view.is_dir():
        return False
    return any(path.is_symlink() for path in view.iterdir())


def _read(
    site: Path, without: Collection[str], having: bytes = b""
) -> dict[str, Manifest]:
    try:
        files = sorted(os.listdir(site / LINKS))
    except FileNotFoundError:
        return {}
    found: dict[str, Manifest] = {}
    for file in files:
        name = file.removesuffix(SUFFIX)
        if name != file and not file.startswith(".") and name not in without:
            path = site / LINKS / file
            content = path.read_bytes()
            try:
                if having in content:
                    found[name] = decode(content)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return found
