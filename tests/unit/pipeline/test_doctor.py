"""Each check of the doctor, on an installation that it likes and on one that it does not."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from airflow import settings as airflow_settings
from airflow.jobs.job import Job
from airflow.sdk import timezone
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, sessionmaker

from airflow_mlpipe import access
from airflow_mlpipe.errors import StoreError
from airflow_mlpipe.pipeline.datastores import know_datastores
from airflow_mlpipe.pipeline.doctor import compute_checks, deployment_checks, machine_checks, store_checks
from airflow_mlpipe.pipeline.doctor.examination import CHECKS, examine
from airflow_mlpipe.pipeline.doctor.finding import Finding, ok
from airflow_mlpipe.pipeline.settings import Settings
from airflow_mlpipe.store.clock import store_time
from airflow_mlpipe.store.datastore import Datastore
from airflow_mlpipe.store.local_folder import LocalFolder
from airflow_mlpipe.store.trial import has_coarse_times, has_hard_links, try_out
from tests.unit.store.faulty import FaultyFolder

SetOption = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetOption:
    """Set options of [mlpipe]; every store and folder lies below a folder of the test's own."""

    def set_option(name: str, value: object) -> None:
        monkeypatch.setenv(f"AIRFLOW__MLPIPE__{name.upper()}", str(value))

    set_option("datastore", tmp_path / "store")
    set_option("work_directory", tmp_path / "work")
    set_option("cache_directory", tmp_path / "cache")
    return set_option


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Airflow's database, without a table."""
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    monkeypatch.setattr(airflow_settings, "Session", sessionmaker(engine, expire_on_commit=False))
    return engine


def test_a_sound_installation_has_no_failures() -> None:
    found = examine()
    assert set(found) == set(CHECKS)
    assert [name for name, finding in found.items() if finding.level == "FAIL"] == []


def test_examining_leaves_no_litter_in_the_store(tmp_path: Path) -> None:
    store = Datastore.open(str(tmp_path / "store"))
    store.write("mlpipe/v1/steps/a", b"1")
    examine()
    assert [file.key for file in store.files() if "/locks/" not in file.key] == ["mlpipe/v1/steps/a"]
    assert {path.name for path in (tmp_path / "store" / "mlpipe" / "v1").iterdir()} == {"steps", "locks"}


def test_what_is_wrong_says_how_to_mend_it(option: SetOption) -> None:
    option("compute_targets", "/nowhere.yaml")
    finding = examine()["compute targets"]
    assert (finding.level, bool(finding.mend)) == ("FAIL", True)


def test_a_store_with_a_name_is_told_by_both(
    option: SetOption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_resolver", access.as_it_is)
    know_datastores()
    file = tmp_path / "datastores.yaml"
    file.write_text(f"shared: {{url: {tmp_path}/shared}}\n")
    option("datastores", file)
    option("datastore", "datastore://shared/ml")
    found = examine()
    assert found["datastores file"].said == f"{file} has shared"
    assert found["datastore"].said.startswith(f"file://{tmp_path}/shared/ml (datastore://shared/ml): read,")
    option("datastore", "datastore://nowhere/ml")
    assert "'nowhere' is not known" in examine()["datastore"].said


def test_a_check_that_raises_is_a_failure_with_its_sentence() -> None:
    def refused(settings: Settings) -> Finding:
        raise StoreError("cannot write there; mount the disk")

    def broken(settings: Settings) -> Finding:
        raise KeyError("x")

    found = examine({"a": refused, "b": broken, "c": lambda settings: ok("fine")})
    assert found["a"] == Finding("FAIL", "cannot write there", "mount the disk")
    assert found["b"] == Finding("FAIL", "the check itself failed: KeyError: 'x'")
    assert found["c"].level == "ok"


# -- options and Airflow -------------------------------------------------------------------------------------


def test_an_option_with_a_wrong_value_is_all_that_is_told(option: SetOption) -> None:
    option("verify", "twice")
    assert examine() == {
        "options": Finding("FAIL", "[mlpipe] verify is 'twice'", "it must be auto, size, digest or none")
    }


def test_a_misspelt_option_fails(option: SetOption) -> None:
    option("datastroe", "/data")
    finding = examine()["options"]
    assert finding.level == "FAIL"
    assert "no option datastroe" in finding.said


@pytest.mark.parametrize(("name", "value"), [("reuse", "bypass"), ("verify", "none"), ("lease_seconds", "5")])
def test_an_option_that_undoes_reuse_is_pointed_out(option: SetOption, name: str, value: str) -> None:
    option(name, value)
    finding = examine()["options"]
    assert finding.level == "warn"
    assert name in finding.said


@pytest.mark.parametrize("check", ["provider", "command_line"])
def test_a_provider_that_airflow_does_not_list_fails(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        deployment_checks,
        "get_provider_info",
        lambda: {"package-name": "airflow-mlpipe-missing", "cli": ["airflow_mlpipe.missing.get_commands"]},
    )
    assert getattr(deployment_checks, check)(Settings.read()).level == "FAIL"


def test_another_version_than_the_installed_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_checks, "__version__", "99.0.0")
    assert "99.0.0 is imported" in deployment_checks.provider(Settings.read()).said


