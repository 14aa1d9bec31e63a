"""moto's S3 on a free port: prints its address, and ends when its input does.

``python s3_server.py [HOST]``; HOST is the address of this machine to listen on, 127.0.0.1 by default.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
_SMALL = 1_000_000


class OneAtATime:
    """Changes small objects one after the other, as S3 does: moto looks and then writes, with no lock."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        is_small = length < _SMALL and "HTTP_TRANSFER_ENCODING" not in environ
        if environ["REQUEST_METHOD"] not in ("PUT", "POST", "DELETE") or not (
            is_small or any(name in environ for name in _CONDITIONS)
        ):
            return self._application(environ, start_response)
        if is_small:
            # A slow sender keeps nobody waiting.
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self._lock:
            return self._application(environ, start_response)


class Silent(WSGIRequestHandler):
    """Keeps its connections, and tells of no request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, *arguments: Any) -> None:
        pass


def _end_with_our_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_our_starter, daemon=True).start()
    host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    server = make_server(
        host,
        0,
        OneAtATime(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=Silent,
    )
    print(f"http://{host}:{server.server_port}", flush=True)
    server.serve_forever()
