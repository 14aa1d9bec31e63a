"""As much of Google Cloud Storage as changes and lists objects: generations, and pages of two."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class _Objects:
    """Objects by name, each with its generation, which no other state of any object ever had."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stored: dict[str, tuple[int, bytes]] = {}
        self.last = 0

    def put(self, name: str, data: bytes) -> int:
        self.last += 1
        self.stored[name] = (self.last, data)
        return self.last


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: _Objects

    def do_GET(self) -> None:
        place, query = self._asked()
        if place.endswith("/o"):
            prefix = query.get("prefix", "")
            names = [name for name in sorted(self.objects.stored) if name.startswith(prefix)]
            begin = int(query.get("pageToken", 0))
            more = {"nextPageToken": str(begin + 2)} if begin + 2 < len(names) else {}
            items = [self._described(name) for name in names[begin : begin + 2]]
            return self._answer(200, {"items": items, **more})
        name = place.partition("/o/")[2]
        if name not in self.objects.stored:
            return self._answer(404, {"error": {"message": "No such object"}})
        generation, data = self.objects.stored[name]
        if query.get("alt") == "media":
            return self._answer(200, data, {"X-Goog-Generation": str(generation)})
        return self._answer(200, self._described(name))

    def do_POST(self) -> None:
        _, query = self._asked()
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = query["name"]
        with self.objects.lock:
            if not self._condition_holds(name, query):
                return self._answer(412, {"error": {"message": "conditionNotMet"}})
            self.objects.put(name, data)
        return self._answer(200, self._described(name))

    def do_DELETE(self) -> None:
        place, query = self._asked()
        name = place.partition("/o/")[2]
        with self.objects.lock:
            if name not in self.objects.stored:
                return self._answer(404, {"error": {"message": "No such object"}})
            if not self._condition_holds(name, query):
                return self._answer(412, {"error": {"message": "conditionNotMet"}})
            del self.objects.stored[name]
        return self._answer(204, b"")

    def _asked(self) -> tuple[str, dict[str, str]]:
        asked = urlsplit(self.path)
        return unquote(asked.path), {key: values[0] for key, values in parse_qs(asked.query).items()}

    def _condition_holds(self, name: str, query: dict[str, str]) -> bool:
        generation, _ = self.objects.stored.get(name, (0, b""))
        return query.get("ifGenerationMatch", str(generation)) == str(generation)

    def _described(self, name: str) -> dict[str, Any]:
        generation, data = self.objects.stored[name]
        moment = "2026-01-01T00:00:00Z"
        return {
            "name": name,
            "size": str(len(data)),
            "generation": str(generation),
            "timeCreated": moment,
            "updated": moment,
        }

    def _answer(
        self, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def google_server() -> Iterator[str]:
    """The address of a server that has a bucket of any name, all of them one."""
    handler = type("Handler", (_Handler,), {"objects": _Objects()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
