"""Collecting garbage: what an environment links never goes, what nobody uses does."""

from __future__ import annotations

import errno
import itertools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from commonwheel import files, filesystem
from commonwheel.environment import Environment
from commonwheel.errors import (
    InvalidRegistry,
    InvalidSetting,
    InvalidStore,
    NothingRegistered,
    StoreBusy,
)
from commonwheel.frontends.cli import main
from commonwheel.frontends.verbs import gc as gc_verb
from commonwheel.link_mode import LinkMode
from commonwheel.maintenance.gc import Collected, Rules, collect, preview
from commonwheel.store import Store
from conftest import make_environment
from faults import fault, killed
from occupants import DAY, HOUR, is_whole, link, linked, pass_time, put, state, unlink

NOW = Rules(grace=0)
ELSEWHERE = "elsewhere"
"""The name of a filesystem that is not this one."""


def freed(done: Collected) -> list[str]:
    return [each.name for each in done.plan.free]


@pytest.fixture
def other(tmp_path: Path) -> Environment:
    return make_environment(tmp_path / "other")


class TestRemovedEnvironments:
    def test_what_one_alone_held_goes_after_the_grace(
        self, store: Store, environment: Environment, other: Environment
    ) -> None:
        common, _ = link(store, environment, "common", "stays")
        _, lonely = link(store, other, "common", "lonely")
        shutil.rmtree(other.scheme.data)
        first = collect(store, Rules())
        (kept,) = first.plan.kept
        assert freed(first) == []
        assert kept.entry.name == lonely
        assert kept.entry.last == (other.scheme.data,)
        assert kept.until == pytest.approx(first.plan.now + HOUR)
        assert freed(collect(store, Rules())) == []
        pass_time(store, HOUR)
        assert freed(collect(store, Rules())) == [lonely]
        assert not store.folder_of(lonely).exists()
        assert store.disposal.trash() == []
        assert store.disposal.unused() == {}
        assert len(list(store.registry.roots())) == 1
        assert is_whole(store, common)

    def test_no_grace_is_one_run(self, store: Store, environment: Environment) -> None:
        link(store, environment, "one", "two")
        shutil.rmtree(environment.scheme.data)
        assert len(freed(collect(store, NOW))) == 2
        assert store.identifiers() == []
        assert list(store.registry.roots()) == []

    def test_one_that_comes_back_has_lost_nothing(
        self, store: Store, environment: Environment, tmp_path: Path
    ) -> None:
        (one,) = link(store, environment, "one")
        environment.scheme.data.rename(tmp_path / "away")
        collect(store, Rules())
        (tmp_path / "away").rename(environment.scheme.data)
        pass_time(store, 2 * HOUR)
        collect(store, Rules())
        assert is_whole(store, one)
        # and its clock is not running any more
        shutil.rmtree(environment.scheme.data)
        assert freed(collect(store, Rules())) == []

    def test_what_is_linked_again_is_used_again(
        self, store: Store, environment: Environment, other: Environment
    ) -> None:
        (one,) = link(store, environment, "one")
        shutil.rmtree(environment.scheme.data)
        collect(store, Rules())
        link(store, other, "one")
        pass_time(store, 2 * HOUR)
        assert freed(collect(store, Rules())) == []
        assert is_whole(store, one)

    def test_one_that_was_made_anew_holds_nothing(
        self, store: Store, environment: Environment, other: Environment
    ) -> None:
        link(store, environment, "one")
        link(store, other, "two")
        shutil.rmtree(environment.scheme.data)
        make_environment(environment.scheme.data)
        assert freed(collect(store, NOW)) == ["one-1.0-00000000"]
        (root,) = store.registry.roots()
        assert root.environment == other.scheme.data


