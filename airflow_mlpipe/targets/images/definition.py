"""What an image of an environment is built from: what tells it from others, and its Dockerfiles."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlpipe.model.dockerfile import with_images
from airflow_mlpipe.model.environment import Environment

if TYPE_CHECKING:
    from airflow_mlpipe.targets.images.identity import ImageIdentity  # it loads an HTTP client

# Raise it when the same definition is to be built anew, since what is made of it has changed.
RECIPE = 1

# For the command alone: nothing of it stays in the image.
PIP_VARIABLES = {
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
}

# Any user may read what is installed, whatever the engine's mask is.
_RUN_AS_ANY_USER = 'umask 022 && exec "$@"'
_CONDA = (
    "umask 022\n"
    "for conda in micromamba mamba conda /opt/conda/bin/mamba /opt/conda/bin/conda; do\n"
    '  if command -v "$conda" >/dev/null; then\n'
    '    "$conda" install --yes --name base "$@" && "$conda" clean --all --yes; exit\n'
    "  fi\n"
    "done\n"
    "echo 'there is no conda, mamba or micromamba in the image; take one that has it, such as "
    "condaforge/miniforge3' >&2; exit 1\n"
)


@dataclass(frozen=True)
class ImageDefinition:
    """An image that is built: *bases* are what it starts from, by the names that the author has for them.

    ``lock`` are the packages of pip to install, pinned, one a line; None leaves it to pip to choose versions
    of ``pip_packages`` when the image is built. ``python`` is the interpreter that gets them.
    """

    bases: Mapping[str, ImageIdentity]
    python: str
    dockerfile: str | None = None
    conda_packages: tuple[str, ...] = ()
    conda_channels: tuple[str, ...] = ()
    pip_packages: tuple[str, ...] = ()
    lock: str | None = None

    @classmethod
    def of(
        cls, environment: Environment, bases: Mapping[str, ImageIdentity], python: str, lock: str | None
    ) -> ImageDefinition:
        """How the image of *environment* is built on *bases*."""
        return cls(
            bases,
            python,
            environment.dockerfile,
            tuple(sorted(environment.conda_packages)),
            environment.conda_channels,
            tuple(sorted(environment.pip_packages)),
            lock,
        )

    @property
    def installs(self) -> bool:
        """Whether anything is installed on top of the base or of what the Dockerfile makes."""
        return bool(self.conda_packages or (self.pip_packages if self.lock is None else self.lock))

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all that the image depends on, its bases by their content."""
        document = {
            "recipe": RECIPE,
            "bases": {name: identity.digest for name, identity in self.bases.items()}
            if self.dockerfile is not None
            else [identity.digest for identity in self.bases.values()],
            "python": self.python,
            "dockerfile": self.dockerfile,
            "conda_packages": self.conda_packages,
            "conda_channels": self.conda_channels,
            "pip_packages": self.pip_packages if self.lock is None else None,
            "lock": self.lock,
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    @property
    def tag(self) -> str:
        """The tag that the image has in every repository."""
        return self.digest[:16]

    @property
    def pinned_dockerfile(self) -> str | None:
        """The author's Dockerfile, with its images named by their content."""
        if self.dockerfile is None:
            return None
        references = {name: identity.reference for name, identity in self.bases.items()}
        return with_images(self.dockerfile, references)

    @property
    def dockerfiles(self) -> list[str]:
        """The Dockerfiles that are built, one upon the other, for people to read."""
        own = self.pinned_dockerfile
        if not self.installs:
            return [own or ""]
        base = "..." if own is not None else next(iter(self.bases.values())).reference
        return [*([own] if own is not None else []), self.installing_dockerfile(base, "")]

    def installing_dockerfile(self, base: str, user: str) -> str:
        """What installs the packages on the image *base*, whose containers start as *user* ("" is root)."""
        lines = [f"FROM {base}", "USER 0:0"]
        if self.conda_packages:
            channels = [item for channel in self.conda_channels for item in ("--channel", channel)]
            lines.append(_run("/bin/sh", "-c", _CONDA, "sh", *channels, *self.conda_packages))
        if wanted := self.pip_packages if self.lock is None else tuple(self.lock.splitlines()):
            variables = [f"{name}={value}" for name, value in PIP_VARIABLES.items()]
            pip = [
                self.python,
                "-m",
                "pip",
                "install",
                *([] if self.lock is None else ["--no-deps"]),
                *wanted,
            ]
            lines.append(_run("/bin/sh", "-c", _RUN_AS_ANY_USER, "sh", "env", *variables, *pip))
        if user:
            lines.append(f"USER {user}")
        return "".join(f"{line}\n" for line in lines)


def _run(*argv: str) -> str:
    """An instruction that starts *argv* as it is, without a shell that could read it differently."""
    return f"RUN {json.dumps(argv)}"


def distributions(lock: str) -> dict[str, str]:
    """The versions that a lock pins, by name."""
    return dict(re.split(r"==| @ ", line, maxsplit=1) for line in lock.splitlines())
