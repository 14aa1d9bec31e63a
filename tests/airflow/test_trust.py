"""Who shares outputs with whom, and whose outputs are believed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.models.variable import Variable
from fastapi import HTTPException

from airflow_mlpipe.plugins import web
from airflow_mlpipe.store.layout import attempt_prefix, lease_key
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.store.signature import Keyring
from tests.airflow.deployment import Deployments
from tests.airflow.harness import DagFiles, RunOutcome, rewrite
from tests.footprint import tree

pytestmark = pytest.mark.airflow

NEW, OLD = "new-signing-key-" * 3, "old-signing-key-" * 3

# What is made differs each time, so that a reference tells by whom.
MAKE = """
    import sys, uuid
    open(sys.argv[1], "w").write(uuid.uuid4().hex)
"""
USE = """
    import sys
    assert len(sys.argv[3]) < 9, "told to fail"
    open(sys.argv[2], "w").write(open(sys.argv[1]).read())
"""
PIPELINE = """
made = PipelineData("made")
step("make", made)
step("use", made.as_input(), PipelineData("used"), PipelineParameter("way"))
"""
PARAMS = 'params={"way": "reads"}'


@pytest.fixture
def deployments(dags: DagFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployments:
    dags.script("make.py", MAKE)
    dags.script("use.py", USE)
    dags.dag(PIPELINE, options=PARAMS)
    return Deployments(dags, tmp_path / "stores", monkeypatch)


def ran(*tasks: str) -> dict[str, str]:
    return {task: "ran" if task in tasks else "reused" for task in ("make", "use")}


# -- namespaces and stores that are only read -------------------------------------------------------------


def test_two_namespaces_share_nothing(deployments: Deployments) -> None:
    dags = deployments.dags
    for team in ("a", "b"):
        deployments.become("shared", namespace=team)
        run = dags.run()
        assert run.actions == ran("make", "use")
        assert run.decision("make")["kinds"] == ["first"]
        place = f"{deployments.url('shared')}/namespaces/{team}/mlpipe/v1/"
        assert run.reference("make", "made").uri.startswith(place)
    deployments.become("shared", namespace="a")
    assert dags.run().actions == ran()
    assert [path.name for path in (deployments.base / "shared").iterdir()] == ["namespaces"]


def test_a_namespace_reuses_what_another_one_made_and_gives_nothing_back(deployments: Deployments) -> None:
    dags = deployments.dags
    deployments.become("shared")
    common = dags.run()
    deployments.become("shared", namespace="a", read_datastores="namespace:")
    run = dags.run()
    assert run.actions == ran()
    assert run.returned("make") == common.returned("make")
    assert dags.run(way="looks").actions == ran("use")
    deployments.become("shared")
    assert dags.run(way="looks").actions == ran("use")


def test_an_output_of_another_store_is_read_by_every_kind_of_task(deployments: Deployments) -> None:
    dags = deployments.dags
    dags.dag(
        """
        made = PipelineData("made")
        first = step("make", made)

        @task
        def look(data):
            with data.open(mode="r") as file:
                assert file.read() == data.path().read_text()
            return data.uri

        look(first.output["made"])
        step("use", made.as_input(), PipelineData("used"), PipelineParameter("way"))
        """,
        options=PARAMS,
    )
    deployments.become("released")
    dags.run()
    deployments.become("own", read_datastores=deployments.url("released"))
    run = dags.run(way="looks")
    assert run.actions == ran("use")
    assert run.returned("look").startswith(deployments.url("released"))
    assert run.reference("use", "used").uri.startswith(deployments.url("own"))
    assert run.read("use", "used") == run.read("make", "made")


def made_once(deployments: Deployments) -> RunOutcome:
    """A run of the deployment that others only read."""
    deployments.become("released")
    run = deployments.dags.run()
    assert run.state == "success", run.text
    return run


def rarely(*values: object) -> Any:
    """A case that only "make test-slow" runs."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("conf", "state", "actions"),
    [
        ({}, "success", ran()),
        ({"way": "looks"}, "success", ran("use")),
        # Further ways to the same writes.
        rarely({"mlpipe": {"reuse": "refresh"}}, "success", ran("make", "use")),
        rarely({"way": "fails and is told so"}, "failed", {"make": "reused"}),
        rarely({"mlpipe": {"reuse": "bypass"}}, "success", ran("make", "use")),
        rarely({"mlpipe": {"reuse": "read_only"}, "way": "looks"}, "success", ran("use")),
        rarely({"mlpipe": {"max_age": "0.000001 s"}}, "success", ran("make", "use")),
    ],
)
@pytest.mark.parametrize(
    "options", [{"store": "own", "read_datastores": "RELEASED"}, {"store": "released", "read_only": "True"}]
)
def test_nothing_is_ever_written_to_a_store_that_is_only_read(
    deployments: Deployments,
    options: dict[str, str],
    conf: dict[str, object],
    state: str,
    actions: dict[str, str],
) -> None:
    made_once(deployments)
    before = tree(deployments.base / "released")
    private = deployments.url("private")
    options = {
        name: value.replace("RELEASED", deployments.url("released")) for name, value in options.items()
    }
    deployments.become(**options, private_datastore=private, verify="digest")
    run = deployments.dags.run(**conf)
    assert (run.state, run.actions) == (state, actions), run.text
    assert tree(deployments.base / "released") == before


