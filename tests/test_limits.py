"""Limits of wheels, as somebody sets them."""

from __future__ import annotations

import pytest

from commonwheel.errors import InvalidSetting
from commonwheel.frontends import settings
from commonwheel.limits import VARIABLE, Limits, parse


def test_those_that_are_not_named_are_the_usual_ones() -> None:
    assert parse("") == parse(" ") == Limits()
    assert parse("ratio=500") == Limits(ratio=500)
    both = Limits(ratio=500, members=200_000)
    assert parse(" ratio=500, members=200000,") == both
    assert parse("members=200000 ratio=500") == both


@pytest.mark.parametrize(
    "text",
    [
        *("x", "ratio", "ratio=", "ratio=0", "ratio=-1", "ratio=1.5", "ratio=1_0"),
        *("ratio=\u0661", "ratio=1;size=2", "ratio=1,ratio=2", "Ratio=1", "ratio = x"),
        "ratio=" + 5000 * "9",
    ],
)
def test_what_means_nothing_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InvalidSetting, match=VARIABLE):
        settings.open_store("/nowhere")


def test_all_stores_of_a_chain_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "ratio=3")
    chain = settings.open_store("/nowhere/a:/nowhere/b")
    assert {each.limits for each in (chain, *chain.below)} == {Limits(ratio=3)}
    monkeypatch.delenv(VARIABLE)
    assert settings.open_store("/nowhere/a").limits == Limits()
