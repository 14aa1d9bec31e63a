"""The options of section ``[mlpipe]``, read when they are needed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.get_provider_info import OPTIONS

if TYPE_CHECKING:
    from airflow_mlpipe.reuse.decision import ReuseMode

VerifyLevel = Literal["auto", "size", "digest", "none"]
MountPolicy = Literal["auto", "fuse", "download"]

# The folder of a datastore that holds its namespaces.
NAMESPACES = "namespaces"

_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_NAMESPACE_PREFIX = "namespace:"
_KEY_PLACE = re.compile(r"(connection|variable):\S+")
_SPAN = re.compile(r"(\d+(?:\.\d+)?) *(s|min|h|d)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Settings:
    """One reading of the options; see ``get_provider_info.OPTIONS`` for what each means."""

    datastore: str
    namespace: str
    read_datastores: tuple[str, ...]
    read_only: bool
    private_datastore: str
    signing_key: str
    datastores: Path | None
    compute_targets: Path | None
    environments: Path | None
    image_builder: str
    image_registry: str
    image_connections: tuple[str, ...]
    work_directory: Path
    cache_directory: Path
    download_cache_size: int
    keep_work_directories: bool
    mount: MountPolicy
    verify: VerifyLevel
    lease_seconds: float
    reuse: ReuseMode
    max_age: float | None
    default_max_age: float | None

    @property
    def datastore_url(self) -> str:
        """Where this deployment's namespace lies."""
        return in_namespace(self.datastore, self.namespace)

    @classmethod
    def read(cls) -> Settings:
        """Read Airflow's configuration; DefinitionError names an option with a wrong value."""
        from airflow_mlpipe.reuse.decision import REUSE_MODES  # parsing a DAG file reads single options only

        verify = _text("verify")
        if verify not in get_args(VerifyLevel):
            raise DefinitionError(f"[mlpipe] verify is {verify!r}; it must be auto, size, digest or none")
        reuse = _text("reuse")
        if reuse not in REUSE_MODES:
            raise DefinitionError(f"[mlpipe] reuse is {reuse!r}; it must be one of {', '.join(REUSE_MODES)}")
        mount = _text("mount")
        if mount not in get_args(MountPolicy):
            raise DefinitionError(f"[mlpipe] mount is {mount!r}; it must be auto, fuse or download")
        datastore = _place("datastore")
        return cls(
            datastore=datastore,
            namespace=_namespace(_text("namespace"), "namespace"),
            read_datastores=_read_datastores(datastore),
            read_only=_boolean("read_only"),
            private_datastore=_place("private_datastore"),
            signing_key=_key_place("signing_key"),
            datastores=path_option("datastores"),
            compute_targets=path_option("compute_targets"),
            environments=path_option("environments"),
            image_builder=_text("image_builder"),
            image_registry=_repository("image_registry"),
            image_connections=_items("image_connections"),
            work_directory=cast("Path", path_option("work_directory")),
            cache_directory=cast("Path", path_option("cache_directory")),
            download_cache_size=_size("download_cache_size"),
            keep_work_directories=_boolean("keep_work_directories"),
            mount=cast("MountPolicy", mount),
            verify=cast("VerifyLevel", verify),
            lease_seconds=_positive("lease_seconds"),
            reuse=cast("ReuseMode", reuse),
            max_age=_span("max_age"),
            default_max_age=_span("default_max_age"),
        )


def airflow_home() -> Path:
    """The folder that Airflow calls its home."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def path_option(option: str) -> Path | None:
    """One option that is a path, None when it is empty; relative ones start at Airflow's home."""
    text = _text(option)
    return airflow_home() / Path(text).expanduser() if text else None


def in_namespace(url: str, namespace: str) -> str:
    """The URL of *namespace* in the datastore at *url*; that of the datastore itself for ""."""
    return f"{url.rstrip('/')}/{NAMESPACES}/{namespace}" if namespace else url


def parse_span(text: str) -> float | None:
    """A length of time such as ``90 s``, ``12h`` or ``7 d`` in seconds; None when *text* is none."""
    match = _SPAN.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    return seconds if seconds > 0 else None


def _text(option: str) -> str:
    from airflow.sdk.configuration import conf

    default = cast("str", OPTIONS[option]["default"])
    value: Any = conf.get("mlpipe", option, fallback=default)
    return str(value).replace("{AIRFLOW_HOME}", str(airflow_home())).strip()


def _place(option: str) -> str:
    text = _text(option)
    if not text:
        raise DefinitionError(f"[mlpipe] {option} is empty; name a folder or an fsspec URL")
    return text


def _boolean(option: str) -> bool:
    text = _text(option).lower()
    if text in ("true", "yes", "1", "t"):
        return True
    if text in ("false", "no", "0", "f"):
        return False
    raise DefinitionError(f"[mlpipe] {option} is {text!r}; it must be True or False")


def _positive(option: str) -> float:
    text = _text(option)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise DefinitionError(f"[mlpipe] {option} is {text!r}; it must be a number above 0")
    return number


def _size(option: str) -> int:
    from airflow_mlpipe.store.progress import parse_size  # parsing a DAG file reads single options only

    text = _text(option)
    if (size := parse_size(text)) is None:
        raise DefinitionError(
            f"[mlpipe] {option} is {text!r}; write a size such as 20 GB (B, kB, MB, GB or TB)"
        )
    return size


def _span(option: str) -> float | None:
    text = _text(option)
    if not text:
        return None
    if (seconds := parse_span(text)) is None:
        raise DefinitionError(
            f"[mlpipe] {option} is {text!r}; write a length of time above nothing, such as 12 h or 7 d "
            "(s, min, h or d)"
        )
    return seconds


def _namespace(text: str, option: str) -> str:
    if not text or _NAMESPACE.fullmatch(text):
        return text
    raise DefinitionError(
        f"[mlpipe] {option} names the namespace {text!r}; use up to 63 letters, digits, '_', '-' or '.', "
        "starting with a letter, a digit or '_'"
    )


def _key_place(option: str) -> str:
    text = _text(option)
    if not text or _KEY_PLACE.fullmatch(text):
        return text
    # Its value is not told: it may be a key that somebody put into the wrong place.
    raise DefinitionError(
        f"[mlpipe] {option} must be connection:CONN_ID or variable:KEY; it says where the key is, and is "
        "never the key itself"
    )


def _repository(option: str) -> str:
    from airflow_mlpipe.model.image_name import ImageName  # parsing a DAG file reads single options only

    text = _text(option).rstrip("/")
    if not text:
        return text
    try:
        name = ImageName.parse(text)
    except ValueError as error:
        raise DefinitionError(f"[mlpipe] {option}: {error}") from error
    if name.tag or name.digest:
        raise DefinitionError(
            f"[mlpipe] {option} is {text!r}; write a repository without a tag or digest, such as "
            "registry.example.com/team/environments"
        )
    return text


def _items(option: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in _text(option).split(","))))


def _read_datastores(datastore: str) -> tuple[str, ...]:
    urls = []
    for item in _items("read_datastores"):
        if item.startswith(_NAMESPACE_PREFIX):
            name = _namespace(item.removeprefix(_NAMESPACE_PREFIX).strip(), "read_datastores")
            urls.append(in_namespace(datastore, name))
        else:
            urls.append(item)
    return tuple(urls)
