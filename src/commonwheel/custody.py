"""Custody: whose a store is, who may write to it, and whether it can be trusted for that.

What is in a store is run by everybody who uses it. So nobody may be able to put something
there, or another store in its place, but those whose it is:

- ``user``: it belongs to one user, who alone can write to it;
- ``team``: a group can write to it. Its folders are setgid and sticky (3775): all who are
  in the group can add to them, and only who has added something can replace or remove it;
- ``system``: it belongs to the superuser, and all others can only read it.

That is decided by the owners and permission bits of the store's folders, and of those on
the way to it. Of a folder with an access control list the group's bits are its mask: what
anybody in the list has at most (``acl(5)``).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path

from commonwheel.access import name_of
from commonwheel.errors import InvalidStore

if sys.platform != "win32":
    import grp
    import pwd

TEAM_FOLDER = 0o3775
"""Permission bits of the folders of a team's store: setgid, sticky, the group's."""
TEAM_FILE = 0o664
"""Permission bits of its lock files, which everybody in the group opens."""
_FOR_ALL = stat.S_IROTH | stat.S_IXOTH
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOR_A_TEAM = stat.S_ISGID | stat.S_ISVTX | stat.S_IWGRP
_FIRST_PERSON = 1000
"""The first number that users get who are no part of the system (``login.defs(5)``)."""
_LIST = "system.posix_acl_access"
"""What the system calls the access control list of a file (``acl(5)``)."""
_MOST_LINKS = 40
"""How many symbolic links a path leads through at most, as in Linux."""
_ANOTHER = "choose another store with --store"

_Way = Mapping[str, os.stat_result]
"""The folders and links that a path leads through, in order."""


class Kind(Enum):
    """Whose a store is."""

    USER = "user"
    TEAM = "team"
    SYSTEM = "system"


@dataclass(frozen=True)
class Custody:
    """What was found out about a store."""

    kind: Kind = Kind.USER
    refusal: str | None = None
    """Why this user must not write to it, even if the system lets them; the way out."""
    unfit: tuple[str, ...] = ()
    """Folders of it that are not as its root says, which this user can :func:`mend`."""

    @property
    def is_shared(self) -> bool:
        """Whether several users write to it."""
        return self.kind is Kind.TEAM

    @property
    def folder_mode(self) -> int:
        """Permission bits of the store's own folders."""
        return TEAM_FOLDER if self.is_shared else 0o755

    @property
    def entry_mode(self) -> int:
        """Permission bits of an entry's own folder, which its owner renames, adds to."""
        return 0o2755 if self.is_shared else 0o755

    @property
    def sealed_mode(self) -> int:
        """Permission bits of the folders in an entry, which nobody changes."""
        return 0o2555 if self.is_shared else 0o555

    def believes(self, file: os.stat_result) -> bool:
        """Whether what a file in the store says is believed.

        In a team's store everybody believes themselves and the superuser; in others
        nobody else could have written it. A second name of a file says nothing of who
        has put it there.
        """
        if not stat.S_ISREG(file.st_mode):
            return False
        if not self.is_shared or sys.platform == "win32":
            return True
        is_private = not file.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return is_private and file.st_uid in (0, os.geteuid()) and file.st_nlink == 1


def examine(root: Path, folders: Iterable[str]) -> Custody:
    """Whose the store at ``root`` is, which has the ``folders``; it need not be there.

    :raises InvalidStore: somebody whose it is not could write to it, or replace it
    """
    if sys.platform == "win32":
        return Custody()  # permission bits say nothing there
    way, end = _way_to(os.path.abspath(root))
    mine = {0, os.geteuid()}
    if end is None:
        # whoever makes it answers for where that is
        return Custody(refusal=_fault_of_way(way, mine, mine))
    status = way.pop(end)
    fault = (
        _fault_of_way(way, mine, mine | {status.st_uid})
        or _fault_of_place(end, status, way, mine)
        or _fault_of_root(end, status)
    )
    if fault is not None:
        raise InvalidStore(root, fault)
    found = _custody_of(status)
    if status.st_mode & _FOR_OTHERS:  # else nobody gets at what is in it
        unfit = _unfit(end, status, folders, found)
        return replace(found, unfit=tuple(unfit))
    return found


