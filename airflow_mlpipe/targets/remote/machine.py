"""A machine that answers by SSH: programs are sent to it, and their answers come back.

The only command that its shell ever sees is that of an interpreter which reads a program from its standard
input. Whatever an author wrote travels there, too, as JSON.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Any

import paramiko

from airflow_mlpipe.errors import InfrastructureError, TargetError

log = logging.getLogger(__name__)

# A connection has a thread of its own that logs what it does. A signal handler that ends a step needs it, and
# may have interrupted what holds the lock of a log: the thread would wait for that, the handler for it.
logging.getLogger("paramiko").setLevel(logging.WARNING)

FIRST_PATIENCE_SECONDS = 30.0  # for a machine that was never reached: its name may be wrong
ANSWER_SECONDS = 60.0
SILENT_SECONDS = 30.0  # after which a stream that says nothing is asked whether it is still there
FASTEST_RETRY_SECONDS = 0.5
SLOWEST_RETRY_SECONDS = 15.0
CHUNK_BYTES = 64 * 1024

TOO_OLD, NOT_EXECUTABLE, NOT_FOUND = 76, 126, 127
NEVER_TOLD = -1  # the exit code of a program that the connection did not survive

# Whatever a shell prints when it starts comes before.
SENTINEL = b"--mlpipe--\n"

# For any Python 3, so that one which is too old can say so.
_LOADER = (
    "import sys; sys.version_info < (3, 10) and "
    f"(sys.stderr.write('%d.%d' % sys.version_info[:2]), sys.exit({TOO_OLD})); "
    f"stream = sys.stdin.buffer; sys.stdout.buffer.write({SENTINEL!r}); sys.stdout.flush(); "
    "exec(stream.read(int(stream.readline())))"
)
_SERVE = "serve(VERBS, sys.stdin.buffer)"
_FOLLOW = "follow(**json.loads(sys.stdin.buffer.readline()))"

# A key that is refused is tried as one of every other kind, and the last of these failures is what is told.
_WRONG_KEY = re.compile(r"encountered \w+ key|private key|invalid key|unpack", re.IGNORECASE)


class ConnectionLost(Exception):
    """The connection ended before the machine had answered."""


class Machine:
    """One machine.

    *connect* opens a connection to it; *name* is what messages call it, *python* its interpreter. A
    connection that is lost is made again for *patience* seconds; so what is asked must be harmless twice.
    Every method raises TargetError when the machine cannot be used as it is described, and
    InfrastructureError when it is not reached or fails. One thread at a time.
    """

    def __init__(
        self,
        connect: Callable[[], paramiko.SSHClient],
        *,
        name: str,
        python: str,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._connect = connect
        self._name = name
        self._python = python
        self._patience = patience
        self._clock = clock
        self._wait = wait
        self._client: paramiko.SSHClient | None = None
        self._servers: dict[str, _Conversation] = {}
        self._was_reached = False

    def ask(
        self, program: str, request: dict[str, Any], body: bytes = b"", *, seconds: float = ANSWER_SECONDS
    ) -> dict[str, Any]:
        """What *program*, a module of :mod:`~airflow_mlpipe.targets.remote.there`, answers to *request*.

        It finds *body* after the request, and has some *seconds* to answer. It stays, and answers the next
        request without being started again.
        """
        outage = _Outage(self._clock, self._wait)
        message = json.dumps(request).encode() + b"\n" + body
        while True:
            try:
                with _losing(self._name):
                    # Whoever is interrupted here leaves half an answer to nobody.
                    server = self._servers.pop(program, None) or self._start(program, _SERVE)
                    answer = json.loads(server.exchange(message, seconds))
                    self._servers[program] = server
                break
            except ConnectionLost as error:
                self._endure(outage, error)
        if "failure" in answer:
            kind = TargetError if answer["failure"] == "target" else InfrastructureError
            raise kind(f"{self._name} answers: {answer['message']}")
        document: dict[str, Any] = answer["answer"]
        return document

    def follow(self, program: str, folder: str, offset: int) -> Iterator[bytes]:
        """All that *program* prints of *folder* from byte *offset* on, as it comes, until it ends.

        Each byte comes once, however often the connection is lost meanwhile.
        """
        outage = _Outage(self._clock, self._wait)
        while True:
            try:
                with _losing(self._name), closing(self._start(program, _FOLLOW)) as conversation:
                    request = {"folder": folder, "offset": offset}
                    conversation.say(json.dumps(request).encode() + b"\n", is_all=True)
                    outage.is_over()
                    for chunk in conversation.chunks(SILENT_SECONDS, self._see_that_it_is_there):
                        offset += len(chunk)
                        yield chunk
                return
            except ConnectionLost as error:
                self._endure(outage, error)

    def close(self) -> None:
        """End the connection; the next request makes another one."""
        client, self._client = self._client, None
        self._servers.clear()
        if client is not None:
            with suppress(Exception):
                client.close()

    def _endure(self, outage: _Outage, error: ConnectionLost) -> None:
        self.close()
        first = min(FIRST_PATIENCE_SECONDS, self._patience)
        outage.bear(error, self._patience if self._was_reached else first)

    def _start(self, program: str, call: str) -> _Conversation:
        """Run *call* in *program* on the machine."""
        transport = self._connected().get_transport()
        if transport is None:
            raise ConnectionLost(f"{self._name} has closed the connection")
        channel = transport.open_session(timeout=SILENT_SECONDS)
        channel.settimeout(SILENT_SECONDS)
        channel.exec_command(f"{shlex.quote(self._python)} -I -X utf8 -c {shlex.quote(_LOADER)}")
        source = b"\n".join([*(_statement(name) for name in ("serving", program)), call.encode()])
        conversation = _Conversation(channel, self._why_it_ended)
        conversation.say(b"%d\n%s" % (len(source), source))
        conversation.await_sentinel()
        return conversation

    def _see_that_it_is_there(self) -> None:
        """Raise whatever comes of it when the machine does not answer."""
        self._start("serving", "").close()

    def _why_it_ended(self, code: int, complaint: str) -> Exception:
        """The failure of a program that ended with *code*."""
        if code == NEVER_TOLD:
            return ConnectionLost(f"the connection to {self._name} was lost")
        if code == TOO_OLD:
            return TargetError(
                f"{self._python} on {self._name} is Python {complaint}, and a step needs 3.10 or newer; "
                "install one there, and name it as python of the compute target"
            )
        if code in (NOT_FOUND, NOT_EXECUTABLE):
            return TargetError(
                f"{self._python!r} on {self._name} cannot be started ({complaint}); install Python 3.10 or "
                "newer there, or name its absolute path as python of the compute target"
            )
        return InfrastructureError(f"{self._name} answers: {complaint or f'exit code {code}'}")

    def _connected(self) -> paramiko.SSHClient:
        if self._client is None:
            self._client = self._new_connection()
            self._was_reached = True
        return self._client

    def _new_connection(self) -> paramiko.SSHClient:
        try:
            return self._connect()
        except paramiko.BadHostKeyException as error:
            raise TargetError(
                f"{self._name} shows another host key than the one that is known of it ({error}); somebody "
                "may be in between: ask who runs it, and correct the known_hosts of this worker, or host_key "
                "in the connection"
            ) from error
        except FileNotFoundError as error:
            raise TargetError(
                f"the connection to {self._name} names a file that is not on this worker: {error}"
            ) from error
        except paramiko.SSHException as error:
            if "not found in known_hosts" in str(error):
                raise TargetError(
                    f"the host key of {self._name} is not known to this worker ({error}); add it to "
                    "~/.ssh/known_hosts, or as host_key to the extra of the connection"
                ) from error
            if isinstance(error, paramiko.AuthenticationException) or _WRONG_KEY.search(str(error)):
                raise TargetError(
                    f"{self._name} does not let this worker in ({error}); check the login, and the key or "
                    "password, of the connection"
                ) from error
            raise ConnectionLost(f"{self._name} is not reached: {error}") from error
        except (OSError, EOFError) as error:
            raise ConnectionLost(f"{self._name} is not reached: {error}") from error


class _Outage:
    """How long a machine was not reached, within one request."""

    def __init__(self, clock: Callable[[], float], wait: Callable[[float], object]) -> None:
        self._clock = clock
        self._wait = wait
        self._began: float | None = None
        self._pause = FASTEST_RETRY_SECONDS

    def bear(self, error: ConnectionLost, patience: float) -> None:
        """Wait a while before the next try. Raises InfrastructureError after *patience* seconds."""
        if self._began is None:
            self._began = self._clock()
            log.warning("%s; trying again for %g s", error, patience)
        if self._clock() + self._pause > self._began + patience:
            raise InfrastructureError(
                f"{error}, and was tried again for {patience:g} s; check the network, the machine, and host "
                "and port of the connection"
            ) from error
        self._wait(self._pause)
        self._pause = min(2 * self._pause, SLOWEST_RETRY_SECONDS)

    def is_over(self) -> None:
        """The machine was heard of."""
        self._began, self._pause = None, FASTEST_RETRY_SECONDS


class _Conversation:
    """A program at work on the machine. Whatever goes wrong with the connection is for the caller to catch.

    *why_ended* makes the exception from the exit code and the last words of a program that ends too early.
    """

    def __init__(self, channel: paramiko.Channel, why_ended: Callable[[int, str], Exception]) -> None:
        self._channel = channel
        self._why_ended = why_ended
        self._received = b""

    def say(self, message: bytes, *, is_all: bool = False) -> None:
        """Send *message*, and that nothing follows when it *is_all*."""
        with suppress(OSError):  # a program that has ended says why when it is listened to
            self._channel.sendall(message)
            if is_all:
                self._channel.shutdown_write()

    def await_sentinel(self) -> None:
        """Pass over what the machine says before the program does."""
        self._until(SENTINEL)

    def exchange(self, message: bytes, seconds: float) -> bytes:
        """The line that answers *message*, within *seconds*."""
        self._channel.settimeout(seconds)
        self.say(message)
        return self._until(b"\n")

    def chunks(self, silent_seconds: float, check: Callable[[], object]) -> Iterator[bytes]:
        """What the program prints until it ends well; *check* is called each time it is silent so long."""
        self._channel.settimeout(silent_seconds)
        if self._received:
            yield self._received
        while True:
            try:
                chunk = self._channel.recv(CHUNK_BYTES)
            except TimeoutError:
                check()
                continue
            if not chunk:
                break
            yield chunk
        if self._channel.recv_exit_status() != 0:
            raise self._failure()

    def close(self) -> None:
        self._channel.close()

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            chunk = self._channel.recv(CHUNK_BYTES)
            if not chunk:
                raise self._failure()
            self._received += chunk
        text, _, self._received = self._received.partition(end)
        return text

    def _failure(self) -> Exception:
        complaint = b"".join(iter(lambda: self._channel.recv_stderr(CHUNK_BYTES), b""))
        last = complaint.decode("utf8", errors="replace").strip().rpartition("\n")[2]
        return self._why_ended(self._channel.recv_exit_status(), last)


@contextmanager
def _losing(name: str) -> Iterator[None]:
    """Whatever goes wrong with a connection in this block is ConnectionLost."""
    try:
        yield
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise ConnectionLost(f"the connection to {name} was lost: {error or type(error).__name__}") from error


@cache
def _statement(program: str) -> bytes:
    """A statement that runs the source of *program* in the namespace of whoever runs the statement."""
    text = files("airflow_mlpipe.targets.remote.there").joinpath(f"{program}.py").read_text("utf8")
    return f"exec(compile({text!r}, {program!r}, 'exec'))".encode()
