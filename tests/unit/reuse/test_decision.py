from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest

from airflow_mlpipe.reuse.decision import (
    Candidate,
    Decision,
    Evidence,
    Policy,
    Reason,
    ReasonKind,
    ReuseMode,
    Switch,
    decide,
)
from airflow_mlpipe.reuse.explain import Difference

RUN = "the run's configuration"
DEPLOYMENT = "the deployment ([mlpipe] reuse)"

NOW = 1_000_000.0
MADE = Candidate("retrain/run-3/train", sealed_at=NOW - 2 * 3600, seconds=41.0)
FOUND = Evidence(candidate=MADE)
LR = Difference("arguments", "--lr", "0.1", "0.2")
CODE = Difference("code", "train.py", "python:" + "1a2b" + 60 * "0", "python:" + "9f8e" + 60 * "0")

# Policy, evidence; kinds of the reasons, the line in the log.
TABLE: list[tuple[Policy, Evidence, list[str], str]] = [
    (
        Policy(),
        FOUND,
        ["reused"],
        "reused outputs of retrain/run-3/train, made 2 h ago, saves 41 s",
    ),
    (
        Policy((Switch("read_only", RUN),)),
        FOUND,
        ["reused"],
        "reused outputs of retrain/run-3/train, made 2 h ago, saves 41 s",
    ),
    (
        Policy((Switch("refresh", RUN),)),
        FOUND,
        ["refresh"],
        "running: the run's configuration asks for a refresh",
    ),
    (
        Policy((Switch("refresh", "regenerate_outputs"),)),
        FOUND,
        ["refresh"],
        "running: regenerate_outputs asks for a refresh",
    ),
    (
        Policy((Switch("bypass", RUN),)),
        FOUND,
        ["bypass"],
        "running: the run's configuration bypasses reuse",
    ),
    (
        Policy(
            (Switch("bypass", DEPLOYMENT), Switch("refresh", RUN), Switch("normal", "regenerate_outputs"))
        ),
        FOUND,
        ["bypass", "refresh"],
        "running: the deployment ([mlpipe] reuse) bypasses reuse; the run's configuration asks for a refresh",
    ),
    (
        Policy(why_not_allowed="allow_reuse is False"),
        FOUND,
        ["not_allowed"],
        "running: allow_reuse is False",
    ),
    (
        Policy(),
        Evidence(candidate=MADE, undetermined=["input raw: its etag is not known"]),
        ["undetermined"],
        "running: input raw: its etag is not known",
    ),
    (
        Policy(),
        Evidence(problems=["output model is gone", "output log is cut"]),
        ["unusable", "unusable"],
        "running: output model is gone; output log is cut",
    ),
    (
        Policy(max_age=3600),
        FOUND,
        ["too_old"],
        "running: outputs of retrain/run-3/train are 2 h old, max_age is 1 h",
    ),
    (
        Policy(max_age=3600, max_age_name="[mlpipe] max_age"),
        FOUND,
        ["too_old"],
        "running: outputs of retrain/run-3/train are 2 h old, [mlpipe] max_age is 1 h",
    ),
    (
        Policy(),
        Evidence(invalidated="its outputs were invalidated by ada 2 h ago: bad labels", changes=[]),
        ["invalidated"],
        "running: its outputs were invalidated by ada 2 h ago: bad labels",
    ),
    (
        Policy(),
        Evidence(problems=["output model is gone"], invalidated="its outputs were invalidated by ada"),
        ["unusable"],
        "running: output model is gone",
    ),
    (
        Policy(max_age=7200),
        FOUND,
        ["reused"],
        "reused outputs of retrain/run-3/train, made 2 h ago, saves 41 s",
    ),
    (
        Policy(),
        Evidence(changes=[CODE, LR]),
        ["changed"],
        "running: train.py changed (1a2b... -> 9f8e...), argument --lr 0.1 -> 0.2",
    ),
    (
        Policy(),
        Evidence(changes=[]),
        ["gone"],
        "running: nothing changed, but the outputs are no longer in the datastore",
    ),
    (
        Policy(),
        Evidence(changes=None),
        ["first"],
        "running: no earlier outputs of this step are in the datastore",
    ),
    (
        Policy((Switch("refresh", RUN),), why_not_allowed="allow_reuse is False"),
        Evidence(candidate=MADE, undetermined=["the interpreter is not known"]),
        ["refresh", "not_allowed", "undetermined"],
        "running: the run's configuration asks for a refresh; allow_reuse is False; "
        "the interpreter is not known",
    ),
]


@pytest.mark.parametrize(("policy", "evidence", "kinds", "sentence"), TABLE)
def test_the_decision_follows_the_table(
    policy: Policy, evidence: Evidence, kinds: list[str], sentence: str
) -> None:
    decision = decide(policy, evidence, NOW)
    assert [reason.kind for reason in decision.reasons] == kinds
    assert decision.sentence() == sentence
    assert decision.action == ("reuse" if kinds == ["reused"] else "run")


