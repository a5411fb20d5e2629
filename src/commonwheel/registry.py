"""The registry: which environments hold entries of a store.

::

    STORE/environments/
      ID.json       one environment: where it is; written once, before it is linked into
      ID.entries    "ENTRY MODE" of each entry that it has had, as far as was noted
      ID.missing    it was not there when somebody looked; since when
      moved-HASH    an environment that has noticed at its start that it is elsewhere now;
                    the path of its site-packages

What an environment holds is said by its own link manifests. The notes are for when it
cannot be read, and for an overview that need not read all environments. They are copies:
an environment that goes (``rm -rf``) owes nobody anything.

A record that cannot be read is an error: what its environment needs is not known.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from commonwheel import files, filesystem, manifest, sight
from commonwheel import root as roots
from commonwheel.custody import Custody
from commonwheel.environment import Environment
from commonwheel.errors import InvalidRegistry, InvalidStore, explain
from commonwheel.link_mode import LinkMode
from commonwheel.root import Root
from commonwheel.sight import Sight, State

_MOVED = "moved-"
_MODES = {mode.value: mode for mode in LinkMode}


class Registry:
    """The list of the environments that use a store."""

    def __init__(
        self,
        folder: Path,
        custody: Custody = Custody(),  # noqa: B008  frozen
    ) -> None:
        """``folder``: ``environments`` of the store, in whose ``custody`` that is."""
        self._folder = folder
        self._custody = custody

    def remember(
        self, environment: Environment, entries: Iterable[tuple[str, LinkMode]]
    ) -> None:
        """Record that ``environment`` holds ``entries``, beside what it held before.

        A store that cannot be written is not told.

        :raises InvalidStore: it can, but this failed
        """
        if not os.access(self._folder, os.W_OK):
            return
        root = self._own(environment)
        try:
            if not roots.is_recorded(root):
                roots.write(root)
            lines = "".join(f"{name} {mode.value}\n" for name, mode in entries)
            # one write to the end: whoever else writes there, lines never mix
            with files.open_to_append(root.beside("entries"), self._is_mine) as file:
                if not file.tell():
                    os.chmod(file.fileno(), roots.FOR_ALL)  # whatever the umask is
                file.write(lines.encode("utf-8"))
                os.fsync(file.fileno())
            with suppress(OSError):  # who has noted it takes it back
                root.beside("missing").unlink(missing_ok=True)
        except OSError as error:
            raise InvalidStore(self._folder.parent, explain(error)) from error

    def knows(self, environment: Environment) -> bool:
        """Whether ``environment`` is registered where it is now."""
        return roots.is_recorded(self._own(environment))

    def _own(self, environment: Environment) -> Root:
        """The record of an environment: this user's own, in a team's store.

        That of somebody else may say anything; nobody can be kept from making their own.
        """
        found = roots.root_of(environment, self._folder)
        if not self._custody.is_shared:
            return found
        me = os.geteuid()
        names = (f"{found.id}-{me}-{number}" for number in itertools.count(2))
        for name in itertools.chain((found.id, f"{found.id}-{me}"), names):
            mine = replace(found, id=name, record=self._folder / f"{name}.json")
            if self._is_free(mine.record) and self._is_free(mine.beside("entries")):
                return mine
        raise AssertionError("numbers do not end")

    def _is_free(self, path: Path) -> bool:
        """Whether a file of this user's is there, or nothing."""
        try:
            return self._is_mine(os.lstat(path))
        except FileNotFoundError:
            return True

    def _is_mine(self, file: os.stat_result) -> bool:
        """Whether this user wrote a file, as only they do in a store that has no team."""
        if not self._custody.is_shared:
            return True
        return self._custody.believes(file) and file.st_uid == os.geteuid()

    def roots(self) -> Iterator[Root]:
        """All environments that are registered.

        :raises InvalidRegistry: a record is damaged, so somebody's needs are unknown
        """
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidRegistry(self._folder, explain(error)) from error
        for name in names:
            path = self._folder / name
            try:
                if name.startswith(_MOVED) and "." not in name:
                    found = roots.read_moved(path)
                    if f"{roots.identifier_of(found.sites[0])}.json" not in names:
                        yield found  # a command has not registered it since
                elif name.endswith(".json") and not name.startswith("."):
                    yield roots.read(path)
            except FileNotFoundError:
                continue  # forgotten meanwhile
            except OSError as error:
                raise InvalidRegistry(path, explain(error)) from error
            except ValueError as error:
                raise InvalidRegistry(path, str(error)) from error

    def noted(self, root: Root) -> dict[str, LinkMode]:
        """What an environment held, as far as was noted; it is not looked at.

        :raises InvalidRegistry: the note cannot be read, so its needs are unknown
        """
        path = root.beside("entries")
        try:
            content = files.read(path)
        except FileNotFoundError:
            return {}  # it was registered, and nothing linked
        except OSError as error:
            raise InvalidRegistry(path, explain(error)) from error
        if content.startswith(b"\0"):
            raise InvalidRegistry(path, "it is damaged")
        # What was being appended when the power went may be zeros (ext4). Nothing depends
        # on that: it is on the disk before anything is linked.
        content = content.replace(b"\0", b"\n")
        lines = content.decode("utf-8", "surrogateescape").split("\n")
        # whose last line was cut off may hold an entry of another name: that is no harm
        pairs = (line.partition(" ") for line in lines if line)
        return {name: _MODES.get(mode, LinkMode.MANIFEST) for name, _, mode in pairs}

    def look(self, root: Root) -> Sight:
        """What an environment holds now, by its own link manifests.

        :raises InvalidRegistry: it cannot be asked, and what it held neither
        """
        try:
            present = [site for site in root.sites if sight.is_there(site)]
            held = [sight.held(site) for site in present]
        except (OSError, ValueError) as error:
            reason = explain(error) if isinstance(error, OSError) else str(error)
            if root.record.name.startswith(_MOVED):
                raise InvalidRegistry(root.record, reason) from error
            return Sight(State.UNREADABLE, self.noted(root), reason)
        if present:
            return Sight(State.PRESENT, {k: v for each in held for k, v in each.items()})
        return self._missing(root)

    def glance(self, root: Root) -> Sight:
        """As :meth:`look`, much quicker: what it holds is what was noted.

        Of what an environment has said of itself at its start nothing was noted.

        :raises InvalidRegistry: what was noted cannot be read
        """
        if root.record.name.startswith(_MOVED):
            return self.look(root)
        try:
            present = any(sight.is_there(site) for site in root.sites)
        except OSError as error:
            return Sight(State.UNREADABLE, self.noted(root), explain(error))
        if present:
            return Sight(State.PRESENT, self.noted(root))
        return self._missing(root)

    def _missing(self, root: Root) -> Sight:
        state = State.GONE if sight.lay_here(root) else State.UNREACHABLE
        return Sight(state, self.noted(root))

    def settle(self, root: Root, entries: Mapping[str, LinkMode]) -> None:
        """Note what an environment holds now, nothing else, and what it lies on.

        As far as that is possible. To be called while nobody else uses the store.

        :raises InvalidRegistry: what was noted cannot be read
        """
        if root.record.name.startswith(_MOVED):
            root = self._take_in(root)
        path = root.beside("entries")
        try:
            lies_on = filesystem.identity(root.sites[0])
            if lies_on != root.filesystem:  # some are numbered anew when they are mounted
                roots.write(replace(root, filesystem=lies_on))
            if self.noted(root) != entries:
                lines = "".join(
                    f"{name} {mode.value}\n" for name, mode in entries.items()
                )
                data = lines.encode("utf-8", "surrogateescape")
                files.write_atomically(path, data, roots.FOR_ALL)
        except OSError:
            return  # what it says is more than is held, no less

    def _take_in(self, root: Root) -> Root:
        """Make a record of what an environment has said of itself at its start."""
        site = root.sites[0]
        name = roots.identifier_of(site)
        taken = replace(root, id=name, record=self._folder / f"{name}.json")
        try:
            if not taken.record.exists():
                roots.write(taken)
            root.record.unlink()
        except OSError:
            pass  # its own note stays, and is as good
        return taken

    def missing_since(self, root: Root) -> float | None:
        """When an environment was first seen not to be there, by the store's clock."""
        try:
            noted = os.lstat(root.beside("missing"))
            whose = os.lstat(root.record).st_uid
        except OSError:
            return None
        if self._custody.believes(noted) or noted.st_uid == whose:
            return noted.st_mtime
        return None  # somebody else's clock may be wrong on purpose

    def changed(self, root: Root) -> float | None:
        """When what an environment holds was noted last, by the store's clock."""
        try:
            return root.beside("entries").stat().st_mtime
        except OSError:
            return None

    def note_missing(self, root: Root) -> None:
        """Start the clock of an environment that is not there, unless it runs.

        :raises OSError: the store cannot be written
        """
        path = root.beside("missing")
        if self.missing_since(root) is None:
            path.unlink(missing_ok=True)
        files.touch(path)

    def note_present(self, root: Root) -> None:
        """Stop the clock of an environment.

        :raises OSError: the store cannot be written
        """
        root.beside("missing").unlink(missing_ok=True)

    def forget(self, root: Root) -> None:
        """Take an environment off the list.

        :raises OSError: the store cannot be written
        """
        for said in self._folder.glob(f"{_MOVED}*"):
            with suppress(FileNotFoundError, ValueError):
                if (
                    "." not in said.name
                    and roots.read_moved(said).sites[0] == root.sites[0]
                ):
                    said.unlink()  # what it had said of itself before it was registered
        for kind in ("entries", "missing"):
            root.beside(kind).unlink(missing_ok=True)
        root.record.unlink(missing_ok=True)


def is_unfinished(name: str) -> bool:
    """Whether an environment that noticed that it has moved was killed writing a file."""
    return name.startswith(f".{_MOVED}")


def stores_of(environment: Environment) -> dict[Path, list[tuple[str, LinkMode]]]:
    """The folders of the stores whose entries ``environment`` holds, with which ones.

    :raises ValueError: a link manifest is damaged; names it
    :raises OSError: the environment is not readable
    """
    found: dict[Path, list[tuple[str, LinkMode]]] = {}
    for site in environment.sites:
        for each in manifest.read_all(site).values():
            store = each.entry.parent.parent
            found.setdefault(store, []).append((each.entry.name, each.mode))
    return found
