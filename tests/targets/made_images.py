"""Images that tests make: one whose pip has packages of its own, and needs no index on the network."""

from __future__ import annotations

import io
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

MARK = "mlpipe.test"


@pytest.fixture(scope="module")
def base(docker_client: Any, image: str) -> Iterator[str]:
    """An image of these tests, whose pip knows ``tiny`` 1.0 and 2.0 and no index."""
    mark = uuid.uuid4().hex[:10]
    name = f"mlpipe-test-base:{mark}"
    wheels = "".join(f"COPY tiny-{version}-py3-none-any.whl /wheels/\n" for version in ("1.0", "2.0"))
    text = (
        f"FROM {image}\nLABEL {MARK}={mark}\n{wheels}ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels\nUSER 2345\n"
    )
    build(
        docker_client,
        name,
        text,
        {f"tiny-{version}-py3-none-any.whl": tiny(version) for version in ("1.0", "2.0")},
    )
    yield name
    # What was built upon it has its label; the layers of what failed have it, too.
    for made in docker_client.images(filters={"label": f"{MARK}={mark}"}):
        docker_client.remove_image(made["Id"], force=True)


def tiny(version: str) -> bytes:
    """A wheel of the distribution ``tiny``."""
    content, info = io.BytesIO(), f"tiny-{version}.dist-info"
    with zipfile.ZipFile(content, "w") as wheel:
        wheel.writestr("tiny.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        names = ("tiny.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    return content.getvalue()


def build(client: Any, name: str, dockerfile: str, files: dict[str, bytes] | None = None) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path, content in {"Dockerfile": dockerfile.encode(), **(files or {})}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    for answer in client.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True):
        assert "error" not in answer, answer