@pytest.mark.parametrize("options", [{"store": "own"}, {"store": "released", "read_only": "True"}])
def test_damage_in_a_store_that_is_only_read_is_healed_in_the_own_one(
    deployments: Deployments, options: dict[str, str]
) -> None:
    first = made_once(deployments)
    first.path("make", "made").unlink()
    before = tree(deployments.base / "released")
    others = "" if "read_only" in options else deployments.url("released")
    deployments.become(**options, read_datastores=others, private_datastore=deployments.url("private"))
    run = deployments.dags.run()
    assert run.decision("make")["kinds"] == ["unusable"]
    assert "output 'made' is missing" in run.decision("make")["reason"]
    assert run.reference("make", "made").uri.startswith(deployments.url("own" if others else "private"))
    again = deployments.dags.run()
    assert again.actions == ran()
    assert again.returned("make") == run.returned("make")
    assert tree(deployments.base / "released") == before


def test_hidden_damage_in_a_store_that_is_only_read_stops_its_reader_and_is_healed_by_the_next_run(
    deployments: Deployments,
) -> None:
    first = made_once(deployments)
    rewrite(first.path("make", "made"), "0" * 32)  # as many bytes as before
    before = tree(deployments.base / "released")
    deployments.become("own", read_datastores=deployments.url("released"), verify="size")
    stopped = deployments.dags.run(way="looks")
    assert stopped.states == {"make": "success", "use": "failed"}
    assert "input made is not what its step had sealed; the next run makes it again" in stopped.text
    healed = deployments.dags.run(way="looks")
    assert healed.actions == ran("make", "use")
    assert healed.decision("make")["kinds"] == ["invalidated"]
    reader = f"{deployments.dags.dag_id()}/{stopped.run_id}/use"
    assert f"its outputs were invalidated by {reader}" in healed.decision("make")["reason"]
    assert healed.read("use", "used") == healed.read("make", "made") != "0" * 32
    assert deployments.dags.run(way="looks").actions == ran()
    assert tree(deployments.base / "released") == before


def test_outputs_that_were_made_again_meanwhile_are_not_withdrawn(deployments: Deployments) -> None:
    deployments.become("own")
    dags = deployments.dags
    first = dags.run()
    damaged = first.path("make", "made")

    def make_again() -> None:
        dags.run(mlpipe={"reuse": "refresh"})
        rewrite(damaged, "0" * 32)

    dags.log.when("reused outputs of", make_again)
    assert dags.run(way="looks").states["use"] == "failed"
    assert dags.run(way="looks").actions == ran("use")