class TestEnvironmentsThatAreThere:
    @pytest.mark.parametrize("mode", [LinkMode.MANIFEST, LinkMode.HARDLINK])
    def test_what_they_hold_stays_and_what_they_held_goes(
        self, store: Store, environment: Environment, mode: LinkMode
    ) -> None:
        one, two = link(store, environment, "one", "two", mode=mode)
        unlink(environment, "two")
        assert freed(collect(store, NOW)) == [two]
        assert is_whole(store, one)

    def test_one_that_cannot_be_read_keeps_what_it_held(
        self, store: Store, environment: Environment
    ) -> None:
        one, two = link(store, environment, "one", "two")
        path = environment.sites[0] / "_commonwheel/links/one.link"
        path.write_text("commonwheel: 2\n")
        done = collect(store, Rules(grace=0, older_than=0))
        (unread,) = done.plan.out_of_sight
        assert "one.link" in unread.sight.reason
        assert is_whole(store, one)
        assert is_whole(store, two)

    def test_a_moved_one_is_found_by_what_it_has_said(
        self, store: Store, environment: Environment, tmp_path: Path
    ) -> None:
        (one,) = link(store, environment, "one")
        environment.scheme.data.rename(tmp_path / "moved")
        site = tmp_path / "moved/lib/site-packages"
        note = store.root / "environments/moved-0123"
        note.write_bytes(os.fsencode(site) + b"\n")
        for _ in range(3):
            assert freed(collect(store, NOW)) == []
        (root,) = store.registry.roots()
        assert (root.sites, root.record.suffix) == ((site,), ".json")
        shutil.rmtree(tmp_path / "moved")
        assert freed(collect(store, NOW)) == [one]

    def test_one_that_said_so_and_went_is_gone(
        self, store: Store, environment: Environment, tmp_path: Path
    ) -> None:
        link(store, environment, "one")
        note = store.root / "environments/moved-0123"
        note.write_bytes(os.fsencode(tmp_path / "nothing") + b"\n")
        collect(store, Rules())  # leaves a note beside
        collect(store, Rules())
        pass_time(store, 2 * HOUR)
        collect(store, Rules())
        assert len(os.listdir(store.root / "environments")) == 2

    def test_another_path_to_the_store_or_the_environment_is_the_same(
        self, tmp_path: Path, store: Store, environment: Environment
    ) -> None:
        store.root.parent.joinpath("link").symlink_to(tmp_path)
        put(store, "any")  # so that there is something to lead to
        again = Store(tmp_path / "link/store")
        (one,) = link(again, environment, "one")
        same = make_environment(tmp_path / "link/another")
        link(again, same, "two")
        shutil.rmtree(store.folder_of("any-1.0-00000000"))
        for each in (store, again, store):
            assert freed(collect(each, NOW)) == []
        assert is_whole(store, one)
        assert len(list(store.registry.roots())) == 2


