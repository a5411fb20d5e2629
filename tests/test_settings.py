"""Settings: which store is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from commonwheel.frontends import settings


def test_the_given_folder_goes_before_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMMONWHEEL_STORE", "/from/the/variable")
    assert settings.store_path("/given") == Path("/given")
    assert settings.store_path(None) == Path("/from/the/variable")


def test_by_default_it_is_a_data_folder_not_a_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COMMONWHEEL_STORE")
    path = settings.store_path(None)
    assert path.parts[-2:] == ("commonwheel", "store")
    assert "cache" not in str(path).lower()


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert settings.store_path("~/store") == Path("/home/somebody/store")
