"""A zip archive means one thing, or is refused: archives by hand, byte by byte."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest

from commonwheel.errors import InvalidWheel
from commonwheel.limits import Limits
from commonwheel.wheel_rules import WheelRule as Rule
from commonwheel.zip_archive import ZipArchive
from commonwheel.zip_data import unpack
from zip_file import (
    FULL,
    STORED,
    STREAMED,
    UTF8,
    Part,
    archive,
    deflate,
    descriptor,
    extra,
    streamed,
    wide,
)

PATH = Path("x.whl")
TEXT = Part("a/text.txt", b"text " * 100)
RAW = Part("a/raw.bin", bytes(range(256)), STORED)
SIZES = (len(TEXT.content), len(TEXT.packed()))
BOTH = {"size": FULL, "packed": FULL, "extra": wide(*SIZES)}


def read(content: bytes) -> list[tuple[str, bytes]]:
    """All that is in an archive."""
    file = io.BytesIO(content)
    opened = ZipArchive(PATH, file, Limits())
    return [(m.name, b"".join(unpack(PATH, file, m))) for m in opened.members]


def read_by_others(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return [(name, opened.read(name)) for name in opened.namelist()]


def offset_in_64_bits(headers: list[bytes]) -> list[bytes]:
    """The central folder, the second member's place given in a zip64 field."""
    first, second = headers
    place = int.from_bytes(second[42:46], "little")
    name = second[46:]
    field = wide(place)
    sizes = len(name).to_bytes(2, "little") + len(field).to_bytes(2, "little")
    fixed = second[:28] + sizes + second[32:42] + b"\xff\xff\xff\xff"
    return [first, fixed + name + field]


def of_two_gigabytes() -> bytes:
    """What :mod:`zipfile` makes of an archive whose size needs 32 bits, not 31."""
    file = io.BytesIO()
    with (
        patch.object(zipfile, "ZIP64_LIMIT", 64),
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened,
    ):
        for part in (TEXT, RAW):
            opened.writestr(str(part.name), part.content)
    return file.getvalue()


RIGHT = {
    "nothing": archive([]),
    "stored and deflated": archive([TEXT, RAW]),
    "empty": archive([Part("a", b""), Part("b", b"", STORED)]),
    "folders": archive([Part("a/", b"", STORED), Part("b/"), TEXT]),
    "text in another alphabet": archive([Part("包/é", b"x", flags=UTF8), TEXT]),
    "ASCII that says it is UTF-8": archive([TEXT.but(flags=UTF8)]),
    "how it was deflated": archive([TEXT.but(flags=0x0002 | 0x0004)]),
    "the central folder in another order": archive(
        [TEXT, RAW], listed=lambda headers: headers[::-1]
    ),
    "extra fields": archive(
        [
            TEXT.but(
                local={"extra": extra(0x5455, b"\1abcd") + extra(0x7875, b"")},
                central={"extra": extra(0x5455, b"\1")},
            )
        ]
    ),
    "its own name in an extra field": archive(
        [TEXT.but(central={"extra": extra(0x7075, b"\1\0\0\0\0" + TEXT.raw)})]
    ),
    "streamed": archive([streamed(TEXT), RAW]),
    "streamed, no signature": archive([streamed(TEXT, signed=False), RAW]),
    "streamed, figures in front too": archive(
        [TEXT.but(flags=STREAMED, descriptor=descriptor(TEXT)), RAW]
    ),
    "streamed, its size in front too": archive(
        [streamed(TEXT).but(local={"crc": 0, "packed": 0}), RAW]
    ),
    "stored, figures in front and behind": archive(
        [RAW.but(flags=STREAMED, descriptor=descriptor(RAW)), TEXT]
    ),
    "streamed in 64 bits": archive(
        [
            streamed(
                TEXT.but(local={"size": FULL, "packed": FULL, "extra": wide(0, 0)}),
                layout="<LQQ",
            ).but(local={"crc": 0, "size": FULL, "packed": FULL, "extra": wide(0, 0)}),
            RAW,
        ]
    ),
    "sizes in 64 bits": archive([TEXT.but(local=BOTH), RAW]),
    "sizes in 64 bits in the central folder": archive([TEXT.but(central=BOTH), RAW]),
    "sizes in 64 bits beside those in 32": archive(
        [TEXT.but(local={"extra": wide(*SIZES)}), RAW]
    ),
    "one size in 64 bits": archive(
        [TEXT.but(central={"size": FULL, "extra": wide(SIZES[0])}), RAW]
    ),
    "a place in 64 bits": archive([TEXT, RAW], listed=offset_in_64_bits),
    "an end in 64 bits": archive([TEXT, RAW], large={}),
    "an end in 64 bits that nobody needs": archive([TEXT, RAW], large={}, full=False),
    "what zipfile writes of 2 to 4 GiB": of_two_gigabytes(),
    "an end in 64 bits for one figure": archive([TEXT, RAW], large={}, end={"count": 2}),
    "a signature in the data": archive(
        [Part("x", b"PK\5\6PK\1\2PK\3\4PK\6\7", STORED), TEXT]
    ),
}