class TestOutOfReach:
    @pytest.fixture
    def lost(
        self, store: Store, environment: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> str:
        """What an environment holds whose disk is not mounted."""
        (one,) = link(store, environment, "one")
        (record,) = (store.root / "environments").glob("*.json")
        fields = json.loads(record.read_text())
        record.write_text(json.dumps(fields | {"filesystem": ELSEWHERE}))
        shutil.rmtree(environment.scheme.data)
        return one

    def test_it_counts_for_thirty_days(self, store: Store, lost: str) -> None:
        done = collect(store, NOW)
        (away,) = done.plan.out_of_sight
        assert done.plan.kept_until(away) == pytest.approx(done.plan.now + 30 * DAY)
        pass_time(store, 29 * DAY)
        assert freed(collect(store, NOW)) == []
        pass_time(store, 2 * DAY)
        assert freed(collect(store, NOW)) == [lost]

    def test_unless_it_is_to_be_forgotten(
        self, store: Store, lost: str, environment: Environment
    ) -> None:
        rules = Rules(grace=0, forget=(environment.scheme.data,))
        assert freed(collect(store, rules)) == [lost]

    def test_what_is_there_is_not_forgotten(
        self, store: Store, environment: Environment, tmp_path: Path
    ) -> None:
        link(store, environment, "one")
        before = state(store.root / "entries")
        with pytest.raises(InvalidSetting, match="is there"):
            collect(store, Rules(grace=0, forget=(environment.scheme.data,)))
        with pytest.raises(InvalidSetting, match="no environment is registered"):
            collect(store, Rules(grace=0, forget=(tmp_path / "nothing",)))
        assert state(store.root / "entries") == before


class TestNotKnown:
    @pytest.mark.parametrize("name", ["x.json", "moved-x"])
    def test_a_damaged_record_stops_everything(
        self, store: Store, environment: Environment, name: str
    ) -> None:
        link(store, environment, "one")
        shutil.rmtree(environment.scheme.data)
        (store.root / "environments" / name).write_text("{")
        before = state(store.root / "entries"), state(store.root / "unused")
        with pytest.raises(InvalidRegistry, match=name):
            collect(store, NOW)
        assert (state(store.root / "entries"), state(store.root / "unused")) == before

    @pytest.mark.parametrize("damage", ["folder", "zeros"])
    def test_and_so_does_a_damaged_note_of_what_is_out_of_sight(
        self, store: Store, environment: Environment, damage: str
    ) -> None:
        (one,) = link(store, environment, "one")
        shutil.rmtree(environment.scheme.data)
        (note,) = (store.root / "environments").glob("*.entries")
        if damage == "folder":
            note.unlink()
            note.mkdir()
        else:
            note.write_bytes(bytes(10))
        with pytest.raises(InvalidRegistry, match="entries"):
            collect(store, NOW)
        assert is_whole(store, one)

    def test_a_store_that_nobody_is_registered_in_is_left_alone(
        self, store: Store
    ) -> None:
        with store.alone(0):
            one = put(store, "one")
        with pytest.raises(NothingRegistered, match="--all"):
            collect(store, NOW)
        with pytest.raises(NothingRegistered):
            preview(store, NOW)
        assert is_whole(store, one)
        assert freed(collect(store, Rules(everything=True))) == []
        # it is known to be unused now
        assert freed(collect(store, NOW)) == [one]

    def test_nothing_is_asked_of_an_empty_store(self, store: Store) -> None:
        assert freed(collect(store, NOW)) == []


class TestLimits:
    @pytest.fixture
    def aged(self, store: Store, environment: Environment) -> list[str]:
        """Entries of 1,000 bytes, unused for 40, 20 and 0 days; another one is used."""
        names = []
        for name in ("old", "middle", "new"):
            with store.in_use():
                put(store, name, "x" * 1000)
            names += link(store, environment, name)
            unlink(environment, name)
            link(store, environment, "used")
            collect(store, Rules(grace=100 * DAY))
            pass_time(store, 20 * DAY if name != "new" else 0)
        return names

    @pytest.mark.parametrize(
        ("rules", "expected"),
        [
            (Rules(), 2),
            (Rules(grace=0), 3),
            (Rules(older_than=30 * DAY), 1),
            (Rules(older_than=30 * DAY, max_size=10_000), 1),
            (Rules(max_size=10_000), 0),
            (Rules(max_size=2100), 1),
            (Rules(max_size=1100), 2),
            (Rules(max_size=0), 2),
            (Rules(max_size=0, grace=0), 3),
            (Rules(older_than=10 * DAY, max_size=2100), 2),
            (Rules(older_than=30 * DAY, max_size=1100), 2),
            (Rules(older_than=0), 2),
        ],
    )
    def test_what_goes_first(
        self, store: Store, aged: list[str], rules: Rules, expected: int
    ) -> None:
        planned = [each.name for each in preview(store, rules).free]
        assert freed(collect(store, rules)) == planned == aged[:expected]
        assert is_whole(store, "used-1.0-00000000")

    def test_environments_of_programs_go_when_they_are_not_used(
        self, store: Store, tmp_path: Path
    ) -> None:
        held = {}
        for key in ("long", "short"):
            environment = make_environment(store.runs / key)
            (held[key],) = link(store, environment, key)
            (store.runs / key / "used").touch()
        os.utime(store.runs / "long/used", (0, 0))
        done = collect(store, Rules(grace=0, older_than=60 * DAY))
        assert done.plan.runs == (store.runs / "long",)
        assert os.listdir(store.runs) == ["short"]
        collect(store, NOW)
        assert store.identifiers() == [held["short"]]
        pass_time(store, 3 * DAY)
        assert collect(store, NOW).plan.runs == ()
        assert len(collect(store, Rules(older_than=2 * DAY)).plan.runs) == 1

    def test_one_that_is_being_made_stays_for_a_day(self, store: Store) -> None:
        link(store, make_environment(store.runs / "new"), "one")
        assert collect(store, Rules(grace=0, older_than=0)).plan.runs == ()
        os.utime(store.runs / "new", (0, 0))
        assert len(collect(store, Rules(grace=0, older_than=0)).plan.runs) == 1


class TestHowItIsDone:
    def test_a_preview_changes_nothing(
        self, store: Store, environment: Environment, other: Environment
    ) -> None:
        link(store, environment, "one")
        link(store, other, "two")
        make_environment(store.runs / "old")
        shutil.rmtree(other.scheme.data)
        before = state(store.root)
        assert [each.name for each in preview(store, NOW).free] == ["two-1.0-00000000"]
        assert state(store.root) == before

    def test_no_link_is_followed_out_of_the_store(
        self, store: Store, environment: Environment, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir(mode=0o555)
        outside.chmod(0o755)
        (outside / "precious").write_text("x")
        outside.chmod(0o555)
        (one,) = link(store, environment, "one")
        tree = store.folder_of(one) / "tree"
        tree.chmod(0o755)
        (tree / "folder").symlink_to(outside)
        (tree / "file").symlink_to(outside / "precious")
        store.folder_of("two-1.0-00000000").symlink_to(outside)
        (store.root / "trash/left").symlink_to(outside)
        (store.root / "tmp/aa-left").symlink_to(outside)
        os.utime(store.root / "tmp/aa-left", (0, 0), follow_symlinks=False)
        before = state(outside), outside.stat().st_mode
        shutil.rmtree(environment.scheme.data)
        assert len(freed(collect(store, NOW))) == 2
        assert (state(outside), outside.stat().st_mode) == before
        assert os.listdir(store.root / "trash") == os.listdir(store.root / "tmp") == []

    def test_what_killed_processes_left_goes_unless_somebody_is_at_it(
        self, store: Store
    ) -> None:
        with store.alone(0):
            for name in ("aa-old", "bb-locked", "cc-new"):
                (store.root / "tmp" / name / "entry").mkdir(parents=True)
        pass_time(store, 2 * DAY)
        (store.root / "tmp/cc-new/another").touch()
        (store.root / "trash/of-an-earlier-run/tree").mkdir(parents=True)
        kept = store.root / "runtime/kept"
        act = partial(files.write_atomically, kept, b"", 0o644)
        assert all(killed(kept.parent, number, act) for number in range(3))
        unfinished = [*kept.parent.iterdir(), store.root / "environments/.moved-ab.12"]
        unfinished[-1].touch()
        assert len(unfinished) == 3
        of_others = [
            store.root / name
            for name in (".nobackup", ".git.settings", "environments/.keep")
        ]
        for path in of_others:
            path.touch()
            os.utime(path, (0, 0))
        with FileLock(store.root / "locks/bb.lock"):
            collect(store, Rules(everything=True))
            assert sorted(os.listdir(store.root / "tmp")) == ["bb-locked", "cc-new"]
            assert all(path.exists() for path in unfinished)
            collect(store, NOW)
        assert os.listdir(store.root / "tmp") == ["bb-locked"]
        assert not any(path.exists() for path in unfinished)
        assert all(path.exists() for path in of_others)
        assert os.listdir(store.root / "trash") == []

    def test_whoever_uses_the_store_is_waited_for_and_named(
        self, store: Store, environment: Environment
    ) -> None:
        link(store, environment, "one")
        another = Store(store.root)
        with another.in_use():
            assert preview(store, NOW).free == ()
            with pytest.raises(StoreBusy, match=rf"process {os.getpid()}"):
                collect(store, NOW, patience=0.1)

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
    def test_wherever_it_ends_what_is_linked_is_whole_and_the_next_goes_on(
        self, tmp_path: Path, error: BaseException
    ) -> None:
        for number in itertools.count():
            root = tmp_path / str(number)
            store = Store(root / "store")
            here, gone = (make_environment(root / name) for name in ("here", "gone"))
            held = link(store, here, "one", "common")
            link(store, gone, "two", "three", "common")
            shutil.rmtree(gone.scheme.data)
            with fault(store.root, number, error) as planned:
                try:
                    collect(store, NOW)
                except (InvalidStore, KeyboardInterrupt):
                    pass
            assert all(is_whole(store, each) for each in held)
            left = store.identifiers()
            assert all(is_whole(store, each) for each in left)
            # as long as something is left it is known who held it
            assert len(list(store.registry.roots())) == 2 or left == sorted(held)
            collect(store, NOW)
            assert store.identifiers() == sorted(held)
            assert store.disposal.trash() == []
            assert len(list(store.registry.roots())) == 1
            if not planned.happened:
                break
        assert number > 20

    def test_what_somebody_else_has_to_take_out_stays_and_the_rest_goes(
        self,
        store: Store,
        environment: Environment,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ours, theirs = link(store, environment, "ours", "theirs")
        shutil.rmtree(environment.scheme.data)
        rename = os.rename

        def refuse(source: Path, target: Path) -> None:
            if source == store.folder_of(theirs):
                # as the sticky bit of a team's folder does
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            rename(source, target)

        monkeypatch.setattr(os, "rename", refuse)
        done = collect(store, NOW)
        assert (freed(done), done.left) == ([ours], (store.folder_of(theirs),))
        assert is_whole(store, theirs)

    def test_notes_of_what_is_gone_go(
        self, store: Store, environment: Environment
    ) -> None:
        link(store, environment, "one", "two")
        collect(store, NOW)
        assert len((store.root / "sizes").read_text().splitlines()) == 2
        unlink(environment, "one")
        collect(store, NOW)
        (line,) = (store.root / "sizes").read_text().splitlines()
        assert line.startswith("two-")


class TestCommandLine:
    @pytest.fixture
    def removed(self, store: Store, environment: Environment) -> Environment:
        link(store, environment, "one", "two")
        shutil.rmtree(environment.scheme.data)
        return environment

    def test_the_first_run_explains_itself(
        self, store: Store, removed: Environment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["gc", "--store", str(store.root)]) == 0
        *rows, said = capsys.readouterr().out.splitlines()
        assert [row.split()[2] for row in rows] == [
            "one-1.0-00000000",
            "two-1.0-00000000",
        ]
        assert all(f"only {removed.scheme.data} held it" in row for row in rows)
        assert said == (
            "nothing freed yet: 2 entries (2 bytes) are unused since now and are kept for"
            " 1h; --grace 0 frees them"
        )
        pass_time(store, 60)
        assert main(["gc", "--store", str(store.root)]) == 0
        said = capsys.readouterr().out.splitlines()[-1]
        assert said.startswith("nothing freed; 2 unused entries (2 bytes) are kept until")
        assert main(["gc", "--store", str(store.root), "--grace", "0", "--dry-run"]) == 0
        said = capsys.readouterr().out.splitlines()[-1]
        assert said == "would free 2 bytes in 2 entries"
        assert main(["gc", "--store", str(store.root), "--grace", "0"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "freed 2 bytes in 2 entries"

    def test_programs_get_all_of_it(
        self, store: Store, removed: Environment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["gc", "--store", str(store.root), "--json"]
        assert main(command) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["freed"] == []
        assert [each["until"] - each["unused_since"] for each in told["kept"]] == [
            pytest.approx(HOUR)
        ] * 2
        (environment,) = told["environments"]
        assert environment["path"] == str(removed.scheme.data)
        assert (environment["state"], environment["forgotten"]) == ("gone", False)
        assert main([*command, "--grace", "0"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["bytes_freed"] == 2
        assert told["environments"][0]["forgotten"]

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--grace", "5x"],
            ["--grace", "5"],
            ["--wait", "1y"],
            ["--older-than", "soon"],
            ["--max-size", "lots"],
            ["--max-size", "1i"],
        ],
    )
    def test_a_bad_value_is_named(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as end:
            main(["gc", *arguments])
        assert end.value.code == 2
        assert arguments[1] in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("text", "size"),
        [("0", 0), ("1K", 1000), ("1.5G", 1_500_000_000), ("2GiB", 2 << 30), ("7B", 7)],
    )
    def test_sizes(self, text: str, size: int) -> None:
        assert gc_verb._size(text) == size

    @pytest.mark.parametrize(
        ("text", "seconds"), [("0", 0), ("90s", 90), ("1.5h", 5400), ("2w", 14 * DAY)]
    )
    def test_times(self, text: str, seconds: float) -> None:
        assert gc_verb._duration(text) == seconds

    def test_no_store_is_no_error_and_none_is_made(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for option in ("--json", "--dry-run"):
            assert main(["gc", "--store", str(tmp_path / "none"), option]) == 0
        assert "there is no store" in capsys.readouterr().err
        assert not (tmp_path / "none").exists()

    def test_what_is_out_of_sight_is_said(
        self, store: Store, environment: Environment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        link(store, environment, "one")
        (environment.sites[0] / "_commonwheel/links/one.link").write_text("")
        assert main(["gc", "--store", str(store.root)]) == 0
        said = capsys.readouterr()
        assert f"{environment.scheme.data} cannot be read" in said.err
        assert said.err.endswith("what it held (1 entry) is kept\n")

    @pytest.mark.parametrize("command", [["gc"], ["gc", "--grace", "0"]])
    def test_a_store_that_cannot_be_written_is_one_error_and_can_be_previewed(
        self,
        command: list[str],
        store: Store,
        removed: Environment,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(path: object, *args: object, **kwargs: object) -> Any:
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        before = state(store.root)
        for function in ("mkdir", "rename", "unlink", "utime"):
            monkeypatch.setattr(os, function, refuse)
            # Python 3.10 has taken them from `os` already
            accessor = getattr(pathlib, "_normal_accessor", None)
            monkeypatch.setattr(accessor or os, function, refuse, raising=False)
        command = [*command, "--store", str(store.root)]
        assert main(command) == 1
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert "Read-only file system" in line
        assert main([*command, "--dry-run"]) == 0
        monkeypatch.undo()
        assert state(store.root) == before

    def test_ctrl_c_says_what_became_of_it(
        self, store: Store, removed: Environment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with fault(store.root / "entries", 1, KeyboardInterrupt()):
            assert main(["gc", "--store", str(store.root), "--grace", "0"]) == 1
        assert "freed the next time" in capsys.readouterr().err
        assert main(["gc", "--store", str(store.root), "--grace", "0"]) == 0
        assert store.identifiers() == []


class Life(RuleBasedStateMachine):
    """Everything that happens to environments and clocks, in any order.

    Environments named d... are on a disk that is mounted and unmounted.
    """

    names = st.sampled_from(["one", "two", "three", "four"])
    environments = st.sampled_from(["a", "b", "d1", "d2"])

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.store = Store(self.root / "store")
        self.disk = self.root / "disk"
        self.disk.mkdir()
        self.away: float | None = None
        """For how long the disk has not been mounted, if it is not."""
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(filesystem, "identity", self.filesystem)

    def filesystem(self, path: Path) -> str:
        on_disk = str(path).startswith(f"{self.disk}/")
        return ELSEWHERE if on_disk and self.away is None else "here"

    def environment(self, name: str) -> Environment | None:
        """One that is there, or can be made."""
        if name.startswith("d") and self.away is not None:
            return None
        folder = (self.disk if name.startswith("d") else self.root) / name
        # asking for one makes it, if it is not there
        if not (folder / "lib/site-packages").exists():
            return make_environment(folder)
        beside = make_environment(self.root / "pattern")
        shutil.rmtree(beside.scheme.data)
        return _at(folder, beside)

    def there(self) -> Iterator[Environment]:
        for name in ("a", "b", "d1", "d2"):
            folder = (self.disk if name.startswith("d") else self.root) / name
            if (folder / "lib/site-packages").exists():
                found = self.environment(name)
                assert found is not None
                yield found

    @rule(name=environments, entry=names)
    def install(self, name: str, entry: str) -> None:
        environment = self.environment(name)
        if environment is not None:
            link(self.store, environment, entry)

    @rule(name=environments, entry=names)
    def uninstall(self, name: str, entry: str) -> None:
        environment = self.environment(name)
        if environment is not None and f"{entry}-1.0-00000000" in linked(environment):
            unlink(environment, entry)

    @rule(name=environments)
    def remove(self, name: str) -> None:
        environment = self.environment(name)
        if environment is not None:
            shutil.rmtree(environment.scheme.data)

    @rule()
    def unmount(self) -> None:
        if self.away is None:
            self.disk.rename(self.root / "unmounted")
            self.disk.mkdir()
            self.away = 0.0

    @rule()
    def mount(self) -> None:
        if self.away is None:
            return
        long, self.away = self.away >= 30 * DAY, None
        self.disk.rmdir()
        (self.root / "unmounted").rename(self.disk)
        for environment in self.there() if long else ():
            # what it has lost is installed again
            for each in sorted(linked(environment)):
                link(self.store, environment, each.split("-")[0])

    @rule(seconds=st.sampled_from([60.0, HOUR, DAY, 20 * DAY, -HOUR, -DAY]))
    def set_clock(self, seconds: float) -> None:
        if self.store.is_there:
            pass_time(self.store, seconds)
        if self.away is not None:
            self.away += max(0.0, seconds)

    @rule(
        grace=st.sampled_from([0.0, HOUR, DAY]),
        older_than=st.sampled_from([None, 0.0, 10 * DAY]),
        max_size=st.sampled_from([None, 0, 2]),
    )
    def gc(self, grace: float, older_than: float | None, max_size: int | None) -> None:
        collect(self.store, Rules(grace, older_than, max_size, everything=True))

    @invariant()
    def what_is_linked_is_there(self) -> None:
        for environment in self.there():
            for each in linked(environment):
                assert is_whole(self.store, each)
        for links in (self.root / "unmounted").glob("*/lib/site-packages"):
            if self.away is not None and self.away < 30 * DAY:
                for path in (links / "_commonwheel/links").glob("*.link"):
                    assert is_whole(self.store, f"{path.stem}-1.0-00000000")

    def teardown(self) -> None:
        try:
            self.mount()
            self.what_is_linked_is_there()
            collect(self.store, Rules(grace=0, everything=True))
            used = set().union(*map(linked, self.there()))
            assert set(self.store.identifiers()) == used
            collect(self.store, NOW)
            held = [e for e in self.there() if linked(e)]
            assert len(list(self.store.registry.roots())) == len(held)
        finally:
            self.patch.undo()
            shutil.rmtree(self.root)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def _at(folder: Path, like: Environment) -> Environment:
    before = like.scheme
    fields = ("purelib", "platlib", "scripts", "headers", "data")
    moved = {f: folder / getattr(before, f).relative_to(before.data) for f in fields}
    return replace(like, scheme=replace(before, **moved))
