"""A wire between a client and a server, which a test may cut and mend."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 64 * 1024


class Relay:
    """Passes bytes on between a free port of this machine and the server at *target*, whatever they mean.

    *target* is a host and a port, or the path of a socket of this machine.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._mutex = threading.Lock()
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Break every connection off, and let nobody through."""
        with self._mutex:
            self._is_cut = True
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let everybody through again."""
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)  # or its thread goes on waiting for connections
        self._server.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connection()
            except OSError:  # whoever asked is told so by an end without an answer
                client.close()
                continue
            with self._mutex:
                if self._is_cut:
                    client.close()
                    server.close()
                    continue
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _connection(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._target)
        return connection

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                sink.sendall(chunk)
        with self._mutex:
            self._open -= {source, sink}
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # else whoever waits for it in another thread goes on waiting
            end.close()


@contextmanager
def relay_to(host: str, port: int) -> Iterator[Relay]:
    """A relay to the server at *host* and *port*."""
    relay = Relay((host, port))
    try:
        yield relay
    finally:
        relay.close()
