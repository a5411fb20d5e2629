"""What all servers answer. Tests edit the first line of the text."""

import labour

WORD = "before"


def text() -> str:
    return f"{WORD} {labour.VERSION}"