def test_the_table_reaches_every_kind_of_reason() -> None:
    assert {kind for _, _, kinds, _ in TABLE for kind in kinds} == set(get_args(ReasonKind))


@pytest.mark.parametrize("mode", ["normal", "refresh", "bypass", "read_only"])
@pytest.mark.parametrize("why_not", [None, "allow_reuse is False"])
@pytest.mark.parametrize("candidate", [None, MADE])
@pytest.mark.parametrize("undetermined", [(), ("unknown",)])
@pytest.mark.parametrize("problems", [(), ("damaged",)])
@pytest.mark.parametrize("max_age", [None, 60.0])
def test_outputs_are_reused_only_when_nothing_at_all_speaks_against_it(
    mode: Any,
    why_not: str | None,
    candidate: Candidate | None,
    undetermined: Any,
    problems: Any,
    max_age: Any,
) -> None:
    policy = Policy((Switch(mode, RUN),), why_not_allowed=why_not, max_age=max_age)
    evidence = Evidence(candidate, undetermined, problems)
    clear = mode in ("normal", "read_only") and candidate is not None
    clear = clear and not (why_not or undetermined or problems or max_age)
    decision = decide(policy, evidence, NOW)
    assert (decision.action == "reuse") == clear
    assert decision.reasons


REUSES = {"normal", "read_only"}
STORES = {"normal", "refresh"}


@pytest.mark.parametrize("modes", [*itertools.product(get_args(ReuseMode), repeat=3)])
def test_each_switch_can_only_take_away(modes: tuple[ReuseMode, ...]) -> None:
    policy = Policy(tuple(Switch(mode, f"voice {number}") for number, mode in enumerate(modes)))
    assert (policy.mode in REUSES) == all(mode in REUSES for mode in modes)
    assert (policy.mode in STORES) == all(mode in STORES for mode in modes)
    assert (policy.why_not_stored is None) == (policy.mode in STORES)
    decision = decide(policy, FOUND, NOW)
    assert (decision.action == "reuse") == (policy.mode in REUSES)


@pytest.mark.parametrize("modes", [*itertools.product(get_args(ReuseMode), repeat=3)])
def test_a_sentence_names_everyone_who_forbids_reuse_and_nobody_else(modes: tuple[ReuseMode, ...]) -> None:
    policy = Policy(tuple(Switch(mode, f"voice {number}") for number, mode in enumerate(modes)))
    why = decide(policy, FOUND, NOW).why
    for number, mode in enumerate(modes):
        assert (f"voice {number}" in why) == (mode not in REUSES)


def test_the_first_who_forbids_storing_is_named() -> None:
    switches = (Switch("refresh", RUN), Switch("read_only", DEPLOYMENT), Switch("bypass", "somebody"))
    assert Policy(switches).why_not_stored == "the deployment ([mlpipe] reuse) says read_only"


def test_without_switches_everything_is_allowed() -> None:
    assert Policy().mode == "normal"
    assert Policy().why_not_stored is None


def test_a_reuse_says_what_it_saves_and_a_run_does_not() -> None:
    assert decide(Policy(), FOUND, NOW).saved_seconds == 41.0
    assert decide(Policy(), FOUND, NOW).saved_cost is None
    assert decide(Policy(), Evidence(), NOW).saved_seconds is None


def test_a_reuse_says_what_it_saves_of_paid_compute() -> None:
    made = Candidate("d/r/t", sealed_at=NOW - 60, seconds=7800.0, cost=6.5)
    decision = decide(Policy(), Evidence(candidate=made), NOW)
    assert decision.sentence() == "reused outputs of d/r/t, made 1 min ago, saves 2.2 h and 6.50 of compute"
    assert (decision.saved_seconds, decision.saved_cost) == (7800.0, 6.5)


def test_outputs_from_a_clock_that_is_ahead_are_new() -> None:
    ahead = Evidence(candidate=Candidate("d/r/t", sealed_at=NOW + 90, seconds=1))
    decision = decide(Policy(max_age=60), ahead, NOW)
    assert decision.sentence() == "reused outputs of d/r/t, made 0 s ago, saves 1 s"


def test_many_changes_are_counted() -> None:
    changes = [Difference("parameters", str(number), 1, 2) for number in range(8)]
    text = decide(Policy(), Evidence(changes=changes), NOW).reasons[0].text
    assert text.startswith("parameter 0 1 -> 2, ")
    assert text.endswith(" and 2 more")


def test_a_decision_is_plain_data() -> None:
    assert decide(Policy(), Evidence(), NOW) == Decision(
        "run", (Reason("first", "no earlier outputs of this step are in the datastore"),)
    )
