"""A Docker engine as a place of images: it has them, fetches them, builds them and sends them on."""

from __future__ import annotations

import io
import ssl
import tarfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from airflow_mlpipe.errors import InfrastructureError, TargetError
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.targets.images.registry import Logins

LAST_WORDS = 20

_ASKED = "mlpipe-resolve"
ASKED_LABEL = "mlpipe.resolve"
"""Names the image whose pip a container asks for versions."""

# What an engine says of its own doings between the steps of a build.
_BESIDE_THE_POINT = (" ---> ", "Removing intermediate container ")
_REGISTRY_ADVICE = (
    "see that its name is right, that the engine reaches its registry, and that a connection of [mlpipe] "
    "image_connections or docker_conn_id has a login where the registry asks for one"
)
_TIMEOUT = httpx.Timeout(30.0)

Say = Callable[[str], None]


class ImageEngine:
    """One engine. *connect* makes its ``docker.APIClient`` when it is needed; *say* gets progress lines.

    At *address*, ``unix://`` or ``http://``, it can be asked which images it has without that client, which
    takes long to load; None where only the client gets through. *remedy* is what to do when it is silent.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        logins: Logins,
        say: Say,
        address: str | None = None,
        remedy: str = "see that it runs and can be reached from here",
    ) -> None:
        self._connect = connect
        self._logins = logins
        self._say = say
        self._address = address
        self._remedy = remedy
        self._client: Any = None

    @property
    def id(self) -> str:
        """What tells the engine from others. Raises InfrastructureError when it does not answer."""
        with self._asking() as client:
            return str(client.info()["ID"])

    def inspect(self, reference: str) -> Mapping[str, Any] | None:
        """What the engine says of the image that it has under *reference*; None when it has none.

        Raises InfrastructureError when it does not answer.
        """
        if self._client is None and self._address is not None:
            return _inspected(self._address, reference, self._remedy)
        from docker.errors import ImageNotFound

        with self._asking() as client:
            try:
                found: Mapping[str, Any] = client.inspect_image(reference)
            except ImageNotFound:
                return None
            return found

    def pull(self, name: ImageName) -> None:
        """Fetch an image from its registry. Raises TargetError with the engine's words."""
        if name.is_id:
            raise TargetError(
                f"the Docker engine has no image {name.text}, and by an id it cannot be fetched; name it by "
                "its repository and digest"
            )
        self._say(f"Fetching the image {name.text}")
        problem = f"the image {name.text} cannot be fetched; {_REGISTRY_ADVICE}"
        with self._asking(problem) as client:
            if name.digest is not None:
                repository, tag = name.at(name.digest).split("@")
            else:
                repository, tag = name.text.removesuffix(f":{name.tag}"), name.tag or "latest"
            answers = client.pull(
                repository, tag=tag, stream=True, decode=True, auth_config=self._login(name)
            )
            self._follow(answers, problem)

    def push(self, name: ImageName) -> str:
        """Send the image that has *name* to its registry; its digest there. Raises TargetError."""
        self._say(f"Sending the image {name.text} to its registry")
        problem = f"the image {name.text} cannot be sent to its registry; {_REGISTRY_ADVICE}"
        with self._asking(problem) as client:
            repository = name.text.removesuffix(f":{name.tag}")
            answers = client.push(
                repository, tag=name.tag, stream=True, decode=True, auth_config=self._login(name)
            )
            digest = None
            for answer in self._followed(answers, problem):
                digest = (answer.get("aux") or {}).get("Digest") or digest
        if digest is None:
            raise TargetError(f"the engine sent {name.text} and did not say what its digest is")
        return str(digest)

    def build(self, dockerfile: str, tag: str | None, labels: Mapping[str, str]) -> str:
        """Build the image that *dockerfile*, which needs no files, describes; its id.

        It gets *tag*, if that is not None, once it is complete. Raises TargetError with the last words of
        what failed.
        """
        image = None
        with self._asking() as client:
            answers = client.build(
                fileobj=_context(dockerfile),
                custom_context=True,
                tag=tag,
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
            )
            for answer in self._followed(answers, "the image of the environment cannot be built"):
                image = (answer.get("aux") or {}).get("ID") or image
        if image is None:
            raise InfrastructureError(
                "the engine stopped building the image of the environment and did not say why"
            )
        return str(image)

    def output(self, image: str, argv: Sequence[str], variables: Mapping[str, str], problem: str) -> str:
        """What the command *argv* prints in a container of *image*, as root, with the network of the engine.

        Raises TargetError with *problem* and the command's last words when it prints nothing, as one that
        fails, and InfrastructureError when it has no words either, as one that was killed. The container goes
        with its process, even when nobody here is left to remove it.
        """
        name = f"{_ASKED}-{uuid.uuid4().hex[:12]}"
        printed, words = bytearray(), bytearray()
        with self._asking() as client:
            rights = client.create_host_config(
                auto_remove=True, cap_drop=["ALL"], security_opt=["no-new-privileges"]
            )
            try:
                client.create_container(
                    image,
                    name=name,
                    command=list(argv),
                    entrypoint="",
                    user="0:0",
                    environment=dict(variables),
                    labels={ASKED_LABEL: image},
                    host_config=rights,
                )
                streams = client.attach(name, stdout=True, stderr=True, stream=True, demux=True)
                client.start(name)
                for output, error in streams:
                    printed += output or b""
                    words += error or b""
            finally:
                _remove(client, name)
        if not printed and not words:
            raise InfrastructureError(
                f"{problem}: nothing; its container was killed, or the engine restarted"
            )
        if not printed:
            last = words.decode(errors="replace").rstrip().splitlines()[-LAST_WORDS:]
            raise TargetError("\n".join([f"{problem}:", *last]))
        return printed.decode(errors="replace")

    def _login(self, name: ImageName) -> dict[str, str] | None:
        login = self._logins(name.registry)
        if not login.username:
            return None  # the engine's client looks into Docker's own configuration
        return {"username": login.username, "password": login.password}

    def _follow(self, answers: Iterable[Mapping[str, Any]], problem: str) -> None:
        for _ in self._followed(answers, problem):
            pass

    def _followed(self, answers: Iterable[Mapping[str, Any]], problem: str) -> Iterator[Mapping[str, Any]]:
        """*answers* of a long operation, told as lines as they come; TargetError for one that is an error."""
        words: deque[str] = deque(maxlen=LAST_WORDS)
        for answer in answers:
            if "error" in answer:
                words.append(str(answer["error"]))
                raise TargetError(f"{problem}; the engine says:\n" + "\n".join(words))
            text = answer.get("stream") or ("" if answer.get("progressDetail") else answer.get("status", ""))
            for line in str(text).splitlines():
                if line.strip() and not line.startswith(_BESIDE_THE_POINT):
                    words.append(line.rstrip())
                    self._say(f"{answer['id']}: {line.rstrip()}" if answer.get("id") else line.rstrip())
            yield answer

    @contextmanager
    def _asking(self, problem: str | None = None) -> Iterator[Any]:
        """The client; errors that are about *problem* begin with it, and then have the engine's words."""
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        try:
            if self._client is None:
                self._client = self._connect()
            yield self._client
        except APIError as error:
            words = error.explanation or error
            if error.is_server_error():
                raise InfrastructureError(
                    f"{problem}; the engine says: {words}"
                    if problem
                    else f"the Docker engine failed: {words}"
                ) from error
            raise TargetError(
                f"{problem}; the engine says: {words}" if problem else f"the Docker engine refuses: {words}"
            ) from error
        except (DockerException, RequestException) as error:
            raise _silence(error, self._remedy) from error


