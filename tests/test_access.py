"""Access: what the permission bits of a folder, and those above it, say of somebody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commonwheel import access, holdings
from commonwheel.environment import Environment
from commonwheel.install import WheelRequest, install_wheels
from commonwheel.link_mode import LinkChoice, LinkMode
from commonwheel.store import Store
from wheel_file import write_wheel

SOMEBODY = 65533
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask the system")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that is reached by everybody."""
    found = Path(os.path.realpath(tmp_path)) / "place"
    found.mkdir()
    for each in (found, *found.parents):
        if each.stat().st_uid == os.geteuid():
            each.chmod(each.stat().st_mode | 0o055)
    return found


@pytest.mark.parametrize(
    ("above", "mode", "can"),
    [
        (0o755, 0o755, True),
        (0o711, 0o755, True),
        (0o755, 0o711, False),
        (0o700, 0o755, False),
        (0o755, 0o700, False),
        (0o770, 0o777, False),
    ],
)
def test_what_others_can_read(place: Path, above: int, mode: int, can: bool) -> None:
    folder = place / "above/folder"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    folder.parent.chmod(above)
    assert access.can_read(SOMEBODY, folder) == can
    assert access.can_read(0, folder)
    if os.geteuid() == 0:
        become = f"os.setgroups([]); os.setgid({SOMEBODY}); os.setuid({SOMEBODY})"
        code = f"import os; {become}; os.listdir({str(folder)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True)
        assert (done.returncode == 0) == can
    folder.parent.chmod(0o755)


@AS_ROOT
def test_its_owner_is_asked_for_by_bits_of_his_own(place: Path) -> None:
    os.chown(place, SOMEBODY, -1)
    place.chmod(0o077)
    assert not access.can_read(SOMEBODY, place)
    place.chmod(0o500)
    assert access.can_read(SOMEBODY, place)


@AS_ROOT
def test_who_cannot_read_the_store_gets_real_files(
    place: Path, environment: Environment, store: Store
) -> None:
    for folder in (environment.scheme.data, environment.scheme.purelib):
        os.chown(folder, SOMEBODY, SOMEBODY)
    store.root.mkdir(mode=0o700)
    wheel = write_wheel(place, {"sample.py": "x = 1"})
    asked = [WheelRequest(wheel)]
    copies = LinkChoice(LinkMode.COPY)
    assert install_wheels(asked, environment, store, links=copies).fallbacks == ()
    done = install_wheels(asked, environment, store)
    assert done.fallbacks == (f"user {SOMEBODY} cannot read {store.root}: real files",)
    assert not (environment.scheme.purelib / "sample.py").is_symlink()
    assert (environment.scheme.purelib / "sample.py").is_file()
    (link,) = holdings.read_links(environment.scheme.purelib)[0]
    assert link.mode is not LinkMode.MANIFEST
    # what it was made of is no concern of who cannot look there
    code = (
        "import os, pathlib; from commonwheel import holdings; "
        f"site = pathlib.Path({str(environment.scheme.purelib)!r}); "
        "(link,) = holdings.read_links(site)[0]; "
        f"os.setuid({SOMEBODY}); assert not holdings.uses_entry(link)"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done_there = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert (done_there.returncode, done_there.stderr) == (0, "")
