"""Whose a store is: what is refused, and what is not refused without need."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commonwheel import custody
from commonwheel.custody import Kind
from commonwheel.errors import InvalidStore
from commonwheel.files import remove_tree
from commonwheel.store import Store
from wheel_file import write_wheel

ME = os.geteuid()
OTHERS = 23456
"""The number of a group that is nobody's private one, and of a user who is nobody."""

needs_root = pytest.mark.skipif(ME != 0, reason="only the superuser makes others' files")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder with a store that has one entry; what it is in is open to be looked at."""
    folder = tmp_path / "srv"
    folder.mkdir()
    write_wheel(tmp_path / "wheels", {"m.py": "x = 1\n"})
    yield folder
    if folder.exists():
        remove_tree(folder)


def filled(root: Path, mode: int, group: int = -1) -> Store:
    root.mkdir(parents=True)
    os.chown(root, -1, group)
    root.chmod(mode)
    store = Store(root)
    wheels = next(each for each in root.parents if (each / "wheels").exists()) / "wheels"
    store.add(next(wheels.iterdir()), None)
    return store


def refusal(root: Path) -> str:
    with pytest.raises(InvalidStore) as caught:
        Store(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class TestKinds:
    def test_a_new_one_is_the_users_own(self, place: Path) -> None:
        for umask in (0o000, 0o002, 0o077):
            root = place / f"{umask}/below/store"
            before = os.umask(umask)
            try:
                (wheel,) = (place.parent / "wheels").iterdir()
                entry = Store(root).add(wheel, None)
            finally:
                os.umask(before)
            assert Store(root).custody == custody.Custody(Kind.USER)
            assert mode_of(root) == 0o700
            assert not mode_of(root.parent) & 0o022
            assert_sealed(entry.root, 0o755, 0o555)

    @needs_root
    def test_of_a_team(self, place: Path) -> None:
        store = filled(place / "store", 0o3775, OTHERS)
        assert Store(store.root).custody.kind is Kind.TEAM
        (entry,) = (store.root / "entries").iterdir()
        assert_sealed(entry, 0o2755, 0o2555)
        assert {path.lstat().st_gid for path in entry.rglob("*")} == {OTHERS}

    @needs_root
    def test_of_the_system(self, place: Path) -> None:
        store = filled(place / "store", 0o755)
        assert Store(store.root).custody.kind is Kind.SYSTEM


def assert_sealed(entry: Path, own: int, folder: int) -> None:
    """Only ``entry`` and its ``bytecode`` can be written, and by nobody but its owner."""
    for path in entry.rglob("*"):
        expected = own if path.name == "bytecode" else folder
        assert mode_of(path) == (expected if path.is_dir() else 0o444), path
    assert mode_of(entry) == own


def test_in_a_team_a_file_with_a_second_name_is_not_believed(tmp_path: Path) -> None:
    """Anybody in the team can give one to what somebody else has written elsewhere."""
    note = tmp_path / "sizes"
    note.touch(mode=0o644)
    kinds = [custody.Custody(kind) for kind in (Kind.TEAM, Kind.USER)]
    assert [each.believes(note.lstat()) for each in kinds] == [True, True]
    os.link(note, tmp_path / "wheels")
    assert [each.believes(note.lstat()) for each in kinds] == [False, True]


@needs_root
class TestRefused:
    """Each names the folder, the reason and a way out."""

    @pytest.mark.parametrize("mode", [0o757, 0o777, 0o1777, 0o3777])
    def test_a_root_that_everybody_may_write_to(self, place: Path, mode: int) -> None:
        root = filled(place / "store", 0o755).root
        root.chmod(mode)
        said = refusal(root)
        assert said.startswith(f"the store {root} cannot be used: everybody may write")
        assert f"chmod o-w {root}" in said

    @pytest.mark.parametrize("mode", [0o775, 0o770, 0o2775, 0o1775])
    def test_a_group_without_the_sticky_bit(self, place: Path, mode: int) -> None:
        root = filled(place / "store", 0o755).root
        os.chown(root, -1, OTHERS)
        root.chmod(mode)
        said = refusal(root)
        assert f"the group {OTHERS} may write to it" in said
        assert f"chmod 3775 {root}" in said
        root.chmod(0o3775)
        Store(root)

    @pytest.mark.parametrize("name", ["entries", "environments", "tmp", "locks"])
    def test_a_folder_of_it(self, place: Path, name: str) -> None:
        root = filled(place / "store", 0o755).root
        (root / name).chmod(0o777)
        assert f"everybody may write to {root / name}; chmod go-w" in refusal(root)
        root.chmod(0o700)  # nobody gets so far
        Store(root)

    @pytest.mark.parametrize("mode", [0o777, 0o775, 0o2775])
    def test_what_it_is_in(self, place: Path, mode: int) -> None:
        root = filled(place / "a/b/store", 0o700).root
        folder = place / "a"
        os.chown(folder, -1, OTHERS)
        folder.chmod(mode)
        said = refusal(root)
        assert f"may write to {folder}, and replace what is in it" in said
        folder.chmod(mode | stat.S_ISVTX)
        Store(root)

    def test_what_a_link_leads_through(self, place: Path) -> None:
        root = filled(place / "open/store", 0o700).root
        (place / "open").chmod(0o777)
        (place / "first").symlink_to("second")
        (place / "second").symlink_to(place / "open")
        assert f"may write to {place / 'open'}" in refusal(place / "first/store")
        (place / "open").chmod(0o755)
        Store(place / "first/store")
        (place / "common").mkdir()
        (place / "common").chmod(0o1777)
        link = place / "common/link"
        link.symlink_to(root)
        Store(link)
        os.chown(link, OTHERS, OTHERS, follow_symlinks=False)
        assert f"{link} belongs to user {OTHERS}" in refusal(link)

    def test_what_somebody_else_owns(self, place: Path) -> None:
        root = filled(place / "a/store", 0o755).root
        os.chown(place / "a", OTHERS, OTHERS)
        assert f"{place / 'a'} belongs to user {OTHERS}" in refusal(root)
        os.chown(root, OTHERS, OTHERS)  # both are theirs: that is their store
        assert Store(root).custody.refusal is not None

    def test_what_anybody_could_have_made(self, place: Path) -> None:
        (place / "common").mkdir()
        (place / "common").chmod(0o1777)
        root = place / "common/store"
        root.mkdir()
        os.chown(root, OTHERS, OTHERS)
        assert f"{root} belongs to user {OTHERS}, as anybody can make" in refusal(root)


class TestNotRefused:
    @needs_root
    def test_the_private_group_of_a_user(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = filled(place / "a/store", 0o755).root
        for folder in (place / "a", root):
            os.chown(folder, -1, OTHERS)
            folder.chmod(0o775)
        assert "the group" in refusal(root)
        monkeypatch.setattr(custody, "_is_private", lambda group, user: user == ME)
        Store(root)

    def test_a_group_is_private_only_without_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import grp
        import pwd

        members: list[str] = []
        user = pwd.struct_passwd(("me", "x", 7, 7, "", "/", ""))
        monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
        monkeypatch.setattr(
            grp, "getgrgid", lambda n: grp.struct_group(("me", "x", n, members))
        )
        is_private: Callable[..., bool] = custody._is_private.__wrapped__
        assert is_private(7, 7)
        assert not is_private(8, 7)
        members.append("me")
        assert is_private(7, 7)
        members.append("you")
        assert not is_private(7, 7)

    def test_a_group_that_others_are_logged_into_is_not_private(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its list of members has only those who were added: ``useradd -g me you``."""
        import grp
        import pwd

        def user(name: str, number: int, group: int) -> pwd.struct_passwd:
            return pwd.struct_passwd((name, "x", number, group, "", "/", ""))

        known = {7: user("me", 7, 7), 0: user("root", 0, 0)}
        names = {7: "me", 0: "root"}
        monkeypatch.setattr(pwd, "getpwuid", lambda number: known[number])
        monkeypatch.setattr(pwd, "getpwall", lambda: list(known.values()))
        monkeypatch.setattr(
            grp, "getgrgid", lambda n: grp.struct_group((names[n], "x", n, []))
        )

        def writers(owner: int) -> str:
            status = (0o40775, 1, 1, 2, owner, owner, 0, 0, 0, 0)
            for each in (custody._is_private, custody._logged_into):
                each.cache_clear()
            return custody._writers(os.devnull, os.stat_result(status), {owner})

        try:
            assert writers(7) == writers(0) == ""
            known[8] = user("me-again", 8, 8)
            known[6] = user("halt", 6, 0)  # as Fedora and Alpine have it
            assert writers(7) == writers(0) == ""
            known[1008] = user("you", 1008, 7)
            assert writers(7) == "the group me"
            known[1008] = user("you", 1008, 0)
            assert writers(0) == "the group root"
        finally:
            monkeypatch.undo()
            writers(ME)

    def test_what_is_read_only(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = filled(place / "store", 0o755).root
        (root / "entries").chmod(0o777)
        place.chmod(0o777)
        refusal(root)
        monkeypatch.setattr(custody, "_is_read_only", lambda _: True)
        Store(root)

    @needs_root
    def test_where_owners_are_unknown(self, place: Path) -> None:
        code = (
            "import os, sys; from pathlib import Path; "
            "from commonwheel.store import Store; "
            "root, wheel = map(Path, sys.argv[1:]); "
            "assert os.stat(root.parents[1]).st_uid not in (0, os.geteuid()); "
            "Store(root).add(wheel, None)"
        )
        (wheel,) = (place.parent / "wheels").iterdir()
        (place / "mine").mkdir()
        os.chown(place, OTHERS, OTHERS)
        store = place / "mine/store"
        with pytest.raises(InvalidStore, match=f"{place} belongs to user {OTHERS}"):
            Store(store).add(wheel, None)
        # in there, whose number is not mapped is nobody: the superuser could be it
        into = ("unshare", "--user", "--map-user=1000")
        done = subprocess.run(
            [*into, sys.executable, "-c", code, store, wheel],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert (store / "format").exists()


@needs_root
class TestStoresOfOthers:
    """The superuser could write to them, and must not."""

    @pytest.fixture
    def root(self, place: Path) -> Path:
        store = filled(place / "store", 0o755)
        for path in (store.root, *store.root.rglob("*")):
            os.chown(path, OTHERS, OTHERS, follow_symlinks=False)
        return store.root

    def test_they_are_read(self, root: Path, place: Path) -> None:
        (wheel,) = (place.parent / "wheels").iterdir()
        before = {path: path.lstat() for path in root.rglob("*")}
        entry = Store(root).add(wheel, None, url="https://host/x.whl", remember=True)
        assert entry.root.parent.parent == root
        assert {path: path.lstat() for path in root.rglob("*")} == before

    def test_alone_they_take_nothing(self, root: Path, place: Path) -> None:
        other = write_wheel(place.parent / "more", {"n.py": ""}, "other")
        before = sorted(root.rglob("*"))
        with pytest.raises(InvalidStore) as caught:
            Store(root).add(other, None)
        assert f"belongs to user {OTHERS}; run this as user {OTHERS}" in str(caught.value)
        assert "--store" in str(caught.value)
        assert sorted(root.rglob("*")) == before

    def test_in_a_chain_the_next_one_is_written(self, root: Path, place: Path) -> None:
        other = write_wheel(place.parent / "more", {"n.py": ""}, "other")
        before = sorted(root.rglob("*"))
        chain = Store(root, place / "mine")
        assert chain.root == place / "mine"
        assert chain.add(other, None).root.parent.parent == place / "mine"
        assert sorted(root.rglob("*")) == before

    def test_none_is_made_in_a_place_of_theirs(self, place: Path) -> None:
        (wheel,) = (place.parent / "wheels").iterdir()
        os.chown(place, OTHERS, OTHERS)
        root = place / "below/store"
        assert Store(root, place.parent / "mine").root == place.parent / "mine"
        with pytest.raises(InvalidStore, match=f"{place} belongs to user {OTHERS}"):
            Store(root).add(wheel, None)
        assert not root.parent.exists()


@needs_root
def test_the_owners_next_write_mends_the_folders_of_a_team(place: Path) -> None:
    root = filled(place / "store", 0o3775, OTHERS).root
    (root / "entries").chmod(0o2775)
    (root / "tmp").chmod(0o2775)
    os.chown(root / "tmp", OTHERS, -1)
    other = write_wheel(place.parent / "more", {"n.py": ""}, "other")
    Store(root).add(other, None)
    for name in ("entries", "tmp"):
        assert mode_of(root / name) == 0o3775
        assert (root / name).stat().st_uid == 0


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access control list as the system keeps it: tag, permissions, number of each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


@needs_root
class TestAccessControlLists:
    @pytest.fixture
    def default(self, place: Path) -> bytes:
        """Somebody may write to whatever is made in a folder."""
        nobody = 0xFFFFFFFF
        listed = acl(
            *((0x01, 7, nobody), (0x02, 7, OTHERS), (0x04, 7, nobody)),
            *((0x10, 7, nobody), (0x20, 7, nobody)),
        )
        os.setxattr(place, "system.posix_acl_default", listed)
        return listed

    @pytest.mark.usefixtures("default")
    def test_the_defaults_of_a_folder_do_not_open_what_is_made_in_it(
        self, place: Path
    ) -> None:
        (wheel,) = (place.parent / "wheels").iterdir()
        entry = Store(place / "new/store").add(wheel, None)
        for path in (place / "new", place / "new/store"):
            assert not mode_of(path) & 0o022
        assert mode_of(place / "new/store") == 0o700
        assert_sealed(entry.root, 0o755, 0o555)

    @pytest.mark.parametrize("group", [OTHERS, 0])
    def test_a_list_of_others_may_write_whosever_the_group_is(
        self, place: Path, group: int
    ) -> None:
        root = filled(place / "store", 0o755).root
        nobody = 0xFFFFFFFF
        listed = acl(
            *((0x01, 7, nobody), (0x02, 7, OTHERS), (0x04, 5, nobody)),
            *((0x10, 7, nobody), (0x20, 5, nobody)),
        )
        os.chown(root, -1, group)
        os.setxattr(root, "system.posix_acl_access", listed)
        assert mode_of(root) == 0o775
        said = refusal(root)
        assert "those in its access control list may write to it" in said
        root.chmod(0o755)  # the way out that the message names: it changes the mask
        assert f"chmod g-w {root}" in said
        Store(root)