def test_a_plugin_that_is_not_loaded_fails_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import plugins_manager

    monkeypatch.setattr(plugins_manager, "get_plugin_info", lambda attributes: [{"name": "another"}])
    monkeypatch.setattr(plugins_manager, "get_import_errors", lambda: {"airflow_mlpipe": "no module x"})
    finding = deployment_checks.plugin(Settings.read())
    assert finding.level == "FAIL"
    assert "no module x" in finding.said


def test_a_database_without_tables_is_a_warning() -> None:
    finding = deployment_checks.metadata_database(Settings.read())
    assert finding.level == "warn"
    assert "cannot be asked" in finding.said


def test_deferred_waiting_needs_a_triggerer_that_is_alive(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deployment_checks.waiting(Settings.read()).level == "ok"
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert deployment_checks.waiting(Settings.read()).level == "warn"  # nobody knows
    Job.__table__.create(database)
    assert deployment_checks.waiting(Settings.read()).level == "FAIL"
    with Session(database) as session:
        session.execute(
            Job.__table__.insert().values(
                job_type="TriggererJob", state="running", latest_heartbeat=timezone.utcnow()
            )
        )
        session.commit()
    assert deployment_checks.waiting(Settings.read()).level == "ok"


@pytest.mark.parametrize("name", ["compute_targets", "environments"])
@pytest.mark.parametrize("text", [None, "a: {b: [", "cpu: {type: unheard of}", "\xff"])
def test_a_file_of_names_that_is_absent_or_wrong_fails(
    option: SetOption, tmp_path: Path, name: str, text: str | None
) -> None:
    path = tmp_path / "names.yaml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    option(name, path)
    finding = examine()[name.replace("_", " ")]
    assert finding.level == "FAIL"
    assert str(path) in finding.said


def test_a_file_of_names_tells_what_it_has(option: SetOption, tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("sklearn:\n  pip_packages: [scikit-learn]\n")
    option("environments", path)
    assert examine()["environments"] == ok(f"{path} has sklearn")


def test_a_signing_key_is_found_and_never_printed(option: SetOption, monkeypatch: pytest.MonkeyPatch) -> None:
    option("signing_key", "connection:mlpipe_signing")
    assert examine()["signing key"].level == "FAIL"
    monkeypatch.setenv(
        "AIRFLOW_CONN_MLPIPE_SIGNING", json.dumps({"conn_type": "generic", "password": "s" * 40})
    )
    finding = examine()["signing key"]
    assert finding.level == "ok"
    monkeypatch.setenv(
        "AIRFLOW_CONN_MLPIPE_SIGNING", json.dumps({"conn_type": "generic", "password": "short"})
    )
    refused = examine()["signing key"]
    assert refused.level == "FAIL"
    assert "s" * 40 not in f"{finding}"
    assert "short" not in refused.said


# -- datastores ----------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_written_fails(option: SetOption, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    option("datastore", tmp_path / "file")
    found = examine()
    assert found["datastore"].level == "FAIL"
    assert "check that the disk is mounted" in found["datastore"].mend
    assert found["Python"].level == "ok"


class Forgetful(LocalFolder):
    """A store that lets anybody create anything."""

    def create(self, key: str, data: bytes) -> bool:
        self.write(key, data)
        return True


class Careless(LocalFolder):
    def swap(self, key: str, expected: bytes, data: bytes | None) -> bool:
        return True


class Stale(LocalFolder):
    def delete(self, key: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "promise"),
    [(Forgetful, "of two who create"), (Careless, "a swap against other"), (Stale, "what was deleted")],
)
def test_a_store_that_breaks_a_promise_is_found_out(
    kind: type[LocalFolder], promise: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=promise):
        try_out(Datastore(kind(tmp_path)))
    assert not list(tmp_path.rglob("trial-*"))


def test_a_store_that_refuses_to_delete_is_found_out(tmp_path: Path) -> None:
    def refuse(verb: str, key: str, *, after: bool) -> None:
        if verb.startswith("delete"):
            raise StoreError("cannot delete; check the permissions")

    with pytest.raises(StoreError, match="cannot delete"):
        try_out(Datastore(FaultyFolder(LocalFolder(tmp_path), refuse)))


@pytest.mark.parametrize("url", ["memory://doctor", "{tmp_path}"])
def test_a_sound_store_is_tried_out_and_left_as_it_was(url: str, tmp_path: Path) -> None:
    store = Datastore.open(url.format(tmp_path=tmp_path))
    try_out(store)
    assert [file for file in store.files() if "/locks/" not in file.key] == []


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0.2, "ok", "within 1 s"),
        (-50.0, "ok", "within 50 s"),
        (90.0, "warn", "1.5 min ahead of"),
        (-7200.0, "FAIL", "2 h behind"),
        (None, "warn", "does not tell"),
    ],
)
def test_a_clock_that_differs_is_told(ahead: float | None, level: str, words: str) -> None:
    finding = store_checks.clock_finding(ahead)
    assert finding.level == level
    assert words in finding.said


