"""What registries of images answer about a name, by the OCI distribution protocol."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.model.image_name import DOCKER_HUB, ImageName

_TIMEOUT = httpx.Timeout(10.0)
_HUB_HOST = "registry-1.docker.io"
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class RegistryLogin:
    """Who one is at a registry. ``plain_http`` is for a registry without TLS."""

    username: str = ""
    password: str = field(default="", repr=False)
    plain_http: bool = False


Logins = Callable[[str], RegistryLogin]
"""The login at the registry with a host, an empty one when there is none."""


class Registries:
    """Asks the registries of images, with *logins*."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    def digest(self, name: ImageName) -> str | None:
        """The digest that *name* has in its registry now; None when the registry has none of that name.

        Of an image for several platforms it is that of the whole. Raises TargetError when the registry
        refuses to tell, InfrastructureError when it does not answer.
        """
        login = self._logins(name.registry)
        problems = []
        for base in _addresses(name.registry, plain_http=login.plain_http):
            try:
                with httpx.Client(base_url=base, timeout=_TIMEOUT, follow_redirects=True) as client:
                    return _digest_at(client, name, login)
            except httpx.HTTPError as error:
                problems.append(f"{base}: {error or type(error).__name__}")
        raise InfrastructureError(f"the registry {name.registry} does not answer ({'; '.join(problems)})")


def _addresses(registry: str, *, plain_http: bool) -> Iterator[str]:
    host = _HUB_HOST if registry == DOCKER_HUB else registry
    if not plain_http:
        yield f"https://{host}"
    if plain_http or _is_loopback(host):  # as Docker does
        yield f"http://{host}"


def _is_loopback(host: str) -> bool:
    name = host.partition(":")[0]
    return name == "localhost" or name.startswith("127.")


def _digest_at(client: httpx.Client, name: ImageName, login: RegistryLogin) -> str | None:
    path = f"/v2/{name.repository}/manifests/{name.digest or name.tag or 'latest'}"
    headers = {"Accept": _MANIFESTS}
    response = client.head(path, headers=headers)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        headers["Authorization"] = _authorization(client, name, login, response)
        response = client.head(path, headers=headers)
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    if not response.is_success:
        as_whom = f"as {login.username!r}" if login.username else "without a login"
        raise TargetError(
            f"the registry {name.registry} does not tell {as_whom} what {name.text} is: it answers "
            f"{response.status_code} {response.reason_phrase}; give it a connection of type docker"
        )
    digest = response.headers.get("Docker-Content-Digest", "")
    if not _DIGEST.fullmatch(digest):
        content = client.get(path, headers=headers).raise_for_status().content
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return str(digest)


def _authorization(
    client: httpx.Client, name: ImageName, login: RegistryLogin, refusal: httpx.Response
) -> str:
    """What to answer to a *refusal*: the login itself, or a token that the named server gives for it."""
    challenge = refusal.headers.get("WWW-Authenticate", "")
    own = httpx.BasicAuth(login.username, login.password) if login.username else None
    if not challenge.lower().startswith("bearer"):
        request = httpx.Request("GET", client.base_url)
        return next(own.auth_flow(request)).headers["Authorization"] if own else ""
    fields = dict(_CHALLENGE.findall(challenge))
    realm = fields.get("realm", "")
    if urlsplit(realm).scheme != "https" and client.base_url.scheme == "https":
        raise TargetError(f"the registry {name.registry} sends logins to {realm!r}, which is not https")
    wanted = {"service": fields.get("service", ""), "scope": f"repository:{name.repository}:pull"}
    with httpx.Client(auth=own, timeout=_TIMEOUT) as server:
        answer = server.get(realm, params=wanted)
    if not answer.is_success:
        raise TargetError(
            f"the registry {name.registry} refuses the login {login.username!r} for {name.text}: it answers "
            f"{answer.status_code} {answer.reason_phrase}; correct its connection of type docker"
        )
    try:
        document = answer.json()
        return f"Bearer {document.get('token') or document['access_token']}"
    except (ValueError, KeyError, AttributeError) as error:
        raise TargetError(f"the registry {name.registry} gave no token for {name.text}") from error
