"""An environment with a subject, and neighbours that share folders with it.

What is done to the subject must leave nothing of it, and its neighbours as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from environments import Environment, Tree
from wheelhouse import write_wheel


class Stage(NamedTuple):
    """An environment with a subject, and neighbours that share folders with it."""

    environment: Environment
    wheels: Path
    before: Tree
    """What was in the environment before anything was installed."""


NEIGHBOURS = ("near-namespace", "near-regular", "near-module", "near-data")
SUBJECT = {
    "1.0": ("subject", "subject.part", "subject.only_one", "subject_module_one"),
    "2.0": ("subject", "subject.part", "subject.only_two", "subject_module_two"),
}
"""What can be imported of each version; more is checked by :func:`check`."""
SHARED = ("near_space.subject", "near_space.common.subject", "near_regular.subject")
NEAR = (
    "near_space.near",
    "near_space.common.near",
    "near_regular",
    "near_regular.near",
    "near_module",
    "near_data",
)


def write_wheels(folder: Path) -> None:
    """Write the wheels of the subject and its neighbours."""
    for version, word in (("1.0", "one"), ("2.0", "two")):
        _write_subject(folder, version, word, {})
    # the same version once more, from other bytes
    _write_subject(folder / "rebuilt", "1.0", "one", {"subject/rebuilt.py": ""})
    write_wheel(
        folder,
        "near-namespace",
        "1.0",
        {"near_space/near.py": "", "near_space/common/near.py": ""},
    )
    write_wheel(
        folder,
        "near-regular",
        "1.0",
        {"near_regular/__init__.py": "", "near_regular/near.py": ""},
    )
    write_wheel(folder, "near-module", "1.0", {"near_module.py": ""})
    write_wheel(
        folder,
        "near-data",
        "1.0",
        {"near_data/__init__.py": "", "{data}/data/share/both/near.txt": ""},
        entry_points="[console_scripts]\nnear-script = near_data:print\n",
    )


def _write_subject(folder: Path, version: str, word: str, more: dict[str, str]) -> None:
    files = {
        "subject/__init__.py": f"VERSION = {version!r}\ndef main(): print(VERSION)\n",
        "subject/part/__init__.py": "",
        f"subject/only_{word}.py": "",
        f"subject_module_{word}.py": "",
        "near_space/subject.py": "",
        "near_space/common/subject.py": "",
        "near_regular/subject.py": "",
        f"{{data}}/data/share/both/{word}.txt": "",
        f"{{data}}/scripts/subject-{word}": "#!python\nimport subject\nsubject.main()\n",
    }
    write_wheel(
        folder,
        "subject",
        version,
        {**files, **more},
        entry_points="[console_scripts]\nsubject = subject:main\n"
        f"subject-main-{word} = subject:main\n",
        executable=(f"subject-{version}.data/scripts/subject-{word}",),
    )


def put(stage: Stage, version: str, *options: str, linked: bool) -> None:
    wheel = stage.wheels / f"subject-{version}-py3-none-any.whl"
    stage.environment.install(*options, wheel, linked=linked)


def check(stage: Stage, version: str | None, *, linked: bool = True) -> None:
    """The subject is there in one version only (or not at all); neighbours are there."""
    environment = stage.environment
    every = {name for names in SUBJECT.values() for name in names}
    wanted = {*SUBJECT[version], *SHARED} if version else set()
    _check_importable(environment, wanted, {*every, *SHARED} - wanted)
    listed = environment.installed()
    assert listed.get("subject") == version
    assert {name: listed[name] for name in NEIGHBOURS} == dict.fromkeys(NEIGHBOURS, "1.0")
    assert all(environment.is_linked(name) for name in NEIGHBOURS)
    infos = [path.name for path in environment.site.glob("subject-*")]
    assert infos == ([f"subject-{version}.dist-info"] if version else [])
    assert environment.is_linked("subject") == (version is not None and linked)
    view = environment.site / "_commonwheel/view"
    shown = [path for path in view.rglob("*") if "subject" in path.name]
    assert bool(shown) == (version is not None and linked)
    word = {"1.0": "one", "2.0": "two", None: ""}[version]
    others = {"one", "two"} - {word}
    present = {path.rpartition("/")[2] for path in environment.tree()}
    for other in others:
        assert not present & {
            f"only_{other}.py",
            f"subject_module_{other}.py",
            f"{other}.txt",
            f"subject-{other}",
            f"subject-main-{other}",
        }
    if version:
        assert (environment.path / f"bin/subject-main-{word}").is_file()
        for script in (f"subject-{word}", "subject"):
            answer = environment.run(environment.path / "bin" / script)
            assert answer.stdout == f"{version}\n"


def _check_importable(
    environment: Environment, wanted: set[str], unwanted: set[str]
) -> None:
    code = f"""
import importlib, json
found = []
for name in {sorted({*wanted, *unwanted, *NEAR})!r}:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    found.append([name, bool(getattr(module, "__file__", None))])
print(json.dumps(found))
"""
    found = dict(environment.json(code))
    assert set(found) == wanted | set(NEAR)
    assert all(found.values()), "an empty namespace"


def check_nothing_left(stage: Stage) -> None:
    stage.environment.pip("uninstall", "-y", "subject", *NEIGHBOURS)
    assert stage.environment.leftovers(stage.before) == set()
