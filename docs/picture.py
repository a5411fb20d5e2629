"""Make `docs/picture.svg`: what a user sees, from a real run on real packages.

Run by `tox -e picture`. Three environments are filled one after the other with the same
packages, which have been downloaded before: one by pip alone, then two from a store that
is empty at first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

CHECKOUT = Path(__file__).parent.parent
PACKAGES = ["pandas", "scikit-learn", "django", "jupyterlab"]
COLUMNS = 88


def main() -> None:
    console = Console(record=True, width=COLUMNS, force_terminal=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COMMONWHEEL_STORE"] = str(Path(folder, "store"))
        run(
            sys.executable, "-m", "pip", "download", "-d", Path(folder, "seen"), *PACKAGES
        )
        for name, options in (
            ("plain", []),
            *[(n, [OPTION]) for n in ("first", "second")],
        ):
            environment = Path(folder, name)
            run(sys.executable, "-m", "venv", environment)
            run(environment / "bin/python", "-m", "pip", "install", "-q", CHECKOUT)
            show_install(console, environment, options)
        show_status(console, environment)
    console.save_svg(str(CHECKOUT / "docs/picture.svg"), title="commonwheel")


OPTION = "--use-shared-store"


def show_install(console: Console, environment: Path, options: list[str]) -> None:
    before = inodes(environment)
    console.print(Text(f"({environment.name}) $ ", "bold green"), end="")
    console.print("pip install", *options, *PACKAGES)
    pip = [environment / "bin/python", "-m", "pip", "install", "--progress-bar=off"]
    started = time.monotonic()
    printed = run(*pip, *options, *PACKAGES)
    passed = time.monotonic() - started
    last = next(line for line in printed.splitlines() if line.startswith("Successfully"))
    console.print(last if len(last) < COLUMNS else f"{last[: COLUMNS - 3]}...")
    made = inodes(environment) - before
    console.print(f"{passed:.0f} s, {made:,} files and folders more\n", style="dim")


def inodes(folder: Path) -> int:
    """How many inodes of its own a folder holds: hard links are the store's."""
    return sum(
        path.is_symlink() or path.is_dir() or path.stat().st_nlink == 1
        for path in folder.rglob("*")
    )


def show_status(console: Console, environment: Path) -> None:
    console.print(Text(f"({environment.name}) $ ", "bold green"), end="")
    console.print("commonwheel status")
    command = [environment / "bin/commonwheel", "status", environment]
    lines = run(*command, COLUMNS=str(COLUMNS)).rstrip().splitlines()
    shown = [*lines[:7], "...", "", lines[-1].replace(f"{environment}/bin/", "")]
    console.print("\n".join(line[:COLUMNS].rstrip() for line in shown[:-1]))
    console.print(shown[-1])


def run(*command: str | Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.args}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
