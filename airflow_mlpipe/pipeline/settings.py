"""The options of section ``[mlpipe]``, read when they are needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.get_provider_info import OPTIONS

VerifyLevel = Literal["size", "digest", "none"]


@dataclass(frozen=True)
class Settings:
    """One reading of the options; see ``get_provider_info.OPTIONS`` for what each means."""

    datastore: str
    compute_targets: Path | None
    environments: Path | None
    work_directory: Path
    cache_directory: Path
    keep_work_directories: bool
    verify: VerifyLevel
    lease_seconds: float

    @classmethod
    def read(cls) -> Settings:
        """Read Airflow's configuration; DefinitionError names an option with a wrong value."""
        verify = _text("verify")
        if verify not in ("size", "digest", "none"):
            raise DefinitionError(f"[mlpipe] verify is {verify!r}; it must be size, digest or none")
        return cls(
            datastore=_text("datastore"),
            compute_targets=path_option("compute_targets"),
            environments=path_option("environments"),
            work_directory=cast("Path", path_option("work_directory")),
            cache_directory=cast("Path", path_option("cache_directory")),
            keep_work_directories=_boolean("keep_work_directories"),
            verify=cast("VerifyLevel", verify),
            lease_seconds=_positive("lease_seconds"),
        )


def airflow_home() -> Path:
    """The folder that Airflow calls its home."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def path_option(option: str) -> Path | None:
    """One option that is a path, None when it is empty; relative ones start at Airflow's home."""
    text = _text(option)
    return airflow_home() / Path(text).expanduser() if text else None


def _text(option: str) -> str:
    from airflow.sdk.configuration import conf

    default = cast("str", OPTIONS[option]["default"])
    value: Any = conf.get("mlpipe", option, fallback=default)
    return str(value).replace("{AIRFLOW_HOME}", str(airflow_home())).strip()


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
