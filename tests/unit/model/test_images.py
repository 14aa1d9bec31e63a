"""Names of images, Dockerfiles, and which environment fits which target."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mlpipe import Environment, LocalTarget
from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.compute import ComputeTarget
from airflow_mlpipe.model.docker_target import DockerTarget
from airflow_mlpipe.model.dockerfile import base_images
from airflow_mlpipe.model.environment import check_environment
from airflow_mlpipe.model.image_name import ImageName
from airflow_mlpipe.model.kubernetes_target import KubernetesTarget
from airflow_mlpipe.model.remote_target import RemoteTarget

DIGEST = f"sha256:{'0a' * 32}"
REMOTE = RemoteTarget("far", ssh_conn_id="far")


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", "", None),
        ("python:3.12-slim", "docker.io", "library/python", "3.12-slim", None),
        ("team/train:1", "docker.io", "team/train", "1", None),
        ("docker.io/python", "docker.io", "library/python", "", None),
        ("localhost/train", "localhost", "train", "", None),
        ("localhost:5000/a/b:t", "localhost:5000", "a/b", "t", None),
        ("reg.example.com/a__b/c-d:v1", "reg.example.com", "a__b/c-d", "v1", None),
        (f"reg.example.com/a:v1@{DIGEST}", "reg.example.com", "a", "v1", DIGEST),
        (DIGEST, "", "", "", DIGEST),
    ],
)
def test_a_name_is_taken_apart_as_docker_does(
    text: str, registry: str, repository: str, tag: str, digest: str | None
) -> None:
    name = ImageName.parse(text)
    assert (name.registry, name.repository, name.tag, name.digest) == (registry, repository, tag, digest)
    assert name.is_id == (not registry)


@pytest.mark.parametrize("text", ["python:3.12", "python", f"python@sha256:{'1' * 64}", f"python:1@{DIGEST}"])
def test_a_name_is_pinned_without_its_tag(text: str) -> None:
    assert ImageName.parse(text).at(DIGEST) == f"python@{DIGEST}"


@pytest.mark.parametrize(
    "text", ["", "Python", "a:b:c", "--privileged", "a b", "a\nb", "a@sha256:12", "team/UPPER", "a" * 600]
)
def test_what_is_no_name_is_refused_while_the_dag_is_parsed(text: str) -> None:
    with pytest.raises(DefinitionError, match="is no name of an image such as"):
        Environment(image=text)
    with pytest.raises(DefinitionError, match="is no name of an image such as"):
        DockerTarget(image=text)


def test_a_stage_can_be_copied_from_only_when_it_is_done() -> None:
    text = "FROM a AS b\nCOPY --from=b /x /x\nCOPY --from=c /x /x\nFROM b AS c\nFROM c\nCOPY --from=B /x /x\n"
    assert base_images(text) == ["a", "b", "c"]


def test_the_images_of_a_dockerfile_are_those_that_it_does_not_make_itself() -> None:
    text = (
        "# FROM nothing\n"
        "from --platform=linux/amd64 python:3.12 AS Build\n"
        "RUN pip install x && \\\n"
        "    # a remark\n"
        "    FROM=y true\n"
        "FROM scratch AS empty\n"
        "FROM build\n"
        "COPY --from=build /x /x\n"
        "COPY --from=0 /y /y\n"
        "COPY --chown=1 --from=tools:1 /z /z\n"
        "FROM python:3.12\n"
    )
    assert base_images(text) == ["python:3.12", "tools:1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Dockerfile", "has no FROM line; to take that of a file, read it"),
        ("FROM $BASE", r"takes from the image \$BASE; write the image out in full"),
        ("FROM a\nCOPY --from=$TOOLS /x /x", r"takes from the image \$TOOLS; write the image out in full"),
        ("FROM a\nCOPY . /app", r"says COPY \. /app, and no files go with it"),
        ("FROM a\nADD x /x", "says ADD x /x, and no files go with it"),
        ("FROM Not/Lower", "'Not/Lower' is no name of an image"),
        ("FROM a\nCOPY --from='b' /x /x", "\"'b'\" is no name of an image"),
        ("FROM a\nCOPY --from=b --from=c /x /x", "and no files go with it"),
        ("FROM a\nCOPY /x --from=b /x", "and no files go with it"),
        ("FROM a\nONBUILD COPY --from=b /x /x", "says ONBUILD COPY .* leave ONBUILD out"),
        ("FROM a\nRUN --mount=type=bind,from=b true", "take files from other images with COPY --from"),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\n", "says 'EOF', and EOF is no instruction"),
        ("# escape=`\nFROM a\n", "another escape character; leave that out and use backslashes"),
    ],
)
def test_a_dockerfile_that_needs_more_than_its_text_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        Environment(dockerfile=text)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image": "a", "dockerfile": "FROM a"}, "leave image out"),
        ({"conda_channels": ["conda-forge"]}, "conda_channels without conda_packages"),
        (
            {"conda_packages": ["a b"]},
            "'a b' is not a package of conda such as 'cudatoolkit=11.8', one in each",
        ),
        ({"conda_packages": ["a="]}, "'a=' is not a package of conda"),
        ({"conda_packages": ["a,b"]}, "'a,b' is not a package of conda"),
        ({"conda_packages": ["a "]}, "'a ' is not a package of conda"),
        ({"conda_packages": [""]}, "'' is not a package of conda"),
        (
            {"conda_packages": ["a=1", "x::A=2"]},
            "'a=1' and 'x::A=2' are of one name; bounds go into one text",
        ),
        ({"conda_packages": ["a"], "conda_channels": ["c", "c"]}, "'c' and 'c' are of one name"),
        ({"pip_packages": [""]}, "'' is not a requirement such as"),
        ({"pip_packages": ["x==1", "x==2"]}, "'x==1' and 'x==2' are of one name; bounds go into one text"),
        ({"pip_packages": ["X_y", "x-y"]}, "'X_y' and 'x-y' are of one name"),
        ({"python_version": "3.9"}, "from '3.10' on"),
        ({"environment_variables": {"": "1"}}, "'' is not a name for an environment variable"),
        ({"environment_variables": {"A=B": "1"}}, "'A=B' is not a name for an environment variable"),
        ({"environment_variables": {"A": "a\0b"}}, "the value of A has a NUL character in it"),
        ({"conda_packages": ["--help"]}, "'--help' is not a package of conda"),
        ({"conda_packages": ["a; rm -rf /"]}, "is not a package of conda"),
        ({"conda_packages": ["a"], "conda_channels": ["-c"]}, "'-c' is not a channel of conda"),
        ({"conda_packages": ["a"], "conda_channels": ["https://x/y?z"]}, "is not a channel of conda"),
    ],
)
def test_a_wrong_environment_is_a_sentence(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        Environment(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"pip_packages": ["a", "b @ https://user:s3cret@host/b.whl"]},
        {"pip_packages": ["b @ https://s3cret@host/b.whl"]},
        {"pip_packages": ["b@git+https://s3cret@host/b.git@v1"]},
        {"pip_packages": ["b @ git+ssh://git:s3cret@host/b.git"]},
        {"pip_packages": ["https://user:s3cret@host/b.whl"]},
        {"conda_packages": ["a"], "conda_channels": ["https://user:s3cret@host/c"]},
        {"conda_packages": ["a"], "conda_channels": ["https://conda.example.com/t/s3cret/c"]},
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(fields: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="a URL has credentials in it") as refused:
        Environment(**fields)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "package",
    ["a", "a=1.0", "a==1.0=py_0", "a 1.0", "a 1.0 py_0", "a >=1,<2", "a!=1.5", "a=1.*", "x::a=1", "a>=1|0.9"],
)
def test_a_package_of_conda_is_written_as_conda_writes_it(package: str) -> None:
    assert Environment(conda_packages=[package]).conda_packages == (package,)


def test_markers_choose_between_two_versions_of_a_package() -> None:
    packages = ("a==1; python_version < '3.11'", "a==2; python_version >= '3.11'")
    assert Environment(pip_packages=packages).pip_packages == packages


def test_a_url_without_credentials_is_a_package() -> None:
    urls = [
        "a @ git+ssh://git@host/a.git@v1",
        "b @ https://host/b-1.whl#sha256=0",
        "c @ git+https://host/c@v1",
    ]
    assert Environment(pip_packages=urls).pip_packages == tuple(urls)


@pytest.mark.parametrize(
    ("environment", "target", "sentence"),
    [
        (
            Environment(),
            DockerTarget("here"),
            "its environment names no image, nor does compute target 'here'",
        ),
        (
            Environment("sk", pip_packages=["a"]),
            KubernetesTarget("pool"),
            "its environment 'sk' names no image, nor does compute target 'pool'",
        ),
        (
            Environment(image="a", conda_packages=["a"]),
            LocalTarget(),
            "its environment has conda_packages, which compute target 'local' does not install",
        ),
        (
            Environment(pip_packages=["a"]),
            REMOTE,
            "its environment has pip_packages or a python_version, which compute target 'far' does not",
        ),
    ],
)
def test_an_environment_that_a_target_cannot_offer_is_refused(
    environment: Environment, target: ComputeTarget, sentence: str
) -> None:
    with pytest.raises(DefinitionError, match=f"step 'train': {sentence}"):
        check_environment(environment, target, "step 'train'")


@pytest.mark.parametrize("target", [LocalTarget(), DockerTarget(), KubernetesTarget()])
def test_one_environment_with_image_and_packages_serves_every_kind_of_machine(target: ComputeTarget) -> None:
    check_environment(Environment(image="python:3.12", pip_packages=["a"]), target, "step 'train'")


def test_a_remote_machine_passes_over_an_image() -> None:
    check_environment(Environment(image="python:3.12"), REMOTE, "step 'train'")
