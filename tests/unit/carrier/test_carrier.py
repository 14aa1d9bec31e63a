from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import InfrastructureError, TargetError, UserError
from airflow_mlpipe.records import Brought, CarriedFile, CarriedInput, InputSpec
from airflow_mlpipe.store.atomic import remove
from airflow_mlpipe.store.hashing import describe
from airflow_mlpipe.store.snapshot import SnapshotFile, pack
from airflow_mlpipe.targets.parcel import carrier_failure

SCRIPT = """
import json, os, pathlib, sys
outputs = pathlib.Path(json.load(open(os.environ["MLPIPE_SPEC"]))["directory"], "outputs")
print("hello from", os.getcwd().rpartition("/")[2])
(outputs / "table").write_text("a,b\\n1,2\\n")
model = outputs / "model"
(model / "deep" / "empty").mkdir(parents=True)
(model / "weights.bin").write_bytes(b"w" * 100_000)
(model / "run.sh").write_text("#!/bin/sh\\n")
(model / "run.sh").chmod(0o755)
pathlib.Path("outputs/notes.txt").write_text("a note")
from airflow_mlpipe.runtime import Run
run = Run.get_context()
run.log("accuracy", 0.5)
run.upload_file("plot.png", "outputs/notes.txt")
"""


def test_a_mounted_datastore_gets_what_the_step_made_and_python_needs_no_package(errand: Any) -> None:
    code, said = errand.run(SCRIPT)
    assert (code, said) == (0, "hello from code\n")
    left = errand.left()
    assert left["outputs/table"] == b"a,b\n1,2\n"
    assert left["files/outputs/notes.txt"] == left["files/plot.png"] == b"a note"
    assert left["log.txt"] == b"hello from code\n"
    assert b"accuracy" in left["metrics.jsonl"]
    assert errand.result().status == "succeeded"
    brought = {(item.place, item.path): item for item in errand.brought()}
    assert brought["outputs/model", "run.sh"].executable
    assert brought["outputs/model", "deep/empty"] == Brought("outputs/model", "deep/empty")


def test_a_datastore_on_a_server_gets_the_same(s3_errand: Any, errand: Any) -> None:
    assert s3_errand.run(SCRIPT) == (0, "hello from code\n")
    errand.run(SCRIPT)
    assert s3_errand.brought() == errand.brought()
    there, here = s3_errand.left(), errand.left()
    for name in here.keys() - {"metrics.jsonl", "result.json", "spec.json", "heartbeat", "ended.json"}:
        if name not in ("carriage.json", "supervisor.lock"):
            assert there[name] == here[name], name
    assert b"accuracy" in there["metrics.jsonl"]
    assert s3_errand.result().status == "succeeded"


def test_a_step_that_fails_leaves_its_log_and_no_output(s3_errand: Any) -> None:
    script = "open('outputs/x', 'w').close(); import sys; print('no luck', end=''); sys.exit(3)"
    assert s3_errand.run(script) == (0, "no luck")
    result = s3_errand.result()
    assert (result.status, result.exit_code, result.last_lines) == ("failed", 3, ["no luck"])
    assert set(s3_errand.left()) == {"carriage.json", "log.txt", "result.json"}


def test_secrets_reach_the_step_only_and_leave_no_file(errand: Any) -> None:
    script = (
        "import os; secret = os.environ['TOKEN']; print(len(secret), 'MLPIPE_PRIVATE' in os.environ)\n"
        "supervisor = open(f'/proc/{os.getppid()}/environ').read()\n"
        "carrier = open(f'/proc/{os.getppid()}/stat').read().split()[3]\n"
        "print(secret in supervisor, secret in open(f'/proc/{carrier}/environ').read())\n"
    )
    assert errand.run(script, variables={"TOKEN": "s3cret"}) == (0, "6 False\nFalse False\n")
    everything = [path for path in errand.machine.parent.rglob("*") if path.is_file()]
    assert [path for path in everything if b"s3cret" in path.read_bytes()] == []


