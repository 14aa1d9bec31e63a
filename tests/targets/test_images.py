"""Images of environments on a real engine: told apart by content, built once, sent to a real registry."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.model.compute import ContainerTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.reuse.source import Code
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.targets.environments import StepEnvironment, UnresolvedPackages
from airflow_mlpipe.targets.images.building import LABEL, EnvironmentImages
from airflow_mlpipe.targets.images.engine import ASKED_LABEL, ImageEngine
from airflow_mlpipe.targets.images.environments import ImageEnvironments
from airflow_mlpipe.targets.images.identity import ImageIdentities
from airflow_mlpipe.targets.images.locks import ImageLocks
from airflow_mlpipe.targets.images.registry import Registries, RegistryLogin
from airflow_mlpipe.targets.python_path import PythonPath
from tests.image_registry import PASSWORD, PROGRAM, USER, ImageRegistry, running_registry
from tests.targets.made_images import base, build
from tests.targets.waiting import LATEST_SECONDS

__all__ = ["base"]

CODE = Code(files={}, scope="imports", external=())
ANYBODY = "54321:54321"


class Site:
    """A worker whose engine is at *host* and whose datastore is in *folder*; *told* is what it said.

    *heard* is called with each line of that, before the worker goes on.
    """

    def __init__(
        self,
        host: str,
        folder: Path,
        repository: str = "",
        login: RegistryLogin | None = None,
        heard: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.host = host
        self.folder = folder
        self.repository = repository
        self.login = login or RegistryLogin()
        self.told: list[str] = []
        self._heard = heard

    def environments(self, target: ContainerTarget, *, resolves: bool = True) -> ImageEnvironments:
        """What the worker offers on *target*, asked for the first time."""
        store, say, elsewhere = Datastore.open(str(self.folder)), self._say, self._is_elsewhere(target)
        registries = Registries(lambda host: self.login)
        address = self.host.replace("tcp://", "http://")
        engine = ImageEngine(self._connect, lambda host: self.login, say, address)
        return ImageEnvironments(
            target,
            ImageIdentities(engine, registries, say, prefers_registry=elsewhere),
            ImageLocks(engine, store, (), say, resolves=resolves),
            EnvironmentImages(
                engine,
                registries,
                Leases(store),
                say,
                repository=self.repository,
                starts_elsewhere=elsewhere,
            ),
        )

    def plan(self, environment: Environment, target: ContainerTarget | None = None) -> StepEnvironment:
        return self.environments(target or DockerTarget()).plan(environment, CODE, PythonPath())

    def image(self, environment: Environment, target: ContainerTarget | None = None) -> str:
        """The reference of the image that *environment* has."""
        offered = self.environments(target or DockerTarget())
        return offered.image(offered.plan(environment, CODE, PythonPath()))

    def _say(self, line: str) -> None:
        self.told.append(line)
        self._heard(line)

    def _connect(self) -> Any:
        return docker.APIClient(self.host, version="auto")

    @staticmethod
    def _is_elsewhere(target: ContainerTarget) -> bool:
        return isinstance(target, KubernetesTarget)


@pytest.fixture
def site(docker_host: str, tmp_path: Path) -> Site:
    return Site(docker_host, tmp_path / "store")


@pytest.fixture(scope="module")
def small(docker_client: Any) -> Iterator[str]:
    """An image of a few bytes, which travel fast."""
    name = f"mlpipe-test-small:{uuid.uuid4().hex[:10]}"
    build(docker_client, name, "FROM scratch\nCOPY mark /\n", {"mark": name.encode()})
    yield name
    docker_client.remove_image(name, force=True)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    if not Path(PROGRAM).exists():
        pytest.skip(f"no registry of images: there is no {PROGRAM}; install Debian's docker-registry")
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


# -- which image it is ------------------------------------------------------------------------------------


def test_a_moved_tag_is_another_image_and_what_was_planned_still_starts_as_it_was(
    site: Site, docker_client: Any, base: str
) -> None:
    tag = f"{base}-moving"
    docker_client.tag(base, *tag.split(":"))
    try:
        first = site.plan(Environment(image=tag))
        build(docker_client, tag, f"FROM {base}\nENV MOVED=1\n")
        second = site.plan(Environment(image=tag))
    finally:
        docker_client.remove_image(tag, force=True)
    assert first.document["image"] != second.document["image"]
    assert first.undetermined == second.undetermined == ()
    assert first.image == docker_client.inspect_image(base)["Id"] != second.image


def test_the_same_image_under_another_name_is_the_same(site: Site, docker_client: Any, base: str) -> None:
    other = f"{base}-other"
    docker_client.tag(base, *other.split(":"))
    try:
        planned = site.plan(Environment(image=other), DockerTarget("elsewhere"))
    finally:
        docker_client.remove_image(other)
    assert planned == site.plan(Environment(), KubernetesTarget(image=base))


def test_an_image_that_nobody_knows_is_not_reused_and_the_sentence_says_what_to_do(site: Site) -> None:
    planned = site.plan(Environment(image="127.0.0.1:9/nobody/knows:1"))
    (sentence,) = planned.undetermined
    assert "the Docker engine has no such image" in sentence
    assert "name it by its digest, as 127.0.0.1:9/nobody/knows@sha256:..." in sentence


# -- images that are built --------------------------------------------------------------------------------


def test_two_processes_build_an_image_once_and_any_user_may_start_it(
    site: Site, docker_client: Any, base: str
) -> None:
    hostile = "tiny>=1; python_version >= '3' and extra != '$(touch /tmp/x)`touch /tmp/x`'"
    environment = Environment(dockerfile=f"FROM {base}\n", pip_packages=[hostile])
    context = multiprocessing.get_context("spawn")
    waits, answers = context.Event(), context.Queue()
    given = (site.host, site.folder, environment, waits, answers)
    workers = [context.Process(target=provide, args=given, daemon=True) for _ in "ab"]
    for worker in workers:
        worker.start()
    (image, told), (other, also_told) = answers.get(timeout=300), answers.get(timeout=300)
    for worker in workers:
        worker.join()
    lines = told + also_told
    assert image == other
    assert sum(line.startswith("Building the image") for line in lines) == 1
    assert sum(line.startswith("Waiting for") for line in lines) == 1
    assert any("Successfully installed tiny-2.0" in line for line in lines)
    assert docker_client.inspect_image(image)["Config"]["User"] == "2345"
    printed = run(docker_client, image, "import os, tiny; print(tiny.VERSION, os.path.exists('/tmp/x'))")
    assert printed == "2.0 False\n"
    # What an image has already is not installed again.
    planned = site.plan(Environment(image=image, pip_packages=["tiny"]))
    assert (planned.image, planned.build) == (image, None)


def test_packages_are_resolved_once_and_a_hit_needs_neither_build_nor_pip(
    site: Site, docker_client: Any, base: str
) -> None:
    environment = Environment(image=base, pip_packages=["tiny<2"])
    before = set(environments_on(docker_client))
    planned = site.plan(environment)
    again = site.environments(DockerTarget(), resolves=False).plan(environment, CODE, PythonPath())
    assert planned == again
    assert planned.document["distributions"] == {"tiny": "1.0"}
    assert set(environments_on(docker_client)) == before
    with pytest.raises(UnresolvedPackages, match="the packages tiny were never resolved"):
        site.environments(DockerTarget(), resolves=False).plan(
            Environment(image=base, pip_packages=["tiny"]), CODE, PythonPath()
        )


def test_what_pip_or_conda_says_is_in_the_error(site: Site, base: str) -> None:
    with pytest.raises(TargetError, match="No matching distribution found for tiny==9"):
        site.image(Environment(image=base, pip_packages=["tiny==9"]))
    with pytest.raises(TargetError, match="there is no conda, mamba or micromamba in the image"):
        site.image(Environment(image=base, conda_packages=["numpy"], conda_channels=["conda-forge"]))


def test_a_container_that_is_asked_has_no_rights_and_goes_even_when_who_asks_is_killed(
    site: Site, docker_client: Any, base: str
) -> None:
    asked = f"{base}-asked"
    docker_client.tag(base, *asked.split(":"))
    filters = {"event": ["start", "destroy"], "label": f"{ASKED_LABEL}={asked}"}
    # Of all times: an engine may begin to listen a while after it was asked to.
    events = docker_client.events(since=1, filters=filters, decode=True)
    context = multiprocessing.get_context("spawn")
    asking = context.Process(target=ask, args=(site.host, asked), daemon=True)
    asking.start()
    container = next(events)["id"]
    asking.kill()
    asking.join()
    found = docker_client.inspect_container(container)
    assert found["Name"].startswith("/mlpipe-resolve-")
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    docker_client.kill(container)
    event = next(events)
    assert (event["id"], event["Action"]) == (container, "destroy")
    events.close()


def test_conda_gets_packages_and_channels_as_they_are_written(
    site: Site, docker_client: Any, base: str
) -> None:
    noting = """RUN echo 'echo "$@" >>/said' >/usr/bin/conda && chmod 755 /usr/bin/conda"""
    environment = Environment(
        dockerfile=f"FROM {base}\nUSER 0\n{noting}\nUSER 2345\n",
        conda_packages=["numpy>=1,<3", "python=3.12"],
        conda_channels=["conda-forge"],
    )
    image = site.image(environment)
    assert run(docker_client, image, "print(open('/said').read())") == (
        "install --yes --name base --channel conda-forge numpy>=1,<3 python=3.12\nclean --all --yes\n\n"
    )


def test_another_image_under_the_tag_is_not_taken_for_ours(site: Site, docker_client: Any, base: str) -> None:
    environment = Environment(dockerfile=f"FROM {base}\nENV MARK={uuid.uuid4().hex}\n")
    planned = site.plan(environment)
    assert planned.image is not None
    docker_client.tag(base, *planned.image.split(":"))
    image = site.image(environment)
    assert docker_client.inspect_image(image)["Config"]["Labels"][LABEL].startswith(
        planned.image.split(":")[1]
    )


# -- a registry -------------------------------------------------------------------------------------------


def test_what_one_worker_built_is_sent_to_the_registry_and_others_fetch_it(
    docker_host: str, docker_client: Any, small: str, registry: ImageRegistry, tmp_path: Path
) -> None:
    login, repository = RegistryLogin(USER, PASSWORD), f"{registry.address}/team/environments"
    builder = Site(docker_host, tmp_path / "store", repository, login)
    environment, nodes = Environment(dockerfile=f"FROM {small}\nENV MADE=here\n"), KubernetesTarget()
    reference = builder.image(environment, nodes)
    tag = builder.plan(environment).image
    assert tag is not None
    assert registry.tags("team/environments") == [tag.rpartition(":")[2]]
    assert reference.startswith(f"{repository}@sha256:")

    docker_client.remove_image(tag, force=True)
    other = Site(docker_host, tmp_path / "store", repository, login)
    assert other.image(environment, nodes) == reference
    assert docker_client.images(name=repository) == [], "pods fetch it themselves"
    image = other.image(environment)
    assert not any(line.startswith("Building") for line in other.told)
    assert "MADE=here" in docker_client.inspect_image(image)["Config"]["Env"]
    # Docker and Kubernetes know it by the same digest, whether the engine is asked or the registry.
    by_engine = other.plan(Environment(image=tag)).document
    assert by_engine == other.plan(Environment(image=tag), nodes).document
    assert by_engine["image"] == reference.partition("@")[2]
    docker_client.remove_image(tag, force=True)
    assert other.plan(Environment(image=tag)).document == by_engine


def test_a_registry_that_asks_for_a_login_is_named(
    docker_host: str, registry: ImageRegistry, tmp_path: Path
) -> None:
    nobody = Site(docker_host, tmp_path / "store")
    (sentence,) = nobody.plan(Environment(image=f"{registry.address}/team/secret:1")).undetermined
    assert f"the registry {registry.address} does not tell without a login" in sentence
    known = Site(docker_host, tmp_path / "store", login=RegistryLogin(USER, PASSWORD))
    (sentence,) = known.plan(Environment(image=f"{registry.address}/team/secret:1")).undetermined
    assert f"the registry {registry.address} has no such image" in sentence


# -- the means ---------------------------------------------------------------------------------------------


def provide(host: str, folder: Path, environment: Environment, waits: Any, answers: Any) -> None:
    """In another process: provide the image of *environment*, and answer with it and what was said.

    Who is to build it does so when somebody *waits* for that.
    """

    def heard(line: str) -> None:
        if line.startswith("Waiting for"):
            waits.set()
        if line.startswith("Building the image"):
            waits.wait(LATEST_SECONDS)

    site = Site(host, folder, heard=heard)
    answers.put((site.image(environment), site.told))


def ask(host: str, image: str) -> None:
    """In another process: wait for what a container of *image* prints, which is nothing for a long time."""
    engine = ImageEngine(lambda: docker.APIClient(host, version="auto"), lambda host: RegistryLogin(), print)
    engine.output(image, ["python3", "-c", "import time; time.sleep(3600)"], {}, "it failed")


def run(client: Any, image: str, program: str) -> str:
    """What *program* prints in a container of *image*, as a user that the image does not know."""
    container = client.create_container(image, command=["python3", "-c", program], user=ANYBODY)
    try:
        client.start(container)
        client.wait(container)
        return str(client.logs(container).decode())
    finally:
        client.remove_container(container, force=True)


def environments_on(client: Any) -> list[str]:
    """The ids of the images of environments that the engine has."""
    return [str(item["Id"]) for item in client.images(filters={"label": LABEL})]
