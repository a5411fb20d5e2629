"""Make `docs/picture.svg`: what a user sees, from a real run on real packages.

Run by `tox -e picture`. Two environments are filled one after the other with the same
packages, from a store that is empty at first.
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
        for name in ("first", "second"):
            environment = Path(folder, name)
            run(sys.executable, "-m", "venv", environment)
            run(environment / "bin/python", "-m", "pip", "install", "-q", CHECKOUT)
            show_install(console, environment)
        show_status(console, environment)
    console.save_svg(str(CHECKOUT / "docs/picture.svg"), title="commonwheel")


def show_install(console: Console, environment: Path) -> None:
    console.print(Text(f"({environment.name}) $ ", "bold green"), end="")
    console.print("pip install --use-shared-store", *PACKAGES)
    pip = [environment / "bin/python", "-m", "pip", "install", "--use-shared-store"]
    started = time.monotonic()
    printed = run(*pip, "--progress-bar=off", *PACKAGES)
    passed = time.monotonic() - started
    last = next(line for line in printed.splitlines() if line.startswith("Successfully"))
    console.print(last if len(last) < COLUMNS else f"{last[: COLUMNS - 3]}...")
    console.print(f"{passed:.0f} s\n", style="dim")


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
