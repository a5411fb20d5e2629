"""What pip asks for, answered: the questions and answers of ``pip_client``."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commonwheel import install
from commonwheel.environment import Environment
from commonwheel.frontends import pip_service
from commonwheel.frontends.pip_client import PROTOCOL
from commonwheel.store import Store
from conftest import CACHE_TAG
from wheel_file import write_wheel

Message = dict[str, Any]


@pytest.fixture(autouse=True)
def _handler_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def opening(store: Path | str, **others: object) -> Message:
    return {
        "protocol": PROTOCOL,
        "store": str(store),
        "link_mode": None,
        "real": [],
        "version": ".".join(map(str, sys.version_info[:3])),
        "cache_tag": CACHE_TAG,
        "template": "#!{python}",
        **others,
    }


def installation(wheel: Path, environment: Environment, **others: object) -> Message:
    scheme = environment.scheme
    return {
        "wheel": str(wheel),
        "name": wheel.name.split("-")[0],
        "scheme": {
            "purelib": str(scheme.purelib),
            "platlib": str(scheme.platlib),
            "scripts": str(scheme.scripts),
            "headers": str(scheme.headers / "sample"),
            "data": str(scheme.data),
        },
        "place": "environment",
        "bytecode": True,
        "python": sys.executable,
        "requested": True,
        "direct_url": None,
        **others,
    }


def ask(*questions: Message) -> list[Message]:
    """Say all of them, then nothing more; the answers."""
    said = io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in questions))
    answered = io.BytesIO()
    pip_service.serve(said, answered)
    return [json.loads(line) for line in answered.getvalue().splitlines()]


def test_a_wheel_is_linked(
    tmp_path: Path, environment: Environment, site: Path, store: Store
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    opened, linked = ask(opening(store.root), installation(wheel, environment))
    assert opened == {"store": str(store.root)}
    assert linked == {"linked": True, "mode": "manifest", "said": [], "scripts": []}
    assert (site / "_commonwheel/view/sample.py").is_file()


@pytest.mark.parametrize(
    ("url", "noted"),
    [
        ("https://me:secret@host/a.whl?token=1#sha256=2", "https://host/a.whl"),
        ("file:///wheels/a.whl", "file:///wheels/a.whl"),
        ("https://host/a.tar.gz", None),
        ("https://host/a b.whl", None),
        (None, None),
    ],
)
def test_where_a_wheel_came_from_is_noted_without_secrets(
    url: str | None,
    noted: str | None,
    tmp_path: Path,
    environment: Environment,
    store: Store,
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    ask(opening(store.root), installation(wheel, environment, url=url))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert Store(store.root).url_of(digest) == noted


@pytest.mark.parametrize("name", ["pip", "Commonwheel"])
def test_what_mends_an_environment_is_left_to_pip(
    name: str, tmp_path: Path, environment: Environment, store: Store
) -> None:
    question = installation(tmp_path / "not.whl", environment, name=name)
    assert ask(opening(store.root), question)[1] == {"linked": False}


def test_one_that_fails_does_not_stop_the_next(
    tmp_path: Path, environment: Environment, store: Store
) -> None:
    damaged = tmp_path / "damaged-1-py3-none-any.whl"
    damaged.write_bytes(b"no archive")
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    _, first, missing, last = ask(
        opening(store.root),
        installation(damaged, environment),
        installation(tmp_path / "gone-1-py3-none-any.whl", environment),
        installation(wheel, environment),
    )
    assert "damaged-1-py3-none-any.whl is not a valid wheel" in first["error"]
    assert "gone-1-py3-none-any.whl" in missing["error"]
    assert last["linked"]


def test_a_store_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    ((answer),) = ask(opening(tmp_path))
    assert "it holds something else" in answer["error"]


def test_an_old_python_is_not_an_error(tmp_path: Path) -> None:
    ((answer),) = ask(opening(tmp_path, version="3.8.18"))
    assert answer == {"unsupported": "Python 3.8.18 cannot be linked into"}


def test_another_protocol_is_refused(tmp_path: Path) -> None:
    ((answer),) = ask(opening(tmp_path, protocol=PROTOCOL + 1))
    assert "`commonwheel enable` it again" in answer["error"]


def test_ctrl_c_before_the_end_is_told_and_the_next_question_answered(
    tmp_path: Path,
    environment: Environment,
    site: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    once = [True]
    apply = install.apply

    def interrupted_once(plan: Any, environment: Environment) -> Any:
        if once.pop() if once else False:
            os.kill(os.getpid(), signal.SIGINT)
        return apply(plan, environment)

    monkeypatch.setattr(install, "apply", interrupted_once)
    _, first, second = ask(
        opening(store.root),
        installation(wheel, environment),
        installation(wheel, environment),
    )
    assert first == {"interrupted": True}
    assert second["linked"]


def test_ctrl_c_when_all_was_done_is_too_late(
    tmp_path: Path,
    environment: Environment,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = write_wheel(tmp_path, {"sample.py": ""})
    apply = install.apply

    def interrupted_at_the_end(plan: Any, environment: Environment) -> None:
        apply(plan, environment)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(install, "apply", interrupted_at_the_end)
    _, answer = ask(opening(store.root), installation(wheel, environment))
    assert answer == {"linked": True, "mode": "manifest", "said": [], "scripts": []}


def test_ctrl_c_between_questions_is_nothing(tmp_path: Path) -> None:
    class Questions(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            os.kill(os.getpid(), signal.SIGINT)
            return super().readline(size)

    line = json.dumps(opening(tmp_path / "store")).encode() + b"\n"
    answered = io.BytesIO()
    pip_service.serve(Questions(line), answered)
    assert json.loads(answered.getvalue()) == {"store": str(tmp_path / "store")}
