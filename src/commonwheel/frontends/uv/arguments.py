"""uv's command line, as far as it has to be understood to be asked the same twice.

uv's own documentation is the specification: https://docs.astral.sh/uv/reference/cli/.
Nothing is checked here: what uv refuses it refuses itself. Of an option only three
things matter: its name, whether it takes a value, and whether the command that has it
can be linked at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

_VERBS = (("pip", "install"), ("pip", "sync"), ("sync",))

_GLOBAL = {
    "--allow-insecure-host",
    "--cache-dir",
    "--color",
    "--config-file",
    "--directory",
    "--preview-features",
    "--project",
    "--python-fetch",
    "--python-preference",
}
_COMMON = {
    "--config-setting",
    "--config-settings-package",
    "--default-index",
    "--exclude-newer",
    "--exclude-newer-package",
    "--extra",
    "--extra-index-url",
    "--find-links",
    "--fork-strategy",
    "--group",
    "--index",
    "--index-strategy",
    "--index-url",
    "--keyring-provider",
    "--link-mode",
    "--no-build-isolation-package",
    "--no-editable-package",
    "--no-sources-package",
    "--output-format",
    "--prerelease",
    "--prerelease-package",
    "--python",
    "--python-platform",
    "--refresh-package",
    "--reinstall-package",
    "--resolution",
    "--upgrade-group",
    "--upgrade-package",
}
_PIP = {
    "--build-constraints",
    "--cert",
    "--client-cert",
    "--config",
    "--constraints",
    "--editable",
    "--excludes",
    "--no-binary",
    "--only-binary",
    "--overrides",
    "--pip-args",
    "--prefix",
    "--python-executable",
    "--python-version",
    "--requirements",
    "--target",
    "--torch-backend",
}
_PROJECT = {
    "--no-binary-package",
    "--no-build-package",
    "--no-extra",
    "--no-group",
    "--no-install-package",
    "--only-group",
    "--only-install-package",
    "--package",
    "--script",
}
_VALUED = {
    (): _GLOBAL,
    ("pip",): _GLOBAL,
    ("pip", "install"): _GLOBAL | _COMMON | _PIP,
    ("pip", "sync"): _GLOBAL | _COMMON | _PIP,
    ("sync",): _GLOBAL | _COMMON | _PROJECT,
}
"""The options that take a value. ``--no-binary`` does after ``uv pip`` only."""

_SHORT = {
    "-C": "--config-setting",
    "-P": "--upgrade-package",
    "-U": "--upgrade",
    "-V": "--version",
    "-b": "--build-constraints",
    "-c": "--constraints",
    "-e": "--editable",
    "-f": "--find-links",
    "-h": "--help",
    "-i": "--index-url",
    "-n": "--no-cache",
    "-p": "--python",
    "-q": "--quiet",
    "-r": "--requirements",
    "-t": "--target",
    "-v": "--verbose",
}
_ALIASES = {
    "--build-constraint": "--build-constraints",
    "--config-settings": "--config-setting",
    "--constraint": "--constraints",
    "--exclude": "--excludes",
    "--force-reinstall": "--reinstall",
    "--no-cache-dir": "--no-cache",
    "--override": "--overrides",
    "--preview-feature": "--preview-features",
    "--requirement": "--requirements",
    "--trusted-host": "--allow-insecure-host",
}

_ALL = "--reinstall"
_ONE = "--reinstall-package"
_NAME = re.compile(r"[-_.]+")

_NOT_LINKED = {
    "--break-system-packages",
    "--check",
    "--dry-run",
    "--help",
    "--output-format",
    "--prefix",
    "--python-platform",
    "--python-version",
    "--script",
    "--show-settings",
    "--target",
    "--user",
    "--version",
}
"""With one of these uv is run at once: it installs elsewhere, or for another Python, or
not at all, or is asked to report what it does itself."""


@dataclass(frozen=True)
class Argument:
    """An option with its value, or a positional argument."""

    words: tuple[str, ...]
    """What it is on the command line; never several options in one word."""
    name: str | None = None
    """Of an option: the long one, without aliases. None: it is positional."""
    value: str | None = None
    """Of an option that takes one; a positional argument itself."""


@dataclass(frozen=True)
class Command:
    """A command line of uv for a command that installs."""

    before: tuple[Argument, ...]
    """Global options before the verb, or inside it."""
    verb: tuple[str, ...]
    """``("pip", "install")``, ``("pip", "sync")`` or ``("sync",)``."""
    after: tuple[Argument, ...]

    @property
    def linkable(self) -> bool:
        """Whether linking could be of use for what it asks for."""
        return not self.has(*_NOT_LINKED)

    def has(self, *names: str) -> bool:
        """Whether one of the options ``names`` is given."""
        return any(each.name in names for each in self._all())

    def values(self, *names: str) -> tuple[str, ...]:
        """The values given for the options ``names``, in order."""
        return tuple(
            each.value
            for each in self._all()
            if each.name in names and each.value is not None
        )

    @property
    def positional(self) -> tuple[str, ...]:
        """What is not an option: requirements, or files of them."""
        return tuple(
            each.value
            for each in self.after
            if each.name is None and each.value is not None
        )

    def options(self, names: Collection[str]) -> tuple[str, ...]:
        """The words of the options ``names``, in order."""
        return _words(each for each in self._all() if each.name in names)

    def without(self, drop: Callable[[Argument], bool]) -> Command:
        """The same without some arguments."""
        return replace(
            self,
            before=tuple(each for each in self.before if not drop(each)),
            after=tuple(each for each in self.after if not drop(each)),
        )

    def reinstalling(self, names: Iterable[str], done: Collection[str]) -> Command:
        """The same, with ``names`` instead of all if all is to be installed anew.

        Not with any of ``done``, in any case. Names are normalized.
        """

        def is_done(each: Argument) -> bool:
            if each.name == _ONE:
                return _NAME.sub("-", each.value or "").lower() in done
            return each.name == _ALL

        rest = self.without(is_done)
        if not self.has(_ALL):
            return rest
        more = tuple(Argument((_ONE, name), _ONE, name) for name in names)
        return replace(rest, after=(*more, *rest.after))

    def words(self, *more: str) -> tuple[str, ...]:
        """The command line, with the options ``more``."""
        return (*_words(self.before), *self.verb, *more, *_words(self.after))

    def _all(self) -> Iterator[Argument]:
        yield from self.before
        yield from self.after


def parse(words: Sequence[str]) -> Command | None:
    """The command, if it is one that installs into an environment.

    None also if it cannot be told: uv is to see to it.
    """
    before: list[Argument] = []
    verb: tuple[str, ...] = ()
    rest = list(words)
    while rest and verb not in _VERBS:
        if rest[0].startswith("-"):
            if rest[0] == "--":
                return None
            before.extend(_take_option(rest, _VALUED[verb]))
        else:
            verb += (rest.pop(0),)
            if not any(each[: len(verb)] == verb for each in _VERBS):
                return None
    if verb not in _VERBS:
        return None
    after: list[Argument] = []
    while rest:
        if rest[0] == "--":
            after.append(Argument((rest.pop(0),)))
            after.extend(Argument((word,), value=word) for word in rest)
            rest.clear()
        elif rest[0].startswith("-") and rest[0] != "-":
            after.extend(_take_option(rest, _VALUED[verb]))
        else:
            word = rest.pop(0)
            after.append(Argument((word,), value=word))
    return Command(tuple(before), verb, tuple(after))


def _take_option(rest: list[str], valued: Collection[str]) -> Iterator[Argument]:
    """Take one word off ``rest``, with the value that may follow it.

    ``-nq`` is two options, ``-rfile`` and ``-r=file`` are one with a value.
    """
    word = rest.pop(0)
    if word.startswith("--"):
        given, joined, value = word.partition("=")
        name = _ALIASES.get(given, given)
        if joined:
            yield Argument((word,), name, value)
        elif name in valued and rest:
            value = rest.pop(0)
            yield Argument((word, value), name, value)
        else:
            yield Argument((word,), name)
        return
    letters = word[1:]
    while letters:
        short, letters = f"-{letters[0]}", letters[1:]
        name = _SHORT.get(short, short)
        if name not in valued:
            yield Argument((short,), name)
        elif letters:
            yield Argument((f"{short}{letters}",), name, letters.removeprefix("="))
            return
        elif rest:
            value = rest.pop(0)
            yield Argument((short, value), name, value)
        else:
            yield Argument((short,), name)


def _words(arguments: Iterator[Argument] | Sequence[Argument]) -> tuple[str, ...]:
    return tuple(word for each in arguments for word in each.words)
