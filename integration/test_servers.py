"""Servers and workers of linked packages serve, fork, watch and restart as always."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import labour
from conftest import Compare
from environments import Environment
from pairs import VIEW, Pair, Pairs
from servers import Server, copy_project, serving

PAGES = ["before 1.0", "after 1.0"]
SITE = "ENV/lib/python3.12/site-packages"
DJANGO = {"DJANGO_SETTINGS_MODULE": "settings"}
LOOPBACK = "127.0.0.1:0"


@pytest.fixture(scope="module")
def pair(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    tools = pairs.of("celery", "django", "gunicorn", "inotify", "uvicorn[standard]")
    root = tmp_path_factory.mktemp("servers")
    made = tools.copy(root)
    labour.fill(pairs, made, *labour.write_wheels(root / "wheels"))
    return made


def restarted(server: Server) -> list[str]:
    """What the page says before and after an edit."""
    before = server.answers(PAGES[0])
    return [before, server.answers(PAGES[1], lambda: server.edit("after"))]


def shown(seen: list[object]) -> str:
    return ", ".join(map(str, seen[:2]))


def as_if_copied(text: str, environment: Environment) -> str:
    """Paths in the store and in the view are written as if they were in site-packages."""
    store, site = re.escape(str(environment.store)), str(environment.site)
    text = re.sub(rf"{store}/entries/[^/]+/tree", site, text)
    return text.replace(f"{site}/{VIEW}", site)


def test_django_watches_the_same_files(pair: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> Any:
        command = (environment.python, "watched.py")
        project = copy_project(environment, "watched")
        said = environment.run(*command, cwd=project, variables=DJANGO).stdout
        runtime = str(environment.site / "_commonwheel.py")
        seen = json.loads(as_if_copied(said, environment))
        return {key: sorted({*seen[key]} - {runtime}) for key in seen}

    watched = compare(
        "django",
        pair,
        act,
        version=f"{pair.versions['django']} watches",
        cell=lambda seen: f"{len(seen['files'])} files",
    )
    files, patterns = set(watched["files"]), watched["patterns"]
    assert {f"{SITE}/django/apps/config.py", f"{SITE}/labour/__init__.py"} <= files
    assert [each for each in patterns if each.startswith(f"{SITE}/labour/templates ")]


def test_runserver_restarts(pair: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> list[str]:
        arguments = ("manage.py", "runserver", LOOPBACK)
        with serving(environment, "runserver", *arguments) as server:
            pages = restarted(server)
            said = server.log.read_text()
            return [*pages, *sorted({*re.findall(".*(?:eloading|Watching).*", said)})]

    seen = compare(
        "django", pair, act, version=f"{pair.versions['django']} runserver", cell=shown
    )
    assert seen[:2] == PAGES
    assert "reloading" in seen[2]


GUNICORN = ("--workers", "2", "--bind", LOOPBACK, "wsgi")


@pytest.mark.parametrize(
    "options",
    [
        ("--worker-class", "sync", "--reload", "--reload-engine", "poll"),
        ("--worker-class", "gthread", "--reload", "--reload-engine", "inotify"),
    ],
    ids=lambda options: f"{options[1]} {options[-1]}",
)
def test_gunicorn_workers_restart(
    pair: Pair, compare: Compare, options: tuple[str, ...]
) -> None:
    name = f"gunicorn-{options[1]}"

    def act(environment: Environment) -> list[object]:
        with serving(environment, name, "-m", "gunicorn", *options, *GUNICORN) as server:
            server.says("Booting worker", 2)
            return [*restarted(server), server.stop()]

    version = f"{pair.versions['gunicorn']} {options[1]} {options[-1]}"
    assert compare("gunicorn", pair, act, version=version, cell=shown) == [*PAGES, 0]


def test_gunicorn_workers_share_what_was_loaded_before(
    pair: Pair, compare: Compare
) -> None:
    def act(environment: Environment) -> list[object]:
        arguments = ("-m", "gunicorn", "--preload", *GUNICORN)
        with serving(environment, "gunicorn-preload", *arguments) as server:
            server.says("Booting worker", 2)
            return [server.answers(PAGES[0]), server.stop()]

    version = f"{pair.versions['gunicorn']} preload"
    assert compare("gunicorn", pair, act, version=version, cell=shown) == [PAGES[0], 0]


UVICORN = ("-m", "uvicorn", "--port", "0", "asgi:application")


def test_uvicorn_workers(pair: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> list[object]:
        arguments = (*UVICORN, "--workers", "2")
        with serving(environment, "uvicorn-workers", *arguments) as server:
            server.says("Started server process", 2)
            return [server.answers(PAGES[0]), server.stop()]

    version = f"{pair.versions['uvicorn']} workers"
    seen = compare("uvicorn", pair, act, version=version, cell=shown)
    assert seen == [PAGES[0], 0]


def test_uvicorn_restarts(pair: Pair, compare: Compare) -> None:
    def act(environment: Environment) -> list[object]:
        with serving(environment, "uvicorn-reload", *UVICORN, "--reload") as server:
            return [*restarted(server), "WatchFiles" in server.log.read_text()]

    version = f"{pair.versions['uvicorn']} reload"
    assert compare("uvicorn", pair, act, version=version, cell=shown) == [*PAGES, True]


CELERY = ("-m", "celery", "--app", "jobs", "worker", "--loglevel", "INFO")


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_celery_workers(pair: Pair, compare: Compare, pool: str) -> None:
    def act(environment: Environment) -> list[object]:
        options = ("--pool", pool, "--concurrency", "2", "--without-mingle")
        root = {"C_FORCE_ROOT": "1"}  # it refuses to work for the superuser otherwise
        name = f"celery-{pool}"
        with serving(environment, name, *CELERY, *options, **root) as worker:
            worker.says("ready.")
            answer = environment.run(environment.python, "ask.py", cwd=worker.project)
            tasks = re.findall(r"^ +\. (\S+)", worker.log.read_text(), re.MULTILINE)
            return [json.loads(answer.stdout), tasks, worker.stop()]

    moved, tasks, status = compare(
        "celery",
        pair,
        act,
        version=f"{pair.versions['celery']} {pool}",
        cell=lambda seen: f"{len(seen[1])} tasks",
    )
    assert moved == [{"x": 2, "y": 2}, 15]
    assert tasks == ["jobs.move", "labour.tasks.triple"]
    assert status == 0


def test_runserver_restarts_after_an_upgrade(
    pair: Pair, pairs: Pairs, compare: Compare, tmp_path: Path
) -> None:
    """Only if what is upgraded was copied: Django looks for changes in the store."""
    wheel = labour.write_wheels(tmp_path / "newer", "2.0")[0]

    def act(environment: Environment) -> list[str]:
        install = pairs.copy_into if environment is pair.plain else pairs.link_into
        arguments = ("manage.py", "runserver", LOOPBACK)
        with serving(environment, "upgrade", *arguments) as server:
            pages = restarted(server)  # so it looks for changes
            install(environment, wheel)
            fresh = environment.code("import labour; print(labour.VERSION)")
            return [*pages, server.settles("after 2.0"), fresh]

    plain = [*PAGES, "after 2.0", "2.0"]
    seen = compare(
        "django",
        pair,
        act,
        version=f"{pair.versions['django']} upgrade",
        cell=lambda seen: seen[2],
        difference=lambda _: [*PAGES, "after 1.0", "2.0"],
    )
    assert seen == plain
