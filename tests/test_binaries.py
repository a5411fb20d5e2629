"""What binaries ask for, and what of that is outside of their wheel."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binary_files import elf, fat, mach_o, pe
from commonwheel.binaries import formats
from commonwheel.binaries.binary import Binary
from commonwheel.binaries.outside import Outside, look_outside

NEEDED = ("libone.so.1", "libc.so.6")
DYLIBS = ("@rpath/libone.1.dylib", "/usr/lib/libSystem.B.dylib")
SEARCH = ("@loader_path/../lib", "/usr/local/lib")


def read(content: bytes) -> Binary | None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return formats.read(Path(file.name))


def look(folder: Path, files: Mapping[str, bytes]) -> Outside:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return look_outside(folder, files)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("end", ["<", ">"])
def test_elf(bits: int, end: str) -> None:
    content = elf(NEEDED, "$ORIGIN:/usr/local/lib", "libx.so.2", bits=bits, end=end)
    assert read(content) == Binary(NEEDED, ("$ORIGIN", "/usr/local/lib"), "libx.so.2")


def test_elf_with_the_older_search_path() -> None:
    content = elf(NEEDED, rpath="$ORIGIN/../lib")
    assert read(content) == Binary(NEEDED, ("$ORIGIN/../lib",), None)


def test_elf_that_asks_for_nothing() -> None:
    assert read(elf()) == Binary((), (), None)
    assert read(elf(runpath=":")) == Binary((), (), None)


def test_elf_without_a_dynamic_section() -> None:
    static = elf(NEEDED).replace(b"\2\0\0\0\4\0\0\0", b"\6\0\0\0\4\0\0\0")
    assert read(static) == Binary((), (), None)


def test_elf_programs() -> None:
    assert read(elf(NEEDED, interpreter=True)) == Binary(NEEDED, (), None, program=True)
    # such as libc.so.6
    library = read(elf(NEEDED, name="libx.so.2", interpreter=True))
    assert library == Binary(NEEDED, (), "libx.so.2")


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("end", ["<", ">"])
@pytest.mark.parametrize("kind", [0x0C, 0x20, 0x80000018, 0x8000001F, 0x80000023])
def test_mach_o(bits: int, end: str, kind: int) -> None:
    content = mach_o(DYLIBS, SEARCH, "@rpath/x", bits=bits, end=end, kind=kind)
    assert read(content) == Binary(DYLIBS, SEARCH, "@rpath/x")


def test_mach_o_programs() -> None:
    assert read(mach_o(DYLIBS, program=True)) == Binary(DYLIBS, (), None, program=True)


@pytest.mark.parametrize("bits", [32, 64])
def test_mach_o_for_several_architectures(bits: int) -> None:
    parts = mach_o(DYLIBS, SEARCH[:1], "x"), mach_o(DYLIBS[1:], SEARCH, "x", bits=32)
    assert read(fat(*parts, bits=bits)) == Binary(DYLIBS, SEARCH, "x")


def test_a_static_library_for_several_architectures_is_no_binary() -> None:
    assert read(fat(b"!<arch>\n" + bytes(40))) is None


def test_a_java_class_is_no_binary() -> None:
    version_52 = b"\xca\xfe\xba\xbe\0\0\0\x34"
    assert read(version_52 + bytes(4000)) is None


@pytest.mark.parametrize("bits", [32, 64])
def test_pe(bits: int) -> None:
    content = pe(("One.dll", "KERNEL32.dll"), ("Two.DLL",), "X.pyd", bits=bits)
    assert read(content) == Binary(("one.dll", "kernel32.dll", "two.dll"), (), "x.pyd")
    assert read(pe(bits=bits)) == Binary((), (), None)


@pytest.mark.parametrize("content", [b"", b"MZ", b"#!/bin/sh\n", b"\x7fELF", b"\0" * 99])
def test_no_binaries(content: bytes) -> None:
    assert read(content) is None


SAMPLES = (
    elf(NEEDED, "$ORIGIN", "x", interpreter=True),
    elf(NEEDED, "$ORIGIN", "x", bits=32, end=">"),
    mach_o(DYLIBS, SEARCH, "x"),
    fat(mach_o(DYLIBS), mach_o(DYLIBS, bits=32, end=">")),
    pe(("a.dll",), ("b.dll",), "c.dll"),
)


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_file_never_raises(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    places = st.integers(4, len(content) - 1)
    for place in data.draw(st.lists(places, max_size=8)):
        damaged[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    found = read(bytes(damaged[: data.draw(st.integers(0, len(content)))]))
    assert found is None or isinstance(found, Binary)


@given(st.sampled_from([content[:4] for content in SAMPLES]), st.binary())
def test_what_only_begins_like_a_binary_never_raises(magic: bytes, rest: bytes) -> None:
    found = read(magic + rest)
    assert found is None or isinstance(found, Binary)


@pytest.mark.parametrize("content", SAMPLES)
def test_every_part_of_a_file_is_needed(content: bytes) -> None:
    assert read(content) is not None
    for size in range(len(content) - 40):  # PE: the import table ends with zeros
        assert read(content[:size]) is None


def test_a_name_that_is_not_text_is_kept() -> None:
    content = elf(["lib\N{SNOWMAN}.so"]).replace("\N{SNOWMAN}".encode(), b"\xff\xfe\xfd")
    assert read(content) == Binary(("lib\udcff\udcfe\udcfd.so",), (), None)


def test_an_endless_name_is_damage() -> None:
    content = elf(["libone.so"])
    assert read(content[:-1] + b"x" * 100_000 + b"\0") is None


@pytest.mark.parametrize(
    ("path", "search"),
    [
        ("p/x.so", "$ORIGIN/../p.libs"),
        ("p/x.so", "${ORIGIN}/../p.libs/"),
        ("p/x.so", "$ORIGIN/lib:$ORIGIN"),
        ("p/q/x.so", "$ORIGIN/../..//p.libs"),
        ("x.so", "$ORIGIN/p.libs"),
        ("x.so", "$ORIGIN"),
        ("p/x.so", "/usr/local/lib:/usr/p/../lib"),
        ("p/x.so", "../q:.:lib:$ORIGINAL/..:$LIB"),
    ],
)
def test_a_wheel_that_has_all_it_searches_is_clean(
    tmp_path: Path, path: str, search: str
) -> None:
    files = {
        path: elf(("libone.so.1", "libm.so.6"), search),
        "p.libs/libone-1234.so.1": elf(name="libone.so.1"),
        "p/lib/libtwo.so": elf(),
        "p/__init__.py": b"",
    }
    assert look(tmp_path, files) == Outside()


def test_what_is_searched_beside(tmp_path: Path) -> None:
    files = {
        "n/a/lib/liba.so.1": elf(["libb.so.1"], "$ORIGIN/../../b/lib:$ORIGIN"),
        "n/a/lib/liba2.so.1": elf(["liba.so.1"], "$ORIGIN"),
        "n/a/include/a.h": b"",
    }
    assert look(tmp_path, files) == Outside(
        folders=("n/a/lib",), beside=("n/a/lib", "n/b/lib"), wanted=("libb.so.1",)
    )


def test_a_folder_may_be_searched_for_what_is_loaded_later(tmp_path: Path) -> None:
    files = {"n/a/lib/liba.so.1": elf(["libc.so.6"], "$ORIGIN/../../b/lib:$ORIGIN")}
    assert look(tmp_path, files) == Outside(folders=("n/a/lib",), beside=("n/b/lib",))


def test_a_folder_of_folders_may_hold_files_of_others(tmp_path: Path) -> None:
    files = {"n/a/b/x.so": elf((), "$ORIGIN/../.."), "n/a/b/__init__.py": b""}
    assert look(tmp_path, files) == Outside(folders=("n/a/b",), beside=("n",))


def test_site_packages_itself_is_nobodys(tmp_path: Path) -> None:
    files = {"p/x.so": elf((), "$ORIGIN/..")}
    assert look(tmp_path, files) == Outside(folders=("p",))


def test_what_a_wheel_lacks_may_be_in_its_own_folders(tmp_path: Path) -> None:
    files = {
        "p/lib/libone.so": elf(["libother.so"], "$ORIGIN"),
        "p/__init__.py": b"",
    }
    assert look(tmp_path, files) == Outside(
        folders=("p/lib",), beside=("p/lib",), wanted=("libother.so",)
    )


def test_whoever_loads_a_library_that_looks_outside_looks_from_there(
    tmp_path: Path,
) -> None:
    files = {
        "p/deep/one.so": elf(["libone.so"], "$ORIGIN/../lib"),
        "p/lib/libone.so": elf(["libtwo.so"], "$ORIGIN/../more"),
        "p/more/libtwo.so": elf(["libother.so"]),
        "p/none/x.so": elf(["libone.so"]),
    }
    outside = look(tmp_path, files)
    assert outside.folders == ("p/deep", "p/lib", "p/more")
    assert outside.wanted == ("libother.so",)


def test_the_top_needs_no_folder(tmp_path: Path) -> None:
    files = {"x.so": elf(["libother.so"], "$ORIGIN/other.libs")}
    assert look(tmp_path, files) == Outside(
        beside=("other.libs",), wanted=("libother.so",)
    )


def test_what_is_searched_above(tmp_path: Path) -> None:
    search = "$ORIGIN/../../../../lib:$ORIGIN/../.."
    files = {"p/x.so": elf(["libmkl_rt.so.2"], search)}
    assert look(tmp_path, files) == Outside(
        folders=("p",),
        above=("$ORIGIN/../..", "$ORIGIN/../../../../lib"),
        wanted=("libmkl_rt.so.2",),
    )


def test_above_is_nothing_to_search_for_who_has_everything(tmp_path: Path) -> None:
    files = {
        "p/x.so": elf(["libp.so"], "$ORIGIN:$ORIGIN/../../_solib"),
        "p/libp.so": elf(),
    }
    assert look(tmp_path, files) == Outside(folders=("p",))


def test_no_link_helps_a_program_that_lacks_a_library(tmp_path: Path) -> None:
    lacking = elf(["libother.so", "libp.so"], "$ORIGIN/../lib", interpreter=True)
    complete = elf(["libp.so"], "$ORIGIN/../lib", interpreter=True)
    files = {"p/lib/libp.so": elf(), "p/bin/tool": lacking}
    assert look(tmp_path, files).above == ("$ORIGIN/../lib",)
    assert look(tmp_path, files | {"p/bin/tool": complete}) == Outside()
    # nor one whose own library lacks one
    files = {"p/lib/libp.so": elf(["libother.so"], "$ORIGIN"), "p/bin/tool": complete}
    assert look(tmp_path, files).above == ("$ORIGIN/../lib",)


def test_no_link_helps_a_plugin_of_qt_that_lacks_a_library(tmp_path: Path) -> None:
    search = "$ORIGIN/../../lib"
    files = {"p/Qt/plugins/x/libx.so": elf(["libQt6Gui.so.6"], search)}
    assert look(tmp_path, files).above == (search,)
    files["p/Qt/lib/libQt6Gui.so.6"] = elf()
    assert look(tmp_path, files) == Outside()


@pytest.mark.parametrize(
    "name",
    [
        *("ld-linux-x86-64.so.2", "ld-linux.so.2", "ld-musl-aarch64.so.1", "ld64.so.1"),
        *("libc.musl-x86_64.so.1", "libc.so", "linux-vdso.so.1", "libstdc++.so.6"),
        *("libGL.so.1", "libz.so.1", "libpython3.so", "libpython3.13t.so.1.0"),
    ],
)
def test_the_system_has(tmp_path: Path, name: str) -> None:
    assert look(tmp_path, {"p/x.so": elf([name], "$ORIGIN")}) == Outside()


@pytest.mark.parametrize(
    "name", ["libstdc++.so", "libcuda.so.1", "libEGL.so.1", "libX.so"]
)
def test_not_every_system_has(tmp_path: Path, name: str) -> None:
    found = look(tmp_path, {"p/x.so": elf([name])})
    assert found.wanted == (() if name == "libstdc++.so" else (name,))


def test_mach_o_libraries_are_named_by_paths(tmp_path: Path) -> None:
    files = {
        "p/x.so": mach_o(
            [
                "@loader_path/.dylibs/libone.1.dylib",
                "@loader_path/../q/libtwo.dylib",
                "@rpath/libthree.dylib",
                "/usr/lib/libSystem.B.dylib",
                "/System/Library/Frameworks/AppKit.framework/AppKit",
                "/DLC/p/libone.1.dylib",
            ],
            ["@loader_path/../r"],
        ),
        "p/.dylibs/libone.1.dylib": mach_o(name="/DLC/p/libone.1.dylib"),
    }
    assert look(tmp_path, files) == Outside(
        folders=("p",),
        beside=("p/.dylibs", "q", "r"),
        wanted=("libthree.dylib", "libtwo.dylib"),
    )


def test_windows_does_not_look_at_case(tmp_path: Path) -> None:
    files = {
        "p/x.pyd": pe(["KERNEL32.dll", "python311.dll", "VCRUNTIME140.dll", "One.dll"]),
        "p/y.pyd": pe(["api-ms-win-crt-heap-l1-1-0.dll", "Other.dll"], ["TWO.dll"]),
        "p.libs/ONE.dll": pe(),
        "p.libs/renamed.dll": pe(name="two.dll"),
    }
    assert look(tmp_path, files) == Outside(folders=("p",), wanted=("other.dll",))


@pytest.mark.parametrize(
    "name",
    [
        *("x.so", "x.abi3.so", "libx.so.1.2", "x.cpython-311-x86_64-linux-gnu.so"),
        *("x.dylib", "x.dll", "X.DLL", "x.pyd", "x.exe", "tool", "tool-3.13.0"),
    ],
)
def test_files_that_are_looked_into(tmp_path: Path, name: str) -> None:
    content = elf(["libother.so"])
    assert look(tmp_path, {f"p/{name}": content}).wanted == ("libother.so",)
    assert look(tmp_path, {name: content}).wanted == ("libother.so",)


@pytest.mark.parametrize("name", ["x.py", "x.pyi", "x.h", "x.json", "x.soft"])
def test_files_that_are_not_even_opened(tmp_path: Path, name: str) -> None:
    assert look_outside(tmp_path, [f"p-1.2/{name}"]) == Outside()