def test_a_read_only_deployment_keeps_what_it_makes_to_itself(deployments: Deployments) -> None:
    made_once(deployments)
    private = {"read_only": "True", "private_datastore": deployments.url("private")}
    deployments.become("released", **private)
    run = deployments.dags.run(way="looks")
    assert run.actions == ran("use")
    assert run.decision("use")["sealed"]
    assert run.decision("use")["reason"] == "argument 3 reads -> looks"
    assert deployments.dags.run(way="looks").actions == ran()
    deployments.become("released")
    assert deployments.dags.run(way="looks").actions == ran("use")


def test_of_a_read_only_deployment_a_relative_destination_is_in_its_private_store(
    deployments: Deployments,
) -> None:
    dags = deployments.dags
    dags.script("make.py", 'open(__import__("sys").argv[1] + "/a", "w").write("made")')
    dags.dag('step("make", OutputFileDatasetConfig("made", destination="exports/{output-name}"))')
    made_once(deployments)
    before = tree(deployments.base / "released")
    deployments.become("released", read_only="True", private_datastore=deployments.url("private"))
    assert dags.run().actions == {"make": "reused"}
    assert (deployments.base / "private/exports/made/a").read_text() == "made"
    assert tree(deployments.base / "released") == before


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        ("BASE/released/exports/made", "to which nothing is written"),
        ("BASE/own/mlpipe/v1/steps/made", "lies among a datastore's own files"),
        ("BASE/own/namespaces/b/made", "lies among a datastore's own files"),
        ("BASE/own", "lies among a datastore's own files"),
        ("namespaces/b/mlpipe", "lies among a datastore's own files"),
    ],
)
def test_a_destination_in_a_place_of_others_is_refused(
    deployments: Deployments, destination: str, problem: str
) -> None:
    dags = deployments.dags
    place = destination.replace("BASE", str(deployments.base))
    dags.script("make.py", 'open(__import__("sys").argv[1] + "/a", "w").write("made")')
    dags.dag(f'step("make", OutputFileDatasetConfig("made", destination="{place}"))')
    deployments.become("own", read_datastores=deployments.url("released"))
    run = dags.run()
    assert run.state == "failed"
    assert problem in run.text
    kept = set(deployments.base.rglob("a")) - set((deployments.base / "own/mlpipe/v1/attempts").rglob("a"))
    assert kept == set()


@pytest.mark.parametrize("how", ['mode="poke"', "deferrable=True"])
def test_a_sensor_waits_for_outputs_of_another_store(deployments: Deployments, how: str) -> None:
    dags = deployments.dags
    made = made_once(deployments)
    elsewhere = deployments.base / "released"
    hidden = elsewhere.rename(elsewhere.with_name("not yet"))
    dags.dag(
        f"""
        OutputReuseSensor(task_id="await_make", entry=Script(script_name="make.py"), source_directory="src",
                          arguments=[PipelineData("made")], {how}, poke_interval=0.1, timeout=60)
        """,
        name="waiting",
    )
    deployments.become("own", read_datastores=deployments.url("released"))
    dags.log.when("waiting for its outputs", lambda: hidden.rename(elsewhere))
    run = dags.run("waiting")
    assert run.state == "success", run.text
    assert run.returned("await_make") == made.returned("make")


# -- signatures --------------------------------------------------------------------------------------------


@pytest.fixture
def variable() -> Iterator[str]:
    """A variable in Airflow's database, which a task reads by its supervisor; its value is NEW."""
    Variable.set("mlpipe_signing", NEW)
    yield "mlpipe_signing"
    Variable.delete("mlpipe_signing")


@pytest.fixture
def signing(deployments: Deployments, variable: str) -> Deployments:
    deployments.become("own", signing_key=f"variable:{variable}")
    return deployments


def test_a_deployment_with_a_key_signs_and_reuses_what_it_signed(signing: Deployments) -> None:
    run = signing.dags.run()
    assert run.actions == ran("make", "use")
    signature = signing.manifest("own", run, "make").signature
    assert signature is not None
    assert signature.key_id == Keyring([NEW]).key_ids[0]
    again = signing.dags.run()
    assert again.actions == ran()
    assert again.returned("use") == run.returned("use")


