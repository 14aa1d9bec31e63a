"""A network that misbehaves: a proxy before a test's server, told by the test what to do to each request."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Request:
    """A request on its way: verb, path with the query, headers by lower-case name, and body."""

    verb: str
    path: str
    headers: dict[str, str]
    body: bytes

    def to_bytes(self) -> bytes:
        lines = [f"{self.verb} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


@dataclass(frozen=True)
class Trouble:
    """What happens to a request.

    With *reaches* false it never gets to the server. Then *answer* is sent, or else as much of the server's
    as *share* says, in pieces with *delay* seconds between them; a share below 1 ends with a cut connection.
    """

    reaches: bool = True
    answer: bytes | None = None
    share: float = 1.0
    delay: float = 0.0


NONE = Trouble()
LOST_REQUEST = Trouble(reaches=False)
LOST_ANSWER = Trouble(share=0.0)
CUT_ANSWER = Trouble(share=0.7)
SLOW_LINK = Trouble(delay=0.02)

_PIECES = 8


def refusal(status: str, body: bytes = b"") -> Trouble:
    """An answer that some machine on the way gives in place of the server."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return Trouble(reaches=False, answer=head.encode() + body)


@dataclass
class Proxy:
    """Passes requests on to the server at *target*, one for a connection; *trouble* may change a request."""

    target: str
    trouble: Callable[[Request], Trouble]
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            if (request := _read_request(connection)) is None:
                return
            self.requests.append(f"{request.verb} {request.path}")
            trouble = self.trouble(request)
            answer = self._asked(request) if trouble.reaches else b""
            answer = answer if trouble.answer is None else trouble.answer
            _send(connection, answer[: int(len(answer) * trouble.share)], trouble.delay)

    def _asked(self, request: Request) -> bytes:
        place = urlsplit(self.target)
        request.headers["connection"] = "close"
        with socket.create_connection((place.hostname or "", place.port or 80)) as server:
            server.sendall(request.to_bytes())
            answer = b""
            while piece := server.recv(1 << 20):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"Connection: close", b"", b""]) + body


@contextmanager
def proxy_to(target: str, trouble: Callable[[Request], Trouble] = lambda request: NONE) -> Iterator[Proxy]:
    """A proxy on a free port in front of *target*, an address such as ``http://127.0.0.1:5000``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(target, trouble, address=f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _read_request(connection: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(1 << 16)
        if not piece:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    verb, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.pop("expect", None):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(1 << 20)
    return Request(verb, path, headers, body)


def _send(connection: socket.socket, data: bytes, delay: float) -> None:
    if not delay:
        connection.sendall(data)
        return
    size = max(1, -(-len(data) // _PIECES))
    for start in range(0, len(data), size):
        connection.sendall(data[start : start + size])
        time.sleep(delay)