@pytest.mark.parametrize("content", RIGHT.values(), ids=RIGHT)
def test_reads_what_others_read(content: bytes) -> None:
    assert read(content) == read_by_others(content)


def test_as_many_members_as_an_end_record_can_count() -> None:
    """That is no sign of a zip64 record: :mod:`zipfile` writes none for these."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for number in range(0xFFFF):
            opened.writestr(f"{number:x}", b"")
    assert b"PK\6\7" not in file.getvalue()
    assert len(ZipArchive(PATH, file, Limits()).members) == 0xFFFF


LAST = archive([TEXT, RAW])
WRONG = {
    # these two are what the hostile wheels of `hostile_wheels.py` cannot be made of
    "a descriptor without signature that looks like one": (
        Rule.DATA_DESCRIPTOR,
        archive(
            [
                TEXT.but(
                    flags=STREAMED,
                    local={"crc": 0x08074B50},
                    central={"crc": 0x08074B50},
                    descriptor=b"PK\7\x08" + descriptor(TEXT, signed=False)[4:],
                ),
                RAW,
            ]
        ),
    ),
    "an end record in the end record": (
        Rule.END_RECORD,
        LAST[:-10] + b"PK\5\6" + LAST[-6:],
    ),
    "one size in 64 bits before the data": (
        Rule.ZIP64,
        archive([TEXT.but(local={"size": FULL, "extra": wide(SIZES[0])}), RAW]),
    ),
    "a locator in the name of the last member": (
        Rule.ZIP64,
        archive([TEXT, Part(b"PK\6\7".ljust(20, b"x"), b"")]),
    ),
    "a local header of a newer format": (
        Rule.COMPRESSION,
        archive([TEXT.but(local={"needed": 50}), RAW]),
    ),
    "a place beyond the end": (
        Rule.GAP,
        archive([TEXT.but(central={"begin": 9_999})]),
    ),
    "a name beyond the end": (
        Rule.CENTRAL_FOLDER,
        archive([TEXT], listed=lambda headers: [headers[0][:-3]]),
    ),
}


@pytest.mark.parametrize(("rule", "content"), WRONG.values(), ids=WRONG)
def test_refuses(rule: Rule, content: bytes) -> None:
    with pytest.raises(InvalidWheel) as caught:
        read(content)
    assert caught.value.rule is rule


@pytest.mark.parametrize("method", ["deflated", "stored"])
def test_memory_does_not_grow_with_a_member(method: str) -> None:
    content = bytes(24 << 20)
    part = Part("x", content, data=deflate(content))
    if method == "stored":
        part = Part("x", content, STORED)
    file = io.BytesIO(archive([part]))
    opened = ZipArchive(PATH, file, Limits(ratio=10_000))
    tracemalloc.start()
    try:
        total = sum(map(len, unpack(PATH, file, opened.members[0])))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == len(content)
    assert peak < 2 << 20


def test_no_more_is_unpacked_than_is_said() -> None:
    """Not even of an archive that would go on for long."""
    claims = {"size": 10}
    part = Part("x", bytes(50 << 20), local=claims, central=claims)
    file = io.BytesIO(archive([part]))
    opened = ZipArchive(PATH, file, Limits())
    blocks: list[bytes] = []
    with pytest.raises(InvalidWheel, match="more than the 10 bytes"):
        blocks.extend(unpack(PATH, file, opened.members[0]))
    assert sum(map(len, blocks)) <= 10
    assert file.tell() < 2 << 20