def test_without_a_key_nothing_is_signed_and_signed_outputs_are_reused(signing: Deployments) -> None:
    signing.dags.run()
    signing.become("own")
    assert signing.dags.run().actions == ran()
    run = signing.dags.run(way="looks")
    assert signing.manifest("own", run, "use").signature is None


def test_unsigned_outputs_are_made_again_by_who_has_a_key(deployments: Deployments, variable: str) -> None:
    deployments.become("own")
    unsigned = deployments.dags.run()
    deployments.become("own", signing_key=f"variable:{variable}")
    run = deployments.dags.run()
    assert run.actions == ran("make", "use")
    assert run.decision("make")["kinds"] == ["unusable"]
    assert "it is not signed, and [mlpipe] signing_key asks for signatures" in run.decision("make")["reason"]
    assert run.read("make", "made") != unsigned.read("make", "made")
    assert deployments.dags.run().actions == ran()


def test_a_manifest_that_was_changed_is_made_again(signing: Deployments) -> None:
    first = signing.dags.run()
    path = signing.manifest_path("own", first, "make")
    document = json.loads(path.read_bytes())
    document["producer"]["host"] = "elsewhere"
    rewrite(path, json.dumps(document))
    run = signing.dags.run()
    assert run.decision("make")["kinds"] == ["unusable"]
    assert "its signature is wrong: it was changed after it was sealed" in run.decision("make")["reason"]
    assert signing.dags.run().actions == ran()


def test_outputs_of_who_has_no_key_are_not_reused_though_they_replaced_signed_ones(
    signing: Deployments,
) -> None:
    signing.dags.run()
    signing.become("own")
    signing.dags.run(mlpipe={"reuse": "refresh"})
    signing.become("own", signing_key="variable:mlpipe_signing")
    assert signing.dags.run().decision("make")["kinds"] == ["unusable"]


