"""The text of a Dockerfile, as far as it matters what an image is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_mlpipe.model.image_name import ImageName

_CONTINUED = re.compile(r"\\[ \t]*$")
_FROM = re.compile(r"(?:--platform=\S+\s+)?(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?", re.IGNORECASE)
_FROM_STAGE = re.compile(r"--from=(?P<source>\S+)", re.IGNORECASE)
_SCRATCH = "scratch"


def check_dockerfile(text: str) -> None:
    """Raise ValueError unless *text* is a Dockerfile that needs no other file and names images in full."""
    if not any(_instructions(text, "FROM")):
        raise ValueError(
            "dockerfile is the text of a Dockerfile, and this has no FROM line; to take that of a file, read "
            "it: dockerfile=Path(...).read_text()"
        )
    for image in base_images(text):
        if "$" in image:
            raise ValueError(f"the Dockerfile starts FROM {image}; write the image out in full")
        ImageName.parse(image)
    for word in ("COPY", "ADD"):
        for rest in _instructions(text, word):
            if not (_FROM_STAGE.search(rest) or (word == "ADD" and re.search(r"\shttps?://", f" {rest}"))):
                raise ValueError(
                    f"the Dockerfile says {word} {rest}, and no files go with it; put what the step needs "
                    "into its source_directory, or build the image yourself and name it as image"
                )


def base_images(text: str) -> list[str]:
    """The images that the Dockerfile *text* starts from or copies from, as it names them, each once."""
    stages: set[str] = set()
    images: list[str] = []
    for rest in _instructions(text, "FROM"):
        match = _FROM.fullmatch(rest)
        image = rest if match is None else match["image"]
        if image.lower() not in stages and image != _SCRATCH:
            images.append(image)
        if match is not None and match["stage"]:
            stages.add(match["stage"].lower())
    for rest in _instructions(text, "COPY"):
        source = _FROM_STAGE.search(rest)
        if source and source["source"].lower() not in stages and not source["source"].isdigit():
            images.append(source["source"])
    return list(dict.fromkeys(images))


def _instructions(text: str, word: str) -> Iterator[str]:
    """What follows the instruction *word*, each time that it stands in *text*."""
    line = ""
    for part in text.splitlines():
        if part.lstrip().startswith("#"):
            continue
        if _CONTINUED.search(part):
            line += _CONTINUED.sub(" ", part)
            continue
        first, _, rest = (line + part).strip().partition(" ")
        line = ""
        if first.upper() == word:
            yield rest.strip()
