"""A package index on this machine, that notes what it is asked and can be tampered with.

Follows https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from packaging.utils import canonicalize_name

_JSON = "application/vnd.pypi.simple.v1+json"


class Index:
    """Serves the files of a folder, all projects with their hashes and sizes."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = f"{url}/simple"
        self.files = f"{url}/files"
        self.asked: list[str] = []
        """Paths, since the last time that somebody cleared it."""
        self.altered: dict[str, bytes] = {}
        """What is sent for a file in the place of what is told of it."""
        self.wait = threading.Event()
        """Files are sent while it is set."""
        self.wait.set()

    def project(self, name: str) -> dict[str, object]:
        """What the index tells of the project ``name``."""
        found = [
            path
            for path in sorted(self.folder.iterdir())
            if canonicalize_name(path.name.split("-")[0]) == name
        ]
        return {
            "meta": {"api-version": "1.1"},
            "name": name,
            "versions": sorted({path.name.split("-")[1] for path in found}),
            "files": [
                {
                    "filename": path.name,
                    "url": f"{self.files}/{path.name}",
                    "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                    "size": path.stat().st_size,
                }
                for path in found
            ],
        }


@contextmanager
def serve(folder: Path) -> Iterator[Index]:
    """While this lasts, the files in ``folder`` are on an index."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            index.asked.append(self.path)
            kind, _, name = unquote(self.path).strip("/").partition("/")
            if kind == "simple":
                self._send(json.dumps(index.project(name)).encode(), _JSON)
            elif (folder / name).is_file():
                index.wait.wait()
                content = index.altered.get(name) or (folder / name).read_bytes()
                self._send(content, "application/octet-stream")
            else:
                self.send_error(404)

        def do_HEAD(self) -> None:
            self.send_error(405)

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked is gone
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index = Index(folder, f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield index
    finally:
        index.wait.set()
        server.shutdown()
        thread.join()
        server.server_close()