@pytest.mark.parametrize("url", ["memory://clock", "{tmp_path}"])
def test_the_time_of_a_store_is_read_without_litter(url: str, tmp_path: Path) -> None:
    store = Datastore.open(url.format(tmp_path=tmp_path))
    path = tmp_path / "now"
    path.touch()
    told = store_time(store)
    assert told is not None
    assert abs(told - path.stat().st_mtime) < 5
    assert list(store.files("mlpipe")) == []


def test_a_disk_without_hard_links_or_with_coarse_times_is_told(tmp_path: Path) -> None:
    def refuse(one: Path, other: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    def whole_seconds(path: Path) -> os.stat_result:
        os.utime(path, (1000, 1000))
        return path.stat()

    assert has_hard_links(tmp_path)
    assert not has_hard_links(tmp_path, refuse)
    assert has_coarse_times(tmp_path, whole_seconds)
    assert list(tmp_path.iterdir()) == []
    found = [
        store_checks.disk_finding(tmp_path, has_links=links, has_coarse=coarse).level
        for links, coarse in ((True, False), (False, False), (True, True))
    ]
    assert found == ["ok", "warn", "warn"]


def test_a_store_of_this_machine_is_pointed_out_to_workers_elsewhere(
    option: SetOption, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    assert store_checks.place(Settings.read()).level == "ok"
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    assert store_checks.place(Settings.read()).level == "warn"
    option("datastore", "memory://elsewhere")
    assert store_checks.place(Settings.read()).level == "ok"


def test_a_read_store_must_be_there_and_is_not_written(option: SetOption, tmp_path: Path) -> None:
    option("read_datastores", tmp_path / "shared")
    assert examine()["other datastores"].level == "FAIL"
    (tmp_path / "shared").mkdir(mode=0o555)
    assert examine()["other datastores"].level == "ok"
    assert list((tmp_path / "shared").iterdir()) == []


# -- the machine ---------------------------------------------------------------------------------------------


def test_a_file_where_a_folder_is_to_be_fails(option: SetOption, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    option("work_directory", tmp_path / "file" / "work")
    assert machine_checks.folders(Settings.read()).level == "FAIL"


@pytest.mark.parametrize(
    ("free", "inodes", "level"),
    [
        (10**11, 10**6, "ok"),
        (10**11, None, "ok"),
        (10**9, 10**6, "warn"),
        (10**7, None, "FAIL"),
        (10**11, 0, "FAIL"),
    ],
)
def test_a_disk_that_fills_up_is_told(free: int, inodes: int | None, level: str) -> None:
    assert machine_checks.space_finding(Path("/data"), free, inodes).level == level


def test_a_cache_that_does_not_remember_is_a_warning(option: SetOption, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "digests.sqlite").mkdir()
    assert machine_checks.hash_cache(Settings.read()).level == "warn"


@pytest.mark.parametrize(
    ("version", "level"), [((3, 9), "FAIL"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 14), "FAIL")]
)
def test_an_unsupported_python_fails(version: tuple[int, int], level: str) -> None:
    assert machine_checks.python_finding(version).level == level


def test_a_missing_or_broken_uv_fails(tmp_path: Path) -> None:
    def missing() -> str:
        raise FileNotFoundError("no uv")

    assert machine_checks.uv(Settings.read(), missing).level == "FAIL"
    assert machine_checks.uv(Settings.read(), lambda: "/bin/false").level == "FAIL"
    assert machine_checks.uv(Settings.read()).level == "ok"


def test_a_docker_engine_that_does_not_answer_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert machine_checks.docker(Settings.read()).level == "warn"


def test_a_docker_engine_that_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine() as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        assert machine_checks.docker(Settings.read()) == ok("engine 27.0.1")


def test_each_target_of_the_file_that_does_not_answer_is_a_warning_with_its_name_and_cause(
    option: SetOption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLOSED", "ssh://nobody@127.0.0.1:9")
    monkeypatch.setattr(compute_checks, "SECONDS", 1)
    (tmp_path / "kubeconfig").write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], "
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], users: [{name: u, user: {}}]}"
    )
    with engine() as port:
        (tmp_path / "targets.yaml").write_text(
            f"up: {{type: docker, docker_url: 'tcp://127.0.0.1:{port}'}}\n"
            "engine: {type: docker, docker_url: 'tcp://127.0.0.1:9'}\n"
            "again: {type: docker, docker_url: 'tcp://127.0.0.1:9', cpus: 2}\n"
            f"cluster: {{type: kubernetes, config_file: {tmp_path}/kubeconfig}}\n"
            "machine: {type: remote, ssh_conn_id: closed}\n"
        )
        option("compute_targets", tmp_path / "targets.yaml")
        finding = compute_checks.answers(Settings.read())
    assert finding.level == "warn"
    engines, cluster, machine = finding.said.split(";")[:3]
    for told, names, cause in (
        (engines, "engine, again: ", "Connection refused"),
        (cluster, " cluster: ", "refused"),
        (machine, " machine: ", "not reached"),
    ):
        assert told.startswith(names)
        assert cause in told


