"""The switches of a run and of a deployment; those of a step are in test_reuse_options."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser

from tests.airflow.deployment import Deployments
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

STEP = 'step("make", PipelineData("made"){keyword})'


@pytest.fixture
def deployments(dags: DagFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployments:
    """One step, whose outputs are in the datastore ``own``."""
    dags.script("make.py", "import sys, uuid; open(sys.argv[1], 'w').write(uuid.uuid4().hex)")
    dags.dag(STEP.format(keyword=""))
    made = Deployments(dags, tmp_path / "stores", monkeypatch)
    made.become("own")
    assert dags.run().actions == {"make": "ran"}
    return made


@pytest.mark.parametrize(
    ("mode", "reason", "sealed"),
    [
        ("refresh", "the deployment ([mlpipe] reuse) asks for a refresh", True),
        ("bypass", "the deployment ([mlpipe] reuse) bypasses reuse", False),
    ],
)
def test_a_deployment_that_does_not_reuse_says_so(
    deployments: Deployments, mode: str, reason: str, sealed: bool
) -> None:
    deployments.become("own", reuse=mode)
    decision = deployments.dags.run().decision("make")
    assert (decision["kinds"], decision["reason"], decision["sealed"]) == ([mode], reason, sealed)


def test_a_deployment_that_is_only_to_reuse_stores_nothing_and_says_so(deployments: Deployments) -> None:
    deployments.become("own", reuse="read_only")
    assert deployments.dags.run().actions == {"make": "reused"}
    deployments.dags.dag(STEP.format(keyword=', reuse_version="2"'))
    run = deployments.dags.run()
    assert run.decision("make")["sealed"] is False
    assert "not kept for reuse: the deployment ([mlpipe] reuse) says read_only" in run.text
    assert deployments.dags.run().actions == {"make": "ran"}


def test_a_run_cannot_allow_what_its_deployment_forbids(deployments: Deployments) -> None:
    deployments.become("own", reuse="bypass")
    run = deployments.dags.run(mlpipe={"reuse": "normal"})
    assert run.decision("make")["kinds"] == ["bypass"]
    deployments.become("own", reuse="read_only")
    run = deployments.dags.run(mlpipe={"reuse": "refresh"})
    assert run.decision("make")["reason"] == "the run's configuration asks for a refresh"
    assert run.decision("make")["sealed"] is False


@pytest.mark.parametrize(
    ("options", "keyword", "conf", "limit"),
    [
        ({"max_age": "0.001 s"}, ", max_age=timedelta(days=7)", "9 d", "[mlpipe] max_age"),
        ({"default_max_age": "0.001 s"}, "", "9 d", "[mlpipe] default_max_age"),
        ({"max_age": "9 d"}, "", "0.001 s", "max_age of the run's configuration"),
        ({"max_age": "9 d"}, ", max_age=timedelta(milliseconds=1)", "9 d", "max_age"),
    ],
)
def test_the_strictest_age_counts_and_is_named(
    deployments: Deployments, options: dict[str, str], keyword: str, conf: str, limit: str
) -> None:
    deployments.become("own", **options)
    deployments.dags.dag(STEP.format(keyword=keyword))
    decision = deployments.dags.run(mlpipe={"max_age": conf}).decision("make")
    assert decision["kinds"] == ["too_old"]
    assert f"old, {limit} is 0" in decision["reason"]


def test_a_steps_own_age_stands_before_the_deployments_default(deployments: Deployments) -> None:
    deployments.become("own", default_max_age="0.001 s")
    deployments.dags.dag(STEP.format(keyword=", max_age=timedelta(days=7)"))
    assert deployments.dags.run().actions == {"make": "reused"}


def test_the_age_that_a_run_asks_for_holds_for_sensors(deployments: Deployments) -> None:
    deployments.dags.dag(
        """
        OutputReuseSensor(task_id="await_make", entry=Script(script_name="make.py"), source_directory="src",
                          arguments=[PipelineData("made")], mode="poke", poke_interval=0.1, timeout=0.3)
        """,
        name="waiting",
    )
    assert deployments.dags.run("waiting", mlpipe={"max_age": "9 d"}).state == "success"
    waited = deployments.dags.run("waiting", mlpipe={"max_age": "0.001 s"})
    assert waited.state == "failed"
    assert "max_age of the run's configuration is 0" in waited.text


WRONG = [
    (
        "reuse",
        "sometimes",
        "[mlpipe] reuse is 'sometimes'; it must be one of normal, refresh, bypass, read_only",
    ),
    ("max_age", "90", "[mlpipe] max_age is '90'; write a length of time above nothing, such as 12 h or 7 d"),
    ("namespace", "a/b", "[mlpipe] namespace names the namespace 'a/b'; use up to 63 letters"),
    ("read_only", "ja", "[mlpipe] read_only is 'ja'; it must be True or False"),
    ("signing_key", "hunter2", "[mlpipe] signing_key must be connection:CONN_ID or variable:KEY"),
]


@pytest.mark.parametrize(("option", "value", "sentence"), WRONG)
def test_a_wrong_value_of_an_option_fails_a_step_at_once_with_its_sentence(
    deployments: Deployments, option: str, value: str, sentence: str
) -> None:
    deployments.dags.dag(STEP.format(keyword=", retries=2"))
    deployments.become("own", **{option: value})
    run = deployments.dags.run()
    assert (run.states, run.tries) == ({"make": "failed"}, {"make": 1})
    assert sentence in run.text


@pytest.mark.parametrize(("option", "value", "sentence"), WRONG)
def test_a_wrong_value_of_an_option_ends_a_command_with_its_sentence(
    deployments: Deployments,
    option: str,
    value: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployments.become("own", **{option: value})
    arguments = get_parser().parse_args(["mlpipe", "verify"])
    with pytest.raises(SystemExit) as ended:
        arguments.func(arguments)
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"airflow mlpipe: {sentence}")
    assert told.out == ""
