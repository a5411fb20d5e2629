"""Errors: one root, one line each, good as any exception."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from commonwheel import errors, export_errors, lock_errors
from commonwheel.errors import CommonwheelError, InvalidWheel, explain
from commonwheel.wheel_rules import WheelRule

PATH = Path("/x")
ALL = [
    InvalidWheel(PATH, WheelRule.GAP, "broken\n\x1b[31m", "member\n"),
    errors.IncompatibleWheel(PATH, "cp27", "python"),
    errors.InvalidStore(PATH, "broken"),
    errors.EntryGone(PATH),
    errors.Busy(PATH, ()),
    errors.StoreBusy(PATH, ("pip (process 7)",)),
    errors.EnvironmentBusy(PATH, ("pip (process 7)", "uv (process 8)"), 900.0),
    errors.InvalidRegistry(PATH, "broken"),
    errors.NothingRegistered(PATH, 3),
    errors.InvalidEnvironment(PATH, "broken"),
    errors.LinkConflict("one", "path", "a file of two"),
    errors.LinkModeUnavailable("reflink", PATH, PATH, "another filesystem"),
    errors.NoSymbolicLinks(PATH, "not permitted"),
    errors.InvalidSetting("COMMONWHEEL_LINK_MODE", "fast", "choose another"),
    errors.DuplicateRequest("one", ("a", "b")),
    errors.ApplyFailed(PATH, "full", None),
    lock_errors.InvalidLock(PATH, "broken", "line 3"),
    lock_errors.LockMismatch(PATH, "python", "old"),
    lock_errors.MissingHash("one", "no hash"),
    lock_errors.SourceRefused("one", "one-1.0.tar.gz"),
    lock_errors.NotBuiltHere("one", "one-1.0.tar.gz", "Python 3.12 on win_amd64"),
    lock_errors.EditableRefused("one", PATH),
    lock_errors.WrongFile("one", "one.whl", "is another"),
    lock_errors.HostFailed("pip", "fetch one", "no network"),
    lock_errors.InvalidScript(PATH, "no lock beside it"),
    lock_errors.ScriptMismatch(PATH, ("one>=2",), "lock it again"),
    lock_errors.NotInStore(PATH, ("one 1.0", "two 2.0")),
    lock_errors.NothingFits(PATH, ("one>=2 (there is 1.0)",)),
    lock_errors.ActivationFailed("pylock.toml", "broken"),
    export_errors.NotSelfContained(PATH, ("one is editable",), "Install it otherwise"),
    export_errors.NotInLayer(("one 1.0",)),
    export_errors.ProgramMissing("zstd", "zstd"),
    export_errors.ProgramFailed("zstd", "full"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error(error: CommonwheelError) -> None:
    assert isinstance(error, CommonwheelError)
    assert len(str(error).splitlines()) == 1
    assert not str(error).endswith(".")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert {error, again} == {again, error}  # an exception can be put into a set


def test_none_is_forgotten() -> None:
    names = {type(error).__name__ for error in ALL}
    # others may be imported already: those of a frontend are in its own files
    modules = (errors, lock_errors, export_errors)
    every = [e for m in modules for e in vars(m).values() if isinstance(e, type)]
    ours = {each.__name__ for each in every if issubclass(each, CommonwheelError)}
    assert names == ours - {"CommonwheelError"}


def test_what_could_not_be_put_back_is_named() -> None:
    error = errors.ApplyFailed(PATH, "full", Path("/kept"))
    assert "nothing was changed" not in str(error)
    assert "remove /kept to give it up" in str(error)


def test_explaining_what_the_system_says() -> None:
    assert explain(OSError(2, "gone", "/file")) == "gone (/file)"
    assert explain(OSError(28, "full")) == "full"
    assert explain(OSError("something")) == "something"