def mend(root: Path, custody: Custody) -> None:
    """Make the folders of a store as open as its root says, and no more.

    The superuser also gives those of a team's store to its owner: whose a sticky folder
    is can replace what others have put there.

    :raises OSError: one of them cannot be changed
    """
    for name in custody.unfit:
        # not by its name: somebody could put a link in its place meanwhile
        descriptor = os.open(root / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.geteuid() == 0:
                os.fchown(descriptor, os.stat(root).st_uid, -1)
            os.fchmod(descriptor, custody.folder_mode)
        finally:
            os.close(descriptor)


def _custody_of(root: os.stat_result) -> Custody:
    """What a store is that nobody can write to who should not."""
    if _is_for_a_team(root):
        return Custody(Kind.TEAM)
    is_open = root.st_mode & _FOR_ALL == _FOR_ALL
    kind = Kind.SYSTEM if root.st_uid == 0 and is_open else Kind.USER
    if root.st_uid == os.geteuid():
        return Custody(kind)
    # the superuser could, and would leave there what its owner cannot remove
    owner = name_of(root.st_uid)
    return Custody(kind, f"it belongs to {owner}; run this as {owner}, or {_ANOTHER}")


def _unfit(
    root: str, status: os.stat_result, folders: Iterable[str], custody: Custody
) -> Iterator[str]:
    """The folders of a store that are more open than its root, and can be mended.

    :raises InvalidStore: one of them is, and cannot be
    """
    me = os.geteuid()
    trusted = {0, me, status.st_uid}
    for name in folders:
        path = os.path.join(root, name)
        try:
            found = os.lstat(path)
        except OSError:
            continue  # it is not there yet
        is_link = stat.S_ISLNK(found.st_mode)
        is_strange = found.st_uid not in trusted and not _is_unknown(found.st_uid, path)
        # in a team's store, who was there first has made them
        if is_strange and (is_link or not custody.is_shared):
            reason = f"{path} belongs to {name_of(found.st_uid)}; {_ANOTHER}"
            raise InvalidStore(Path(root), reason)
        if is_link:
            continue  # those who may make one choose where it leads
        can_mend = custody.refusal is None and me in (0, found.st_uid)
        fault = _fault_of_folder(path, found, status, custody)
        if fault is not None and not (can_mend and not found.st_mode & stat.S_IWOTH):
            raise InvalidStore(Path(root), fault)
        is_whose = found.st_uid == status.st_uid or me != 0 or not custody.is_shared
        if fault is not None or not is_whose:
            yield name


def _fault_of_folder(
    path: str, found: os.stat_result, root: os.stat_result, custody: Custody
) -> str | None:
    """Why somebody could write to one of a store's folders who should not."""
    writers = _writers(path, found, {root.st_uid})
    is_for_all = found.st_mode & stat.S_IWOTH
    if not writers or _is_read_only(path):
        return None
    if custody.is_shared and found.st_mode & stat.S_ISVTX and not is_for_all:
        return None
    mode = "3775" if custody.is_shared else _without(found)
    return f"{writers} may write to {path}; chmod {mode} {path}, or {_ANOTHER}"


def _fault_of_way(
    way: _Way, mine: Collection[int], trusted: Collection[int]
) -> str | None:
    """Why somebody could put something else where a path leads.

    ``trusted`` are those through whose folders it may lead.
    """
    for path, status in way.items():
        fault = _fault_of_place(path, status, way, mine)
        if fault is not None:
            return fault
        if stat.S_ISLNK(status.st_mode):
            continue  # only who may write to the folder that it is in can change it
        if status.st_uid not in trusted and not _is_unknown(status.st_uid, path):
            owner = name_of(status.st_uid)
            reason = f"{path} belongs to {owner}, who could replace what is in it"
            return f"{reason}; {_ANOTHER}"
        writers = _writers(path, status, trusted)
        if writers and not status.st_mode & stat.S_ISVTX and not _is_read_only(path):
            return (
                f"{writers} may write to {path}, and replace what is in it;"
                f" chmod {_without(status)} {path}, or {_ANOTHER}"
            )
    return None


def _fault_of_place(
    path: str, status: os.stat_result, way: _Way, mine: Collection[int]
) -> str | None:
    """Why what is at ``path`` may be there for others to fall for."""
    folder = os.path.dirname(path)
    around = way.get(folder)
    if around is None or path == folder or not around.st_mode & stat.S_IWOTH:
        return None
    if status.st_uid in mine or _is_unknown(status.st_uid, path):
        return None
    return (
        f"{path} belongs to {name_of(status.st_uid)},"
        f" as anybody can make one in {folder}; {_ANOTHER}"
    )


def _fault_of_root(path: str, root: os.stat_result) -> str | None:
    """Why somebody could write to a store's own folder who should not."""
    writers = _writers(path, root, {root.st_uid})
    if not writers or _is_read_only(path):
        return None
    if root.st_mode & stat.S_IWOTH:
        return f"{writers} may write to it; chmod o-w {path}, or {_ANOTHER}"
    if _is_for_a_team(root):
        return None
    return (
        f"{writers} may write to it, and each of them replace what is another's;"
        f" chmod 3775 {path}, or chmod g-w {path}, or {_ANOTHER}"
    )


def _way_to(path: str) -> tuple[dict[str, os.stat_result], str | None]:
    """What an absolute path leads through, and the folder at its end, if there is one.

    Links are followed here, one by one: whoever can change one decides where it ends.
    """
    at = os.sep
    way = {at: os.lstat(at)}
    names = path.split(os.sep)[::-1]
    links = 0
    while names:
        name = names.pop()
        if name == os.pardir:
            at = os.path.dirname(at)
        if name in ("", os.curdir, os.pardir):
            continue
        there = os.path.join(at, name)
        try:
            way[there] = status = os.lstat(there)
            target = os.readlink(there) if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            return way, None
        if target is None:
            at = there
            continue
        links += 1
        if links > _MOST_LINKS:
            return way, None
        at = os.sep if os.path.isabs(target) else at
        names.extend(target.split(os.sep)[::-1])
    return way, at if stat.S_ISDIR(way[at].st_mode) else None


def _is_for_a_team(root: os.stat_result) -> bool:
    """Whether a folder is one for a group to write to, each for themselves."""
    return root.st_mode & _FOR_A_TEAM == _FOR_A_TEAM and not root.st_mode & stat.S_IWOTH


def _writers(path: str, folder: os.stat_result, users: Iterable[int]) -> str:
    """Who may write to a folder beside its owner, for a person; nobody: "".

    The private group of one of ``users`` is nobody else; of a folder with an access
    control list, the group's bit does not say whom it is for.
    """
    if folder.st_mode & stat.S_IWOTH:
        return "everybody"
    if not folder.st_mode & stat.S_IWGRP:
        return ""
    group, mine = folder.st_gid, {*users, folder.st_uid}
    if _has_list(path):
        return "those in its access control list"
    if any(_is_private(group, user) for user in mine) and _logged_into(group) <= mine:
        return ""
    return f"the group {_group(group)}"


def _has_list(path: str) -> bool:
    """Whether others than a folder's owner and group are listed with their rights."""
    if sys.platform != "linux":
        return False  # untested
    try:
        return bool(os.getxattr(path, _LIST))
    except OSError:
        return False  # there is none, or the filesystem knows none


@cache
def _is_private(group: int, user: int) -> bool:
    """Whether ``user`` alone is listed in a group, as in those that come with a user."""
    try:
        name = pwd.getpwuid(user)
        found = grp.getgrgid(group)
    except KeyError:
        return False
    is_own = name.pw_gid == group and found.gr_name == name.pw_name
    return is_own and set(found.gr_mem) <= {name.pw_name}


@cache
def _logged_into(group: int) -> frozenset[int]:
    """The users whose first group this is: the group's own list lacks them.

    As far as they can be listed: some directory services tell only of those that they
    are asked for by name (``enumerate`` in ``sssd.conf(5)``). The superuser's group is
    also given to accounts of the system's own, such as ``halt``, that nobody has.
    """
    users = (each.pw_uid for each in pwd.getpwall() if each.pw_gid == group)
    return frozenset(user for user in users if group != 0 or user >= _FIRST_PERSON)


def _is_unknown(user: int, path: str) -> bool:
    """Whether an owner cannot be told, or does not matter."""
    return _is_unmapped(user) or _is_read_only(path)


@cache
def _is_unmapped(user: int) -> bool:
    """Whether a number stands for all users that this container does not know.

    The superuser outside is one of them (``user_namespaces(7)``).
    """
    try:
        number = Path("/proc/sys/kernel/overflowuid").read_text("ascii")
        known = Path("/proc/self/uid_map").read_text("ascii").split()
    except OSError:
        return False  # there are no such containers
    return user == int(number) and known != ["0", "0", "4294967295"]


def _is_read_only(path: str) -> bool:
    """Whether nobody can write to a folder, because of the filesystem that it is on."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _without(folder: os.stat_result) -> str:
    """What ``chmod`` is told so that nobody but its owner writes to a folder."""
    return "go-w" if folder.st_mode & stat.S_IWOTH else "g-w"


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
