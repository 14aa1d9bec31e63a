"""The run-level switches: what a run's configuration says of reuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.pipeline.settings import parse_span
from airflow_mlpipe.reuse.decision import REUSE_MODES, ReuseMode

_KNOWN = ("reuse", "regenerate_outputs", "max_age")


def reuse_mode(conf: Any) -> ReuseMode:
    """The mode in a DAG run's conf: ``{"mlpipe": {"reuse": "refresh"}}``; ``normal`` when it says nothing.

    ``{"mlpipe": {"regenerate_outputs": true}}`` is SDK v1's name of refresh. A misspelt switch raises
    DefinitionError: it must not be taken for ``normal`` in silence.
    """
    section = _section(conf)
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


def run_max_age(conf: Any) -> float | None:
    """The oldest that outputs may be in a run, in seconds: ``{"mlpipe": {"max_age": "12 h"}}``; None for any.

    Raises DefinitionError as :func:`reuse_mode` does.
    """
    text = _section(conf).get("max_age")
    if text is None:
        return None
    seconds = parse_span(text) if isinstance(text, str) else None
    if seconds is None:
        raise DefinitionError(
            f'conf["mlpipe"]["max_age"] is {text!r}; write a length of time above nothing, such as "12 h" or '
            '"7 d" (s, min, h or d)'
        )
    return seconds


def _section(conf: Any) -> Mapping[str, Any]:
    """What *conf* says to us; DefinitionError for what we do not know."""
    section = conf.get("mlpipe") if isinstance(conf, Mapping) else None
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise DefinitionError(
            f'conf["mlpipe"] is {section!r}; it must be an object such as {{"reuse": "refresh"}}'
        )
    if unknown := sorted(set(section) - set(_KNOWN)):
        raise DefinitionError(f'conf["mlpipe"] has {unknown[0]!r}; it knows {", ".join(_KNOWN)}')
    return section
