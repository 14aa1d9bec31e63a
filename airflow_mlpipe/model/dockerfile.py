"""The text of a Dockerfile, as far as it matters what an image is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from airflow_mlpipe.model.image_name import ImageName

_INSTRUCTION = re.compile(
    "ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL"
    "|USER|VOLUME|WORKDIR"
)
# What goes on in the next line; two backslashes are a text that ends with one.
_GOES_ON = re.compile(r"(?<!\\)\\[ \t]*$")
_ESCAPE = re.compile(r"^\s*#\s*escape\s*=\s*[^\\\s]", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(r"FROM\s+(?:--platform=\S+\s+)?(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?", re.IGNORECASE)
_COPY_FROM = re.compile(
    r"COPY\s+(?:--(?!from=)\S+\s+)*--from=(?P<image>\S+)(?:\s+--(?!from=)\S+)*\s+(?!\s|--).*", re.IGNORECASE
)
_MOUNT_FROM = re.compile(r"RUN\s+(?:--\S+\s+)*?--mount=\S*\bfrom=", re.IGNORECASE)
_ADD_URL = re.compile(r"ADD\s.*\bhttps?://", re.IGNORECASE)
_SCRATCH = "scratch"


def check_dockerfile(text: str) -> None:
    """Raise ValueError unless *text* is a Dockerfile that needs no other file and names images in full.

    Of a text that passes, :func:`base_images` are all the images that a build takes anything from.
    """
    parts = [part for part in _parts(text) if part.line]
    if not any(_FROM.match(part.line) for part in parts):
        raise ValueError(
            "dockerfile is the text of a Dockerfile, and this has no FROM line; to take that of a file, read "
            "it: dockerfile=Path(...).read_text()"
        )
    if _ESCAPE.search(text):
        raise ValueError("the Dockerfile sets another escape character; leave that out and use backslashes")
    for part in parts:
        _check_instruction(part)
    for image in base_images(text):
        if "$" in image:
            raise ValueError(f"the Dockerfile takes from the image {image}; write the image out in full")
        ImageName.parse(image)


def base_images(text: str) -> list[str]:
    """The images that the Dockerfile *text* starts from or copies from, as it names them, each once."""
    images: dict[str, None] = {}
    for _, image in _with_images(text):
        if image is not None:
            images[image["image"]] = None
    return list(images)


def with_images(text: str, references: Mapping[str, str]) -> str:
    """The Dockerfile *text* with a reference in place of each of its :func:`base_images`.

    An instruction that names one is then in one line; all others are as they were. Raises KeyError for an
    image that *references* lack.
    """
    pieces = []
    for part, image in _with_images(text):
        if image is None:
            pieces.append(part.source)
        else:
            start, end = image.span("image")
            pieces.append(f"{part.line[:start]}{references[image['image']]}{part.line[end:]}")
    return "\n".join(pieces)


class _Part(NamedTuple):
    """Some lines of a Dockerfile: an instruction, or a remark or empty line, which says nothing."""

    source: str
    line: str

    @property
    def word(self) -> str:
        return self.line.split(maxsplit=1)[0].upper()


def _parts(text: str) -> Iterator[_Part]:
    """All of *text*, split into instructions as builders split it; *line* is one in a single line."""
    source: list[str] = []
    line = ""
    for row in text.split("\n"):
        source.append(row)
        said = row.rstrip("\r")
        is_empty = not said.strip() or said.lstrip().startswith("#")
        if is_empty and len(source) > 1:
            continue  # an instruction goes on after it
        line += "" if is_empty else _GOES_ON.sub("", said)
        if is_empty or not _GOES_ON.search(said):
            yield _Part("\n".join(source), line.strip())
            source, line = [], ""
    if source:
        yield _Part("\n".join(source), line.strip())


def _check_instruction(part: _Part) -> None:
    said, word = " ".join(part.line.split()), part.word
    if not _INSTRUCTION.fullmatch(word):
        raise ValueError(
            f"the Dockerfile says {said!r}, and {word} is no instruction; the lines of one but the last end "
            "with a backslash, here-documents are not known"
        )
    if word == "ONBUILD":
        raise ValueError(f"the Dockerfile says {said}, which is for images to build on; leave ONBUILD out")
    if _MOUNT_FROM.match(part.line):
        raise ValueError(f"the Dockerfile says {said}; take files from other images with COPY --from")
    comes_with_it = word == "COPY" and not _COPY_FROM.fullmatch(part.line)
    if comes_with_it or (word == "ADD" and not _ADD_URL.match(part.line)):
        raise ValueError(
            f"the Dockerfile says {said}, and no files go with it; put what the step needs into its "
            "source_directory, or build the image yourself and name it as image"
        )


def _with_images(text: str) -> Iterator[tuple[_Part, re.Match[str] | None]]:
    """The parts of *text*, each with where it names an image that *text* does not make itself, or None."""
    finished: set[str] = set()
    current: str | None = None
    for part in _parts(text):
        if start := _FROM.match(part.line):
            # Only what is finished can be named: a stage that copies from its own name copies from an image.
            finished |= set() if current is None else {current}
            current = (start["stage"] or "").lower() or None
        found = start or _COPY_FROM.fullmatch(part.line)
        yield part, found if found and _is_image(found["image"], start is not None, finished) else None


def _is_image(name: str, is_start: bool, stages: set[str]) -> bool:
    if name.lower() in stages:
        return False
    return name != _SCRATCH if is_start else not name.isdigit()
