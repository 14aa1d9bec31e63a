from __future__ import annotations

import dataclasses
import itertools
from datetime import timedelta
from typing import Any, get_args

import pytest

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.reuse_options import ReuseOptions
from airflow_mlpipe.pipeline.policy import age_policy, policy_of
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.reuse.decision import Candidate, Evidence, ReuseMode, decide

MODES: tuple[ReuseMode, ...] = get_args(ReuseMode)
REUSES = {"normal", "read_only"}
STORES = {"normal", "refresh"}

NOW = 1_000_000.0
FOUND = Evidence(candidate=Candidate("d/r/t", sealed_at=NOW - 100, seconds=1.0))


def settings(**values: Any) -> Settings:
    return dataclasses.replace(Settings.read(), **values)


@pytest.mark.parametrize("deployment", MODES)
@pytest.mark.parametrize("run", MODES)
@pytest.mark.parametrize("regenerates", [False, True])
@pytest.mark.parametrize("allow_reuse", [None, False, True])
@pytest.mark.parametrize("has_outputs", [False, True])
def test_deployment_run_and_step_can_each_only_take_away(
    deployment: ReuseMode, run: ReuseMode, regenerates: bool, allow_reuse: bool | None, has_outputs: bool
) -> None:
    options = ReuseOptions(allow_reuse=allow_reuse, regenerate_outputs=regenerates)
    policy = policy_of(
        options, {"mlpipe": {"reuse": run}}, settings(reuse=deployment), has_outputs=has_outputs
    )
    allowed = has_outputs if allow_reuse is None else allow_reuse
    reuses = deployment in REUSES and run in REUSES and not regenerates and allowed
    decision = decide(policy, FOUND, NOW)
    assert (decision.action == "reuse") == reuses
    assert (policy.why_not_stored is None) == (deployment in STORES and run in STORES)
    assert ("the deployment ([mlpipe] reuse)" in decision.why) == (deployment not in REUSES)
    assert ("the run's configuration" in decision.why) == (run not in REUSES)
    assert ("regenerate_outputs" in decision.why) == regenerates


@pytest.mark.parametrize(
    ("deployment", "run", "sentence"),
    [
        ("bypass", "normal", "the deployment ([mlpipe] reuse) says bypass"),
        ("read_only", "refresh", "the deployment ([mlpipe] reuse) says read_only"),
        ("refresh", "bypass", "the run's configuration says bypass"),
        ("read_only", "bypass", "the deployment ([mlpipe] reuse) says read_only"),
    ],
)
def test_who_forbids_storing_is_named(deployment: ReuseMode, run: ReuseMode, sentence: str) -> None:
    conf = {"mlpipe": {"reuse": run}}
    policy = policy_of(ReuseOptions(), conf, settings(reuse=deployment), has_outputs=True)
    assert policy.why_not_stored == sentence


AGES = [None, 10.0, 50.0, 200.0]


@pytest.mark.parametrize(("step", "run", "default", "deployment"), [*itertools.product(AGES, repeat=4)])
def test_the_strictest_age_counts_and_the_default_stands_for_a_step_that_says_none(
    step: float | None, run: float | None, default: float | None, deployment: float | None
) -> None:
    options = ReuseOptions(max_age=None if step is None else timedelta(seconds=step))
    conf = {"mlpipe": {} if run is None else {"max_age": f"{run} s"}}
    policy = policy_of(options, conf, settings(max_age=deployment, default_max_age=default), has_outputs=True)
    stated = {
        "max_age" if step is not None else "[mlpipe] default_max_age": default if step is None else step,
        "max_age of the run's configuration": run,
        "[mlpipe] max_age": deployment,
    }
    ages = {name: age for name, age in stated.items() if age is not None}
    assert policy.max_age == min(ages.values(), default=None)
    assert not ages or ages[policy.max_age_name] == policy.max_age
    too_old = policy.max_age is not None and policy.max_age < 100
    assert (decide(policy, FOUND, NOW).action == "run") == too_old
    assert age_policy(options, conf, settings(max_age=deployment, default_max_age=default)) == (
        dataclasses.replace(policy, switches=())
    )


def test_of_equal_ages_the_nearest_to_the_step_is_named() -> None:
    options = ReuseOptions(max_age=timedelta(seconds=50))
    policy = policy_of(options, {}, settings(max_age=50.0, default_max_age=50.0), has_outputs=True)
    assert policy.max_age_name == "max_age"


def test_a_sensor_only_minds_the_age() -> None:
    options = ReuseOptions(regenerate_outputs=True, allow_reuse=False)
    conf = {"mlpipe": {"reuse": "bypass"}}
    assert decide(age_policy(options, conf, settings(reuse="refresh")), FOUND, NOW).action == "reuse"


@pytest.mark.parametrize("conf", [{"mlpipe": {"max_age": "soon"}}, {"mlpipe": {"resue": "refresh"}}])
def test_a_misspelt_switch_of_the_run_is_a_mistake_for_steps_and_sensors(conf: Any) -> None:
    with pytest.raises(DefinitionError):
        policy_of(ReuseOptions(), conf, settings(), has_outputs=True)
    with pytest.raises(DefinitionError):
        age_policy(ReuseOptions(), conf, settings())