def test_targets_that_answer_are_told(option: SetOption, tmp_path: Path) -> None:
    with engine() as port:
        (tmp_path / "targets.yaml").write_text(
            f"up: {{type: docker, docker_url: 'tcp://127.0.0.1:{port}'}}\n"
        )
        option("compute_targets", tmp_path / "targets.yaml")
        assert compute_checks.answers(Settings.read()) == ok("up answers")


def test_the_image_builder_matters_when_pods_need_an_image_of_the_file(
    option: SetOption, tmp_path: Path
) -> None:
    option("image_builder", "tcp://127.0.0.1:9")
    (tmp_path / "environments.yaml").write_text("deep: {image: 'train:7', pip_packages: [torch]}\n")
    option("environments", tmp_path / "environments.yaml")
    assert compute_checks.image_builder(Settings.read()).level == "ok"
    (tmp_path / "targets.yaml").write_text("pods: {type: kubernetes}\n")
    option("compute_targets", tmp_path / "targets.yaml")
    finding = compute_checks.image_builder(Settings.read())
    assert (finding.level, "deep" in finding.said) == ("warn", True)
    assert "image_builder" in finding.mend
    with engine() as port:
        option("image_builder", f"tcp://127.0.0.1:{port}")
        assert compute_checks.image_builder(Settings.read()).level == "ok"


@contextmanager
def engine() -> Iterator[int]:
    """As much of a Docker engine as tells its version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"Version": "27.0.1", "ApiVersion": "1.46", "MinAPIVersion": "1.24"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_kubernetes_configuration_is_told_or_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert machine_checks.kubernetes(Settings.read()).level == "warn"
    path.write_text(
        "{current-context: team, contexts: [{name: team, context: {cluster: c, user: u}}], "
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1'}}], users: [{name: u, user: {}}]}"
    )
    assert machine_checks.kubernetes(Settings.read()) == ok("context team")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert machine_checks.kubernetes(Settings.read()).level == "ok"
