"""What the paths of a tree ask for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commonwheel import tree, view

PARTS = st.sampled_from(["a", "b", "c"])
FILES = st.builds(
    lambda folders, file: "/".join((*folders, file)),
    st.lists(PARTS, max_size=4),
    st.sampled_from(["x.py", "y.txt"]),
)


@given(st.sets(FILES))
def test_links_show_every_file_once(paths: set[str]) -> None:
    links = tree.links(paths)
    folders = tuple(link for link in links if link.endswith("/"))
    for path in paths:
        assert (path in links) + path.startswith(folders) == 1
    # a folder is linked because of a file right in it; and those above have none
    for folder in folders:
        assert any(path.rpartition("/")[0] == folder[:-1] for path in paths)
        above = folder[:-1].rpartition("/")[0]
        assert not above or above not in {path.rpartition("/")[0] for path in paths}


@given(st.sets(FILES), st.sets(st.builds("/".join, st.lists(PARTS, min_size=1))))
def test_links_leave_opened_folders_and_those_above_real(
    paths: set[str], opened: set[str]
) -> None:
    links = tree.links(paths, opened)
    folders = tuple(link for link in links if link.endswith("/"))
    for path in paths:
        assert (path in links) + path.startswith(folders) == 1
    for folder in opened:
        assert not f"{folder}/".startswith(folders)
    # and nothing else changes
    beside = {f"other/{path}" for path in paths}
    assert set(tree.links(paths | beside, opened)) == {*links, *tree.links(beside)}


def test_links_of_an_opened_folder() -> None:
    paths = ["p/__init__.py", "p/lib/x.so", "p/lib/data/x", "p/sub/x.py", "p.libs/x.so"]
    assert tree.links(paths, ["p/lib"]) == (
        "p.libs/",
        "p/__init__.py",
        "p/lib/data/",
        "p/lib/x.so",
        "p/sub/",
    )


def test_folders() -> None:
    assert tree.folders(["x", "a/x", "b/c/x"]) == {"a", "b", "b/c"}


def test_what_must_be_real() -> None:
    real = ["x.pth", "x.start", "sitecustomize.py", "usercustomize/__init__.py"]
    assert all(map(tree.must_be_real, real))
    linked = ["x.py", "p/x.pth", "p/sitecustomize.py", "sitecustomized.py"]
    assert not any(map(tree.must_be_real, linked))


def test_bytecode() -> None:
    assert tree.is_bytecode("__pycache__/x.cpython-311.pyc")
    assert tree.is_bytecode("p/__pycache__/x.pyc")
    for path in ("x.pyc", "p/x.pyc", "p__pycache__/x.pyc", "__pycache__/x.txt"):
        assert not tree.is_bytecode(path)


def test_eggs() -> None:
    own = ["x.egg-info", "x-1-py3.egg-info/PKG-INFO", "X.Egg-Link", "x.egg/p/y.py"]
    assert [tree.egg(path) for path in own] == [
        *("x.egg-info", "x-1-py3.egg-info", "X.Egg-Link", "x.egg")
    ]
    others = ["p/x.egg-info", "egg-info/x", "x.egg-info.py", "x.dist-info/RECORD"]
    assert {tree.egg(path) for path in others} == {None}


def test_our_names_are_those_of_the_view() -> None:
    shown = [view.marker("x-y"), view.KEEPER, view.kept("p.py", "x-y")]
    for name in (*shown, *(name.upper() for name in shown)):
        for path in (name, f"p/{name}", f"{name}/p"):
            assert tree.is_ours(path)
    for path in ("x.commonwheel", "x.kept", "p/x.p.kept", ".x.kept.py", "p/_commonwheel"):
        assert not tree.is_ours(path)
    assert tree.is_ours("_commonwheel/view/x.py")


def test_top_level_names() -> None:
    paths = [
        "m.py",
        "p/x.py",
        "e.cpython-311-x86_64-linux-gnu.so",
        "a.libs/x.so",
        "t.txt",
    ]
    assert tree.top_level_names(paths) == ["e", "m", "p"]
    assert tree.sources(paths) == ["m.py", "p/x.py"]
