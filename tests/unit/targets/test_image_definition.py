"""What an image of an environment is built from."""

from __future__ import annotations

import json

import pytest

from airflow_mlpipe.model.dockerfile import base_images
from airflow_mlpipe.model.environment import Environment
from airflow_mlpipe.targets.images.definition import ImageDefinition, distributions
from airflow_mlpipe.targets.images.identity import ImageIdentity

BASE = ImageIdentity(f"sha256:{'a' * 64}", f"python@sha256:{'a' * 64}")
SAME = ImageIdentity(BASE.digest, f"mirror.example.com/python@{BASE.digest}")
OTHER = ImageIdentity(f"sha256:{'b' * 64}", f"python@sha256:{'b' * 64}")


def of(environment: Environment, base: ImageIdentity = BASE, lock: str | None = None) -> ImageDefinition:
    return ImageDefinition.of(environment, {"python:3.12": base}, "python3", lock)


PACKAGES = Environment(image="python:3.12", pip_packages=["b", "a"])


def test_its_digest_is_that_of_what_is_installed_on_what() -> None:
    definition = of(PACKAGES, lock="a==1\nb==2\n")
    assert definition.digest == ("645d80981f542b421c5ca92b00ad617ff35cb05e67fc5dfa70d25d1ef0017ee7")
    assert definition.tag == definition.digest[:16]
    assert of(PACKAGES, SAME, "a==1\nb==2\n").digest == definition.digest
    assert of(Environment(pip_packages=["a", "b"]), lock="a==1\nb==2\n").digest == definition.digest


def test_each_thing_that_it_depends_on_makes_another_image() -> None:
    conda = Environment(conda_packages=["a"])
    digests = {
        of(PACKAGES, lock="a==1\nb==2\n").digest,
        of(PACKAGES, lock="a==1\nb==3\n").digest,
        of(PACKAGES, OTHER, lock="a==1\nb==2\n").digest,
        of(PACKAGES).digest,
        of(Environment(pip_packages=["a"])).digest,
        of(conda).digest,
        of(conda.model_copy(update={"conda_channels": ("conda-forge",)})).digest,
        of(Environment(dockerfile="FROM python:3.12\n")).digest,
        of(Environment(dockerfile="FROM python:3.12\nRUN true\n")).digest,
        ImageDefinition.of(PACKAGES, {"x": BASE}, "/opt/python", "a==1\nb==2\n").digest,
    }
    assert len(digests) == 10


def test_the_images_of_a_dockerfile_are_replaced_by_what_they_were_and_nothing_else_is() -> None:
    text = (
        "# FROM python:3.12\n"
        "FROM --platform=linux/amd64 python:3.12 AS Build\n"
        "RUN echo FROM python:3.12 \\\n"
        "  # a remark\n"
        "    --from=python:3.12 python:3.12\n"
        "\n"
        "FROM build\n"
        "COPY --from=python:3.12 /x /x\n"
        "COPY --from=0 /x /x\n"
        "from python:3.12"
    )
    assert of(Environment(dockerfile=text)).pinned_dockerfile == (
        "# FROM python:3.12\n"
        f"FROM --platform=linux/amd64 {BASE.reference} AS Build\n"
        "RUN echo FROM python:3.12 \\\n"
        "  # a remark\n"
        "    --from=python:3.12 python:3.12\n"
        "\n"
        "FROM build\n"
        f"COPY --from={BASE.reference} /x /x\n"
        "COPY --from=0 /x /x\n"
        f"from {BASE.reference}"
    )


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("FROM \\\n\n  # a remark\n  python:3.12\n", "FROM   {}\n"),
        ("FROM --platform=linux/amd64 \\ \n python:3.12\n", "FROM --platform=linux/amd64  {}\n"),
        ("FROM \\\r\n python:3.12\r\nRUN x\r\n", "FROM  {}\nRUN x\r\n"),
        ("FR\\\nOM python:3\\\n.12\n", "FROM {}\n"),
        ("FROM\tpython:3.12", "FROM\t{}"),
        ("FROM scratch\nFROM python:3.12 \\", "FROM scratch\nFROM {}"),
        ("FROM scratch\nCOPY\t--from=python:3.12\t/x /x", "FROM scratch\nCOPY\t--from={}\t/x /x"),
        (
            "FROM scratch\nCOPY --chown=1 \\\n --from=python:3.12 --link /x /x\n",
            "FROM scratch\nCOPY --chown=1  --from={} --link /x /x\n",
        ),
    ],
)
def test_an_image_is_replaced_however_the_dockerfile_is_written(text: str, pinned: str) -> None:
    environment = Environment(dockerfile=text)
    assert base_images(text) == ["python:3.12"]
    assert of(environment).pinned_dockerfile == pinned.format(BASE.reference)


def test_an_image_that_was_not_looked_up_is_never_built_on() -> None:
    with pytest.raises(KeyError, match="alpine:3"):
        _ = of(Environment(dockerfile="FROM alpine:3\n")).pinned_dockerfile


def test_packages_are_arguments_and_never_text_of_a_shell() -> None:
    hostile = "a; python_version >= '$(id)' and extra != '\"\\n'"
    text = of(Environment(pip_packages=[hostile])).installing_dockerfile(BASE.reference, "1000")
    start, root, install, user = text.splitlines()
    assert (start, root, user) == (f"FROM {BASE.reference}", "USER 0:0", "USER 1000")
    argv = json.loads(install.removeprefix("RUN "))
    assert argv[:3] == ["/bin/sh", "-c", 'umask 022 && exec "$@"']
    assert argv[-5:] == ["python3", "-m", "pip", "install", hostile]


def test_a_base_that_has_everything_is_not_built_upon() -> None:
    assert not of(PACKAGES, lock="").installs
    assert of(PACKAGES).installs


def test_a_lock_tells_versions_and_places() -> None:
    assert distributions("a==1.0\nb @ git+https://x/y@0f\n") == {"a": "1.0", "b": "git+https://x/y@0f"}
