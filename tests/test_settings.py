"""Settings: which store is used, and how distributions get into environments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonwheel.errors import InvalidSetting
from commonwheel.frontends import settings
from commonwheel.link_mode import LinkChoice, LinkMode


def test_the_given_folder_goes_before_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMMONWHEEL_STORE", "/from/the/variable")
    assert settings.open_store("/given").root == Path("/given")
    assert settings.open_store(None).root == Path("/from/the/variable")


def test_several_stores_are_a_chain(tmp_path: Path) -> None:
    layer, own = tmp_path / "layer", tmp_path / "own"
    (layer / "entries").mkdir(parents=True)
    chain = settings.open_store(f"{own}{os.pathsep}{layer}")
    assert (chain.root, [each.root for each in chain.below]) == (own, [layer])
    again = settings.open_store(settings.name_of(chain))
    assert (again.root, [each.root for each in again.below]) == (own, [layer])


def test_by_default_it_is_a_data_folder_not_a_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COMMONWHEEL_STORE")
    path = settings.open_store(None).root
    assert path.parts[-2:] == ("commonwheel", "store")
    assert "cache" not in str(path).lower()


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert settings.open_store("~/store").root == Path("/home/somebody/store")


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("COMMONWHEEL_LINK_MODE", "COMMONWHEEL_REAL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_by_default_everything_is_linked(nothing_set: pytest.MonkeyPatch) -> None:
    assert settings.link_choice() == LinkChoice(LinkMode.MANIFEST, frozenset())
    nothing_set.setenv("COMMONWHEEL_LINK_MODE", "")
    nothing_set.setenv("COMMONWHEEL_REAL", "")
    assert settings.link_choice() == LinkChoice(LinkMode.MANIFEST, frozenset())


@pytest.mark.parametrize("mode", ["manifest", "auto", "reflink", "hardlink", "copy"])
def test_a_link_mode_goes_before_the_variable(
    nothing_set: pytest.MonkeyPatch, mode: str
) -> None:
    assert mode in settings.LINK_MODES
    assert settings.link_choice(mode).mode is LinkMode(mode)
    nothing_set.setenv("COMMONWHEEL_LINK_MODE", mode)
    assert settings.link_choice().mode is LinkMode(mode)
    assert settings.link_choice("copy").mode is LinkMode.COPY


@pytest.mark.parametrize("mode", ["symlink", "COPY", " copy", "copy,auto"])
def test_a_variable_that_names_no_link_mode_is_refused(
    nothing_set: pytest.MonkeyPatch, mode: str
) -> None:
    nothing_set.setenv("COMMONWHEEL_LINK_MODE", mode)
    with pytest.raises(InvalidSetting) as caught:
        settings.link_choice()
    found = caught.value
    assert (found.name, found.value) == ("COMMONWHEEL_LINK_MODE", mode)
    assert found.reason.startswith("choose one of manifest, auto")
    # what is given goes before it, so it is not looked at
    assert settings.link_choice("auto").mode is LinkMode.AUTO


@pytest.mark.parametrize(
    ("given", "variable", "names"),
    [
        (["one"], "", {"one"}),
        (["one,Two", "three  four"], "", {"one", "two", "three", "four"}),
        ([], "one, two\nThree.Four_five", {"one", "two", "three-four-five"}),
        (["one"], "two", {"one", "two"}),
        ([" ,", ""], ",", set()),
    ],
)
def test_names_of_real_files_are_lists_and_those_of_the_variable_are_added(
    nothing_set: pytest.MonkeyPatch, given: list[str], variable: str, names: set[str]
) -> None:
    nothing_set.setenv("COMMONWHEEL_REAL", variable)
    assert settings.link_choice(real=given).real == names


def test_a_name_that_no_distribution_can_have_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="'a/x': that is not the name"):
        settings.link_choice(real=["good,a/x"])


def test_how_long_others_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COMMONWHEEL_LOCK_TIMEOUT", raising=False)
    assert settings.open_store(str(tmp_path / "store")).patience.seconds == 900
    for given, seconds in (("0", 0), ("1.5", 1.5), (" 60 ", 60), ("", 900)):
        monkeypatch.setenv("COMMONWHEEL_LOCK_TIMEOUT", given)
        chain = settings.open_store(f"{tmp_path / 'store'}{os.pathsep}{tmp_path / 'two'}")
        (below,) = chain.below
        assert chain.patience.seconds == below.patience.seconds == seconds
    chain.patience.tell("waiting for pip (process 12)")
    assert capsys.readouterr() == ("", "commonwheel: waiting for pip (process 12)\n")


@pytest.mark.parametrize("value", ["-1", "soon", "1h", "inf", "nan", "1_0", "٣"])
def test_a_time_to_wait_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("COMMONWHEEL_LOCK_TIMEOUT", value)
    with pytest.raises(InvalidSetting, match="COMMONWHEEL_LOCK_TIMEOUT cannot be"):
        settings.open_store(None)