def _inspected(address: str, reference: str, remedy: str) -> Mapping[str, Any] | None:
    """See :meth:`ImageEngine.inspect`."""
    is_socket = address.startswith("unix://")
    socket = address.removeprefix("unix://") if is_socket else None
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loads no certificates, which would take longest
    transport = httpx.HTTPTransport(uds=socket, verify=no_tls, trust_env=False)
    base = "http://docker" if is_socket else address
    try:
        with httpx.Client(base_url=base, transport=transport, timeout=_TIMEOUT) as client:
            answer = client.get(f"/images/{reference}/json")
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            found: Mapping[str, Any] = answer.raise_for_status().json()
            return found
    except (httpx.HTTPError, ValueError) as error:
        raise _silence(error, remedy) from error


def _remove(client: Any, name: str) -> None:
    """Remove the container *name*, which the engine may have removed already or is removing."""
    from docker.errors import APIError

    try:
        client.remove_container(name, force=True)
    except APIError as error:
        if error.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            raise


def _silence(error: Exception, remedy: str) -> InfrastructureError:
    return InfrastructureError(f"the Docker engine does not answer: {error}; {remedy}")


def _context(dockerfile: str) -> io.BytesIO:
    content, archive = dockerfile.encode(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    archive.seek(0)
    return archive