def test_after_a_change_of_keys_the_older_ones_are_accepted_and_the_new_one_signs(
    deployments: Deployments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(password: str, *older: str) -> None:
        document = {"conn_type": "generic", "password": password, "extra": {"older_keys": [*older]}}
        monkeypatch.setenv("AIRFLOW_CONN_MLPIPE_SIGNING", json.dumps(document))

    dags = deployments.dags
    deployments.become("own", signing_key="connection:mlpipe_signing")
    key(OLD)
    dags.run()
    key(NEW, OLD)
    assert dags.run().actions == ran()
    run = dags.run(way="looks")
    signature = deployments.manifest("own", run, "use").signature
    assert signature is not None
    assert signature.key_id == Keyring([NEW]).key_ids[0]
    key(NEW)
    without_old = dags.run()
    assert without_old.actions == ran("make", "use")
    assert f"signed with the key {Keyring([OLD]).key_ids[0]}" in without_old.decision("make")["reason"]


def test_a_missing_key_fails_the_step_before_it_runs(deployments: Deployments) -> None:
    deployments.become("own", signing_key="variable:not_there")
    run = deployments.dags.run()
    assert run.states["make"] == "failed"
    assert "variable 'not_there', which [mlpipe] signing_key names, cannot be read" in run.text
    assert not list(deployments.base.rglob("result.json"))


def test_a_key_that_can_be_guessed_fails_the_step_at_once(deployments: Deployments, variable: str) -> None:
    Variable.set(variable, "sesame-open")
    deployments.dags.dag('step("make", PipelineData("made"), retries=2)')
    deployments.become("own", signing_key=f"variable:{variable}")
    run = deployments.dags.run()
    assert (run.states, run.tries) == ({"make": "failed"}, {"make": 1})
    assert "signing key 1 of 1 has 11 bytes, which can be guessed" in run.text
    assert "sesame-open" not in run.text


def test_the_key_is_in_no_file_log_or_xcom_and_does_not_reach_the_script(
    signing: Deployments, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    signing.dags.script(
        "make.py",
        """
        import os, sys
        found = [open(f"/proc/{pid}/environ").read() for pid in ("self", os.getppid())]
        assert "-".join(["new", "signing", "key"]) not in repr([found, dict(os.environ), sys.argv])
        open(sys.argv[1], "w").write("made")
    """,
    )
    run = signing.dags.run()
    assert run.state == "success", run.text
    signing.dags.run(way="looks")
    assert "new-signing-key" not in run.text + str(run.xcoms) + "".join(capfd.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if b"new-signing-key" in path.read_bytes()] == []


def test_a_step_that_is_given_the_key_as_an_argument_is_refused(signing: Deployments) -> None:
    signing.dags.dag(f'step("make", PipelineData("made"), "--key={NEW}")')
    run = signing.dags.run()
    assert run.state == "failed"
    assert "holds a value that Airflow masks" in run.text


def test_finished_work_of_another_user_is_not_signed(signing: Deployments) -> None:
    first = signing.dags.run()
    fingerprint, attempt = (first.decision("make")[key] for key in ("fingerprint", "attempt"))
    own = signing.datastore("own")
    folder = signing.base / "own" / attempt_prefix(attempt)

    def leave_behind(user: int) -> RunOutcome:
        """Go back to the moment before the seal, with a worker that died, and run."""
        signing.manifest_path("own", first, "make").unlink()
        own.delete(lease_key(fingerprint))
        long_ago = time.time() - 3600
        assert Leases(own, clock=lambda: long_ago).acquire(fingerprint, "d/r/t", attempt)
        os.utime(signing.base / "own" / lease_key(fingerprint), (long_ago, long_ago))
        os.chown(folder, user, -1)
        return signing.dags.run()

    if os.geteuid() == 0:
        forged = leave_behind(12345)
        assert f"Attempt {attempt} of the same step is another user's: it is not signed here" in forged.text
        assert forged.decision("make")["attempt"] != attempt
    assert leave_behind(os.geteuid()).decision("make")["attempt"] == attempt


def test_the_commands_tell_of_signatures(
    deployments: Deployments, variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = made_once(deployments).decision("make")["fingerprint"]
    assert "  signature    none\n" in told(capsys, "show", fingerprint)
    deployments.become("released", signing_key=f"variable:{variable}")
    assert "  signature    none that counts: it is not signed" in told(capsys, "show", fingerprint)
    problem = "its manifest cannot be used: it is not signed"
    assert problem in told(capsys, "verify", fingerprint, exit_code=1)
    deployments.dags.run()
    key_id = Keyring([NEW]).key_ids[0]
    assert f"  signature    by key {key_id}\n" in told(capsys, "show", fingerprint)
    assert "none damaged" in told(capsys, "verify", fingerprint)
    deployments.become("released")
    assert f"by key {key_id}, not checked: [mlpipe] signing_key is empty" in told(capsys, "show", fingerprint)


def told(capsys: pytest.CaptureFixture[str], *arguments: str, exit_code: int = 0) -> str:
    """What ``airflow mlpipe`` prints."""
    capsys.readouterr()
    parsed = get_parser().parse_args(["mlpipe", *arguments])
    with pytest.raises(SystemExit) if exit_code else nullcontext() as ended:
        parsed.func(parsed)
    assert ended is None or ended.value.code == exit_code
    return capsys.readouterr().out


# -- what the web app shows ------------------------------------------------------------------------------


def test_the_web_app_shows_manifests_of_other_stores_to_who_may_see_the_dag(deployments: Deployments) -> None:
    made = made_once(deployments)
    deployments.become("own", read_datastores=deployments.url("released"))
    fingerprint = made.decision("make")["fingerprint"]
    shown = web.manifest(deployments.dags.dag_id(), fingerprint)
    assert shown == deployments.manifest("released", made, "make").model_dump(mode="json")
    with pytest.raises(HTTPException, match="404"):
        web.manifest("another_dag", fingerprint)


def test_the_web_app_says_why_a_manifest_is_not_believed(
    deployments: Deployments, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_once(deployments)
    deployments.become("released", signing_key=f"variable:{variable}")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as in the API server
    with pytest.raises(HTTPException, match=r"409: .* it is not signed"):
        web.manifest(deployments.dags.dag_id(), made.decision("make")["fingerprint"])
