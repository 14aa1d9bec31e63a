"""The run-level switch: what a run's configuration says of reuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.reuse.decision import REUSE_MODES, ReuseMode


def reuse_mode(conf: Any) -> ReuseMode:
    """The mode in a DAG run's conf: ``{"mlpipe": {"reuse": "refresh"}}``; ``normal`` when it says nothing.

    ``{"mlpipe": {"regenerate_outputs": true}}`` is SDK v1's name of refresh. A misspelt switch raises
    DefinitionError: it must not be taken for ``normal`` in silence.
    """
    section = conf.get("mlpipe") if isinstance(conf, Mapping) else None
    if section is None:
        return "normal"
    if not isinstance(section, Mapping):
        raise DefinitionError(
            f'conf["mlpipe"] is {section!r}; it must be an object such as {{"reuse": "refresh"}}'
        )
    if unknown := sorted(set(section) - {"reuse", "regenerate_outputs"}):
        raise DefinitionError(f'conf["mlpipe"] has {unknown[0]!r}; it knows reuse and regenerate_outputs')
    mode, regenerate = section.get("reuse"), section.get("regenerate_outputs", False)
    if not isinstance(regenerate, bool):
        raise DefinitionError(
            f'conf["mlpipe"]["regenerate_outputs"] is {regenerate!r}; it must be true or false'
        )
    if mode is None:
        return "refresh" if regenerate else "normal"
    if mode not in REUSE_MODES:
        known = ", ".join(REUSE_MODES)
        raise DefinitionError(f'conf["mlpipe"]["reuse"] is {mode!r}; it must be one of {known}')
    if regenerate and mode != "refresh":
        raise DefinitionError(f'conf["mlpipe"] asks for {mode!r} and for regenerate_outputs; choose one')
    return cast("ReuseMode", mode)
