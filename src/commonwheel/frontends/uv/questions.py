"""What uv is asked before it runs: what it would change, where, and from which files.

Each question is put with the options of the command line that bear on it, so that uv's
settings (``UV_*``, ``uv.toml``, ``pyproject.toml``) hold for the answers as well.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from commonwheel.errors import CommonwheelError
from commonwheel.frontends.uv import answers
from commonwheel.frontends.uv.answers import Changes, Place
from commonwheel.frontends.uv.arguments import Command
from commonwheel.frontends.uv.program import Uv

_OUTPUT = frozenset({"--color", "--no-color", "--no-progress", "--quiet", "--verbose"})
"""Options that only change what is printed."""
_PLAIN = {
    "CLICOLOR_FORCE": None,
    "FORCE_COLOR": None,
    "NO_COLOR": "1",
    "RUST_LOG": None,
    "UV_LOG_CONTEXT": None,
}
"""Environment variables, so that answers look the same everywhere."""

_GLOBAL = {
    "--allow-insecure-host",
    "--allow-python-downloads",
    "--cache-dir",
    "--config-file",
    "--directory",
    "--isolated",
    "--managed-python",
    "--native-tls",
    "--no-cache",
    "--no-config",
    "--no-managed-python",
    "--no-native-tls",
    "--no-offline",
    "--no-preview",
    "--no-python-downloads",
    "--no-system-certs",
    "--offline",
    "--preview",
    "--preview-features",
    "--project",
    "--python-fetch",
    "--python-preference",
    "--system-certs",
}
_INDEX = {
    "--default-index",
    "--exclude-newer",
    "--exclude-newer-package",
    "--extra-index-url",
    "--find-links",
    "--index",
    "--index-strategy",
    "--index-url",
    "--keyring-provider",
    "--no-index",
}
_RESOLVER = {
    "--build-isolation",
    "--config-setting",
    "--config-settings-package",
    "--fork-strategy",
    "--no-build-isolation",
    "--no-build-isolation-package",
    "--no-sources",
    "--no-sources-package",
    "--pre",
    "--prerelease",
    "--prerelease-package",
    "--resolution",
}
_PINNED = _GLOBAL | _INDEX | {"--build", "--cert", "--no-binary", "--no-build"}
_PINNED |= {"--only-binary", "--torch-backend"}
"""Of ``uv pip``: what bears on where a file comes from, and which one it is."""
_RESOLVED = _PINNED | _RESOLVER
_RESOLVED |= {"--all-extras", "--extra", "--group", "--no-all-extras", "--no-deps"}
_RESOLVED |= {"--build-constraints", "--constraints", "--excludes", "--overrides"}
"""Of ``uv pip``: what bears on what is installed, apart from requirements."""
_SELECTED = _GLOBAL | {"--all-extras", "--all-groups", "--all-packages", "--dev"}
_SELECTED |= {"--extra", "--group", "--no-all-extras", "--no-default-groups"}
_SELECTED |= {"--no-dev", "--no-extra", "--no-group", "--only-dev", "--only-group"}
_SELECTED |= {"--package", "--python"}
"""Of ``uv sync``: what bears on what is taken from the lock."""
_LOCKED = _SELECTED | _INDEX | _RESOLVER
_LOCKED |= {"--locked", "--upgrade", "--upgrade-group", "--upgrade-package"}
"""Of ``uv sync``: what bears on the lock, too."""

_TRUST = {"SSL_CERT_DIR": None, "SSL_CERT_FILE": None}
"""Certificates are not needed for settings, and take 60 ms to read and to print."""


@dataclass(eq=False)
class UvRefused(CommonwheelError):
    """uv was asked something and failed."""

    question: str
    said: str

    def __str__(self) -> str:
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        reasons = [line for line in lines if line.startswith("error:")] or lines
        return f"{self.question}: {reasons[0] if reasons else 'it failed'}"


@dataclass(frozen=True)
class Asking:
    """A command line that uv is asked about."""

    command: Command
    uv: Uv
    stdin: BinaryIO | None
    """What is read by ``-r -``, to be read anew by each question."""
    folder: Path
    """For files that go with questions."""

    def changes(self, directory: Path) -> tuple[Changes, Place] | None:
        """What would be changed, and where; ``directory`` is where uv runs.

        None if uv fails, or does not say.
        """
        project = self.command.verb == ("sync",)
        more = ("--output-format", "json") if project else ("--verbose",)
        said = self._ask(self._plain.words("--dry-run", *more))
        if said.returncode != 0:
            return None
        if project:
            place = answers.project_place(said.stdout)
        else:
            place = answers.pip_place(said.stderr, directory)
        return None if place is None else (answers.changes(said.stderr), place)

    def make_environment(self, changes: Changes) -> str:
        """Have ``uv sync`` make its environment, and its lock, and install nothing.

        Returns what it says of the environment, as ``uv sync`` will not say it again.

        :raises UvRefused: it fails
        """
        nothing = [word for name in changes.names for word in _not(name)]
        said = self._ask(self._plain.words(*nothing))
        if said.returncode != 0:
            raise UvRefused("uv sync", said.stderr)
        return answers.about_environment(said.stderr)

    def exported(self, *, locked: bool) -> Path:
        """What the lock of ``uv sync`` says, as a ``pylock.toml``.

        Locks anew if it is not ``locked``, as ``uv sync`` would.

        :raises UvRefused: it fails
        """
        asked = ["--frozen"] if locked else []
        kept = self.command.options(_SELECTED if locked else _LOCKED)
        ours = {"UV_FROZEN": None, "UV_LOCKED": None} if locked else {}
        return self._locked(["export", *asked, *kept], ours)

    def pinned(self, changes: Changes, python: Path, options: Sequence[str]) -> Path:
        """From which files of an index ``changes`` would come, as a ``pylock.toml``.

        ``options`` are lines that requirements files have for all.

        :raises UvRefused: it fails
        """
        pins = [f"{name}=={version}" for name, version in changes.wanted.items()]
        file = self._write("pins.in", [*options, *pins])
        kept = self.command.options(_PINNED)
        asked = ["pip", "compile", "--python", str(python), "--no-deps", *kept]
        return self._resolved([*asked, str(file)])

    def resolved(self, changes: Changes, python: Path) -> Path:
        """The same, where projects may say which index theirs come from.

        :raises UvRefused: it fails
        """
        command = self.command
        named, files = command.positional, command.values("--requirements")
        kept = list(command.options(_RESOLVED))
        if command.verb == ("pip", "sync"):
            named, files = (), command.positional
            kept.append("--no-deps")
        pins = [f"{name}=={version}" for name, version in changes.wanted.items()]
        kept += ["--constraints", str(self._write("pins.txt", pins))]
        editables = [f"-e {each}" for each in command.values("--editable")]
        file = self._write("wanted.in", [*editables, *named])
        asked = ["pip", "compile", "--python", str(python), *kept]
        return self._resolved([*asked, str(file), *files])

    def without_wheels(self) -> frozenset[str] | None:
        """The names of what must not come from wheels; None: nothing may.

        A ``pylock.toml`` lists wheels all the same.
        """
        variables = {**_PLAIN, **_TRUST}
        words = self._plain.words("--show-settings")
        said = self.uv.ask(words, variables=variables)
        return answers.without_wheels(said.stdout)

    def kept_stdin(self) -> Path | None:
        """A file of what standard input held, if the command reads it."""
        if self.stdin is None:
            return None
        self.stdin.seek(0)
        file = self.folder / "stdin.txt"
        file.write_bytes(self.stdin.read())
        return file

    @property
    def _plain(self) -> Command:
        return self.command.without(lambda each: each.name in _OUTPUT)

    def _ask(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return self.uv.ask(words, stdin=self.stdin, variables=_PLAIN)

    def _resolved(self, words: Sequence[str]) -> Path:
        # The dry run has just asked the index: first without asking it again.
        try:
            return self._locked(words, {"UV_OFFLINE": "1"})
        except UvRefused:
            return self._locked(words, {})

    def _locked(self, words: Sequence[str], variables: Mapping[str, str | None]) -> Path:
        # uv.toml can name an output file for all: ours has to be named too
        file = self.folder / "pylock.toml"
        asked = [*words, "--quiet", "--format", "pylock.toml", "-o", str(file)]
        said = self.uv.ask(asked, stdin=self.stdin, variables={**_PLAIN, **variables})
        if said.returncode != 0:
            name = "uv export" if words[0] == "export" else "uv pip compile"
            raise UvRefused(name, said.stderr)
        return file

    def _write(self, name: str, lines: Sequence[str]) -> Path:
        file = self.folder / name
        file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return file


def _not(name: str) -> tuple[str, str]:
    return "--no-install-package", name