def test_of_all_credentials_the_step_gets_those_for_what_it_opens_itself(s3_errand: Any) -> None:
    store = s3_errand.store
    store.write("raw/a.csv", b"a,b\n")
    script = (
        "import json, os\n"
        "handed = os.pread(int(os.environ['MLPIPE_CREDENTIALS_FD']), 10**6, 0)\n"
        "print(json.loads(handed)['urls'])\n"
        "from airflow_mlpipe.runtime.credentials import install; install()\n"
        "from airflow_mlpipe.access import filesystem\n"
        "fs, path = filesystem(os.environ['URL']); print(fs.cat(path))\n"
    )
    url = store.uri("raw/a.csv")
    spec = s3_errand.spec(
        script, inputs={"raw": InputSpec("file", [url])}, environment={"URL": url, "PYTHONPATH": ""}
    )
    said = s3_errand.start(spec).communicate(timeout=60)[0].decode()
    assert said == f"{{'{url}': 0}}\nb'a,b\\n'\n"


def test_inputs_come_with_their_modes_and_empty_folders(s3_errand: Any, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "empty").mkdir(parents=True)
    (made / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (made / "run.sh").chmod(0o755)
    (made / "data.csv").write_text("1,2\n")
    s3_errand.store.upload(made, "made")
    digest = describe(made).digest
    parts = [s3_errand.input("made", made, digest=digest)]
    script = (
        "import os, subprocess, sys; os.chdir(sys.argv[1]); print(sorted(os.listdir('.')), flush=True)\n"
        "subprocess.run(['./run.sh'])\n"
    )
    said = s3_errand.run(script, parts[0].path, inputs={"made": parts})
    assert said == (0, "['data.csv', 'empty', 'run.sh']\nit runs\n")


def test_an_input_that_is_not_what_it_must_be_is_not_used(s3_errand: Any, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "data.csv").write_text("1,2\n")
    s3_errand.store.upload(made, "made")
    part = s3_errand.input("made", made)
    s3_errand.store.write("made/data.csv", b"9,9\n")
    code, said = s3_errand.run("print('used')", inputs={"made": [part]})
    failure = carrier_failure(said.splitlines())
    assert code == 70
    assert isinstance(failure, InfrastructureError)
    assert "has SHA-256" in str(failure)
    assert s3_errand.result() is None


def test_an_image_without_the_driver_is_the_targets_failure(s3_errand: Any, bare_python: Path) -> None:
    s3_errand.python = bare_python
    code, said = s3_errand.run("print('never')")
    failure = carrier_failure(said.splitlines())
    assert code == 71
    assert isinstance(failure, TargetError)
    assert "its driver is not installed" in str(failure)
    assert "driver_image" in str(failure)


def test_a_datastore_on_a_disk_that_is_not_mounted_is_the_targets_failure(errand: Any) -> None:
    process = errand.start(errand.spec("print('never')"))
    process.kill()
    process.communicate()
    (errand.machine.parent / "store").rename(errand.machine.parent / "elsewhere")
    process = errand.restart()
    failure = carrier_failure(process.communicate(timeout=60)[0].decode().splitlines())
    assert process.returncode == 71
    assert isinstance(failure, TargetError)
    assert "mount the disk" in str(failure)


def test_what_cannot_be_kept_is_the_steps_own_failure(errand: Any) -> None:
    code, said = errand.run(
        "import os; os.symlink('/etc/hostname', '../attempt-link'); os.symlink('/etc', 'outputs/x')"
    )
    assert code == 72
    failure = carrier_failure(said.splitlines())
    assert isinstance(failure, UserError)
    assert "out of" in str(failure)
    result = errand.result()
    assert (result.status, result.exit_code) == ("failed", 0)
    assert result.message in said


@pytest.mark.parametrize("path", ["/etc/mlpipe-test", "{inputs}/../code/train.py", "{inputs}"])
def test_an_input_that_leads_out_of_its_folder_is_refused(errand: Any, path: str) -> None:
    part = CarriedInput(path.format(inputs=errand.root / "inputs"), [])
    code, said = errand.run("print('never')", inputs={"raw": [part]})
    assert (code, errand.result()) == (70, None)
    assert "out of" in said


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x"])
def test_a_file_that_leads_out_of_its_input_is_refused(errand: Any, tmp_path: Path, path: str) -> None:
    (tmp_path / "x").write_text("x")
    file = CarriedFile(path, f"file://{tmp_path}/x")
    part = CarriedInput(str(errand.root / "inputs/raw"), [file], writable=True)
    code, said = errand.run("print('never')", inputs={"raw": [part]})
    assert code == 70
    assert "cannot be the name" in said
    assert not (errand.root / "inputs/x").exists()


@pytest.mark.parametrize("name", ["data.csv", "none.csv"])
def test_a_disk_that_is_not_the_workers_is_the_targets_failure(
    errand: Any, tmp_path: Path, name: str
) -> None:
    (tmp_path / "data.csv").write_text("1,2\n")
    file = CarriedFile(name, f"file://{tmp_path}/{name}", size=5)
    part = CarriedInput(str(errand.root / "inputs/raw"), [file])
    code, said = errand.run("print('never')", inputs={"raw": [part]})
    assert (code, errand.result().status) == (71, "failed")
    assert isinstance(carrier_failure(said.splitlines()), TargetError)


def test_the_path_that_an_author_chose_leads_to_the_input_as_long_as_the_step_runs(
    errand: Any, tmp_path: Path
) -> None:
    link, raw = tmp_path / "fixed" / "raw", errand.root / "inputs" / "raw"
    spec = errand.spec("import os, sys; print(os.listdir(sys.argv[1]))", str(link))
    carriage = replace(errand.carriage, links={str(link): str(raw)})
    process = errand.start(spec, carriage=carriage, inputs={"raw": [CarriedInput(str(raw), [])]})
    assert process.communicate(timeout=60)[0] == b"[]\n"
    assert process.returncode == 0
    assert list(link.parent.iterdir()) == []


def test_code_that_is_not_the_snapshots_is_not_run(errand: Any) -> None:
    spec = errand.spec("print('mine')")
    carriage = errand.carriage
    errand.store.write(errand.store.key_of(carriage.snapshot_url), pack({"train.py": SnapshotFile(b"1/0")}))
    process = errand.start(spec, carriage=carriage)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 70
    assert "it is damaged" in said
    assert errand.result() is None


def test_sigterm_ends_a_running_step(errand: Any, until: Any) -> None:
    process = errand.start(errand.spec("import time; print('here', flush=True); time.sleep(600)"))
    until(lambda: b"here" in (errand.left().get("log.txt") or b""), "the first line")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert (process.returncode, said) == (0, b"here\n")
    result = errand.result()
    assert (result.status, result.message) == ("terminated", "terminated on request")


def test_sigterm_before_anything_was_done_ends_the_attempt_as_well(errand: Any, until: Any) -> None:
    process = errand.start(errand.spec("print('never')"))
    until(lambda: (errand.root / "runtime").exists(), "the first step of the boot")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == b""
    assert process.returncode == 0
    assert errand.result().status == "terminated"


def test_what_lies_in_the_working_directory_of_the_image_is_not_taken_for_a_module(
    errand: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "pathlib", "signal", "airflow_mlpipe"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('of the image')")
    monkeypatch.chdir(tmp_path)
    assert errand.run("print('it runs')") == (0, "it runs\n")


def test_an_attempt_that_has_a_result_is_not_run_again(errand: Any) -> None:
    errand.run("print('once')")
    before = errand.left()
    assert errand.run("print('once')") == (0, "")
    assert errand.left() == before


def test_a_machine_killed_at_any_moment_leaves_no_result_and_the_next_try_starts_clean(
    errand: Any, until: Any
) -> None:
    may_end = errand.root / "may_end"
    script = f"{SCRIPT}\nimport os, time\nwhile not os.path.exists({str(may_end)!r}): time.sleep(0.02)\n"
    spec, carriage = errand.spec(script), errand.carriage
    places = [errand.root / "runtime", errand.root / "code", errand.directory / "spec.json"]
    places += [errand.directory / name for name in ("log.txt", "outputs/table", "ended.json")]
    for place in places:
        for made in places:
            remove(made)
        if place.name == "ended.json":
            may_end.touch()
        process = errand.start(spec, carriage=carriage)
        until(place.exists, f"the making of {place.name}")
        process.kill()
        process.communicate(timeout=60)  # what it has started ends with it
        if place.name == "ended.json":  # from here it is not far to the result
            errand.store.delete(f"{errand.prefix}/result.json")
        assert errand.result() is None, place
    errand.store.write(f"{errand.prefix}/outputs/model/stale", b"of a killed try")
    process = errand.start(spec, carriage=carriage)
    assert process.communicate(timeout=60)[0] == b"hello from code\n"
    assert "outputs/model/stale" not in errand.left()
    assert errand.result().status == "succeeded"
