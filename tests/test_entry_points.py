"""Entry points: the scripts that Python itself finds, or none."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonwheel import entry_points
from commonwheel.errors import InvalidWheel

LINES = st.sampled_from(
    [
        *("[console_scripts]", "[gui_scripts]", "[ console_scripts ]", "[other]", "[x"),
        *("[DEFAULT]", "[x] y", "[x] y = p:m", "[]", "", "# tool = p:m", "#"),
        *("a = p:m", "b=p.q:c.d", "  c   =  p : m [x, y]", "\td = p:m\t", "a=q:n", "e"),
        *("f = %(a)s", "g = p:m # g", "h = p:m:n", "i = p", "j k = p:m", "= p:m", "l ="),
        *("m = p:m\x0cn = p:n", "o = p:m\r", "q = p:m\u2028r = p:m", "s = p:m = t"),
    ]
)


@given(st.lists(LINES, max_size=6).map("\n".join))
def test_scripts_are_those_that_python_finds(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    dist_info = tmp_path_factory.mktemp("site") / "x-1.dist-info"
    dist_info.mkdir()
    (dist_info / "entry_points.txt").write_bytes(text.encode())
    try:
        read = entry_points.read(Path("x.whl"), text, 100)
    except InvalidWheel:
        return
    found = importlib.metadata.PathDistribution(dist_info).entry_points
    expected = {
        (each.name, each.module, each.attr, each.group == "gui_scripts")
        for each in found
        if each.group in ("console_scripts", "gui_scripts")
    }
    scripts = {(each.name, each.module, each.attribute, each.gui) for each in read}
    assert scripts == expected


def test_reads_entry_points_however_they_are_set() -> None:
    text = (
        "# of tools\n; and others\n\n  [console_scripts]\n  a = p.q : m.n [x]\n\n"
        "  b=p:m\n[gui_scripts]\r\nc d = p:m\r\n[other]\nx = anything, %(x)s\n"
    )
    assert [
        (each.name, each.module, each.attribute, each.gui)
        for each in entry_points.read(Path("x.whl"), text, 100)
    ] == [
        ("a", "p.q", "m.n", False),
        ("b", "p", "m", False),
        ("c d", "p", "m", True),
    ]
