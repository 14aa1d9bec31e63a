"""What a step may do about reuse: what its author, its run and the deployment say, put together."""

from __future__ import annotations

from typing import Any

from airflow_mlpipe.model.reuse_options import ReuseOptions
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.pipeline.switch import reuse_mode, run_max_age
from airflow_mlpipe.reuse.decision import Policy, Switch

DEPLOYMENT = "the deployment ([mlpipe] reuse)"
RUN = "the run's configuration"
STEP = "regenerate_outputs"


def policy_of(options: ReuseOptions, conf: Any, settings: Settings, *, has_outputs: bool) -> Policy:
    """The policy of a step with *options* in a run with *conf*.

    Raises DefinitionError for a misspelt switch in *conf*.
    """
    max_age, max_age_name = _max_age(options, conf, settings)
    return Policy(
        switches=(
            Switch(settings.reuse, DEPLOYMENT),
            Switch(reuse_mode(conf), RUN),
            Switch("refresh" if options.regenerate_outputs else "normal", STEP),
        ),
        why_not_allowed=_why_not_allowed(options, has_outputs=has_outputs),
        max_age=max_age,
        max_age_name=max_age_name,
    )


def age_policy(options: ReuseOptions, conf: Any, settings: Settings) -> Policy:
    """The policy of a sensor, which runs nothing and stores nothing: only the age of outputs matters.

    Raises DefinitionError for a misspelt switch in *conf*.
    """
    max_age, max_age_name = _max_age(options, conf, settings)
    return Policy(max_age=max_age, max_age_name=max_age_name)


def _why_not_allowed(options: ReuseOptions, *, has_outputs: bool) -> str | None:
    if options.allow_reuse is False:
        return "allow_reuse is False"
    if options.allow_reuse is None and not has_outputs:
        return "the step declares no output, so it runs for its side effects"
    return None


def _max_age(options: ReuseOptions, conf: Any, settings: Settings) -> tuple[float | None, str]:
    """The oldest that outputs may be, in seconds, and what the strictest limit is called."""
    of_step = (settings.default_max_age, "[mlpipe] default_max_age")
    if options.max_age is not None:
        of_step = (options.max_age.total_seconds(), "max_age")
    limits = [of_step, (run_max_age(conf), f"max_age of {RUN}"), (settings.max_age, "[mlpipe] max_age")]
    stated = [(age, name) for age, name in limits if age is not None]
    return min(stated, key=lambda limit: limit[0], default=(None, "max_age"))
