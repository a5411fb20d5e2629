"""A client for debug adapters, as editors have one.

The messages are those of the Debug Adapter Protocol
(https://microsoft.github.io/debug-adapter-protocol/specification).
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

Message = dict[str, Any]

_PATIENCE = 120
"""Seconds, after which it is ended rather than waited for."""


class DebugAdapter(ExitStack):
    """A running ``debugpy.adapter``, spoken to through pipes."""

    def __init__(self, python: Path, variables: Mapping[str, str]) -> None:
        super().__init__()
        self._sent = 0
        self._process = subprocess.Popen(
            [python, "-m", "debugpy.adapter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
        )
        limit = threading.Timer(_PATIENCE, self._process.kill)
        limit.start()
        self.callback(limit.cancel)
        self.callback(self._process.communicate)
        self.callback(self._process.kill)

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request; gives its number."""
        self._sent += 1
        message = {"seq": self._sent, "type": "request", "command": command}
        data = json.dumps({**message, "arguments": arguments}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()
        return self._sent

    def ask(self, command: str, **arguments: Any) -> Message:
        """Send a request; gives the body of the answer."""
        number = self.send(command, **arguments)
        while True:
            message = self._read()
            if message.get("request_seq") == number:
                assert message["success"], message
                return message.get("body") or {}

    def wait(self, *events: str) -> Message:
        """The next event with one of these names."""
        while True:
            message = self._read()
            if message.get("event") in events:
                return message

    def _read(self) -> Message:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name == b"Content-Length":
                length = int(value)
        assert length, "the debug adapter has ended"
        message: Message = json.loads(self._process.stdout.read(length))
        return message


def debug(
    adapter: DebugAdapter,
    program: Path,
    breakpoints: list[tuple[str, int]],
    *,
    just_my_code: bool,
) -> Message:
    """Run a program with ``breakpoints`` (file, line), stepping into what it calls.

    Gives what is said of each breakpoint, and the stack at each stop.
    """
    adapter.ask("initialize", adapterID="editor", pathFormat="path")
    adapter.send(
        "launch",
        program=str(program),
        cwd=str(program.parent),
        console="internalConsole",
        justMyCode=just_my_code,
    )
    adapter.wait("initialized")
    said = [
        adapter.ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": line}])
        for path, line in breakpoints
    ]
    stops = []
    adapter.send("configurationDone")
    while (event := adapter.wait("stopped", "terminated"))["event"] == "stopped":
        thread = event["body"]["threadId"]
        frames = adapter.ask("stackTrace", threadId=thread)["stackFrames"]
        stack = [[each["name"], each["source"]["path"], each["line"]] for each in frames]
        stops.append([event["body"]["reason"], stack])
        adapter.send(
            "stepIn" if stack[0][1] == str(program) else "continue", threadId=thread
        )
    verified = [
        [each["verified"], each.get("message"), each.get("line")]
        for answer in said
        for each in answer["breakpoints"]
    ]
    return {"breakpoints": verified, "stops": stops}
