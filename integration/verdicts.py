"""What this Python says of wheels: ``python verdicts.py FOLDER`` prints it as JSON.

Each folder in FOLDER holds one file. The answer is, by folder, the rule that the file
breaks, or the sha256 of all that it unpacks to. What it imports has to be on the path.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from commonwheel import unpack, wheel
from commonwheel.errors import InvalidWheel


def verdict(path: Path) -> str:
    """The rule that a file breaks, or what it unpacks to."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            unpack.extract(wheel.read(path), root)
        except InvalidWheel as error:
            return error.rule.value
        digest = hashlib.sha256()
        for file in sorted(root.rglob("*")):
            name = file.relative_to(root).as_posix()
            content = file.read_bytes() if file.is_file() else b""
            digest.update(b"%a %o %b\n" % (name, file.stat().st_mode, content))
        return digest.hexdigest()


if __name__ == "__main__":
    print(
        json.dumps(
            {
                folder.name: verdict(next(folder.iterdir()))
                for folder in sorted(Path(sys.argv[1]).iterdir())
            }
        )
    )
