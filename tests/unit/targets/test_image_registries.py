"""Registries that give tokens, as Docker Hub does; a real one with passwords is in the tests of targets."""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.targets.images.registry import Registries, RegistryLogin

MANIFEST = b'{"schemaVersion": 2}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"


class TokenRegistry(BaseHTTPRequestHandler):
    """Has ``team/train:1`` for who brings a token for it, and gives one to mlpipe alone."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        authorization = self.headers.get("Authorization", "")
        if path == "/token":
            known = b64decode(authorization.removeprefix("Basic ")) == b"mlpipe:pw"
            self.answer(200, json.dumps({"token": query["scope"][0]}).encode()) if known else self.answer(401)
        elif authorization != f"Bearer repository:{path[4:].partition('/manifests/')[0]}:pull":
            host, port = self.server.server_address[:2]
            realm = f'Bearer realm="http://{host!s}:{port}/token",service="test",scope="x"'
            self.answer(401, headers={"WWW-Authenticate": realm})
        elif path == "/v2/team/train/manifests/1":
            self.answer(200, MANIFEST)
        else:
            self.answer(404)

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), TokenRegistry) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_token_is_fetched_with_the_login_and_the_digest_is_that_of_the_manifest(host: str) -> None:
    registries = Registries(lambda registry: RegistryLogin("mlpipe", "pw"))
    assert registries.digest(ImageName.parse(f"{host}/team/train:1")) == DIGEST
    assert registries.digest(ImageName.parse(f"{host}/team/train:2")) is None


def test_a_refused_login_is_named_and_its_password_is_not(host: str) -> None:
    registries = Registries(lambda registry: RegistryLogin("mlpipe", "wrong-word"))
    with pytest.raises(TargetError, match="refuses the login 'mlpipe'") as refused:
        registries.digest(ImageName.parse(f"{host}/team/train:1"))
    assert "wrong-word" not in str(refused.value)


def test_a_registry_that_is_not_there_is_the_fault_of_no_author() -> None:
    registries = Registries(lambda registry: RegistryLogin(plain_http=True))
    with pytest.raises(InfrastructureError, match=r"the registry 127\.0\.0\.1:9 does not answer"):
        registries.digest(ImageName.parse("127.0.0.1:9/a:1"))
