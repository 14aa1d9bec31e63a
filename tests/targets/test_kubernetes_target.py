"""Attempts as pods of a real cluster: what is said of their failures, and whose failures they are."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes.client import ApiException

from airflow_mlpipe.errors import InfrastructureError, StepError, TargetError
from airflow_mlpipe.records import StepResult
from airflow_mlpipe.targets.contract import AttemptDirectory, Container, TargetDriver
from airflow_mlpipe.targets.kubernetes.names import pod_name
from airflow_mlpipe.targets.kubernetes.phases import Sighting
from tests.engines import Cluster, new_namespace
from tests.targets.kubernetes_bench import KubernetesBench
from tests.targets.relay import relay_to
from tests.targets.waiting import LATEST_SECONDS, wait_until

SECOND = timedelta(seconds=1)

COUNTING = """
import pathlib, sys, time
print("begun", flush=True)
for number in range(200):
    print("line", number, flush=True)
    time.sleep(0.02)
"""
WAITING = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
UNTIL_GO = """
import os, pathlib, time
while not pathlib.Path(os.environ["GO"]).exists():
    time.sleep(0.02)
"""
GREEDY = "kept = []\nprint('begun', flush=True)\nwhile True: kept.append(bytearray(8 << 20))"


class Attempt:
    """One attempt of *code* on a bench."""

    def __init__(self, bench: KubernetesBench, code: str = WAITING) -> None:
        self.bench = bench
        self.driver = bench.driver()
        self.directory: AttemptDirectory = bench.attempt()
        self.go = bench.folder / f"go-{self.directory.attempt}"
        environment = {"PYTHONUTF8": "1", "GO": str(self.go)}
        self.spec = bench.spec(self.directory, "python3", "-c", code, environment=environment)

    @property
    def pod(self) -> str:
        return pod_name(self.directory.attempt)

    def launch(self) -> None:
        self.driver.launch(self.directory, self.spec, container=self.bench.container)

    def result(self) -> StepResult:
        for _ in self.driver.logs(self.directory):
            pass
        return self.driver.result(self.directory)

    def failure(self) -> StepError:
        """Why it has no result."""
        with pytest.raises(StepError) as caught:
            self.result()
        return caught.value

    def sighting(self) -> Sighting:
        sighting = self.driver.cluster.pod(self.pod)
        assert sighting is not None
        return sighting

    def failure_within(self, cause: str, **timeout: timedelta) -> StepError:
        """Why it has no result after this *timeout* of its target, which runs once *cause* was told of it."""
        wait_until(lambda: cause in self.sighting().sentence())
        self.bench.changes |= timeout
        self.driver = self.bench.driver()
        return self.failure()

    def patch_status(self, **status: Any) -> None:
        self.bench.core.patch_namespaced_pod_status(self.pod, self.bench.namespace, {"status": status})


@pytest.fixture(scope="module")
def place(
    kubernetes: Cluster, tmp_path_factory: pytest.TempPathFactory, bundle: Path
) -> Iterator[Callable[..., KubernetesBench]]:
    """Makes benches in one namespace."""
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o777)
    with new_namespace(kubernetes) as namespace:
        yield lambda cluster=kubernetes: KubernetesBench(folder, bundle, cluster, namespace)


@pytest.fixture
def start(place: Callable[..., KubernetesBench]) -> Iterator[Callable[..., Attempt]]:
    """Launches attempts, with changes of their target; they end with the test."""
    started = []

    def launched(code: str = WAITING, image: str | None = None, **changes: Any) -> Attempt:
        bench = place()
        bench.changes = changes
        bench.container = bench.container if image is None else Container(image)
        started.append(Attempt(bench, code))
        started[-1].launch()
        return started[-1]

    yield launched
    for attempt in started:
        attempt.driver.terminate(attempt.directory)
        attempt.driver.discard(attempt.directory)


def test_a_full_gpu_pool_is_named_while_the_pod_waits_and_when_it_has_waited_for_too_long(
    start: Callable[..., Attempt], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "airflow_mlpipe")
    attempt = start(gpus=99, node_pool=None)
    failure = attempt.failure_within("Insufficient nvidia.com/gpu", schedule_timeout=SECOND)
    shortage = r"0/\d+ nodes are available: .*Insufficient nvidia\.com/gpu"
    assert re.search(f"pod {attempt.pod}: Pending: {shortage}", caplog.text)
    assert isinstance(failure, TargetError)
    assert re.search(f"found no node within 0:00:01: {shortage}.*; make room", str(failure))
    attempt.driver.terminate(attempt.directory)
    attempt.driver.discard(attempt.directory)
    assert attempt.bench.kept(attempt.directory) == []


def test_an_image_that_is_missing_fails_at_once_and_one_that_does_not_come_after_its_own_time_out(
    start: Callable[..., Attempt],
) -> None:
    never = start(image="mlpipe-nowhere:1", image_pull_policy="Never")
    late = start(image="127.0.0.1:1/mlpipe-nowhere:1")  # nobody listens there, and somebody might some day
    late_failure = late.failure_within(
        "Failed to pull image", schedule_timeout=SECOND, image_pull_timeout=2 * SECOND
    )
    failures = [never.failure(), late_failure]
    assert [type(failure) for failure in failures] == [TargetError, TargetError]
    assert 'cannot start: ErrImageNeverPull: Container image "mlpipe-nowhere:1"' in str(failures[0])
    assert "did not get its image" in str(failures[1])
    assert "within 0:00:02" in str(failures[1])
    assert "Failed to pull image" in str(failures[1])


def test_a_program_that_the_image_lacks_is_the_targets_failure_which_names_it(
    start: Callable[..., Attempt],
) -> None:
    failure = start(python="python-of-nowhere").failure()
    assert isinstance(failure, TargetError)
    assert "could not start its container" in str(failure)
    assert "python-of-nowhere" in str(failure)


def test_a_step_that_reaches_its_memory_limit_is_told_so_with_the_limit(
    start: Callable[..., Attempt],
) -> None:
    result = start(GREEDY, memory="96Mi").result()
    assert (result.status, result.out_of_memory) == ("failed", True)
    assert "96" in result.message


def test_a_pod_that_somebody_deletes_is_lost_and_the_next_launch_of_it_runs(
    start: Callable[..., Attempt],
) -> None:
    attempt = start(WAITING)
    lines = attempt.driver.logs(attempt.directory)
    assert next(lines) == "begun"
    attempt.bench.core.delete_namespaced_pod(attempt.pod, attempt.bench.namespace)
    assert not [line for line in lines if not line.startswith("mlpipe-carrier: ")]
    assert attempt.driver.status(attempt.directory) == "lost"
    with pytest.raises(InfrastructureError, match="is gone and left no result"):
        attempt.driver.result(attempt.directory)
    attempt.launch()
    assert next(attempt.driver.logs(attempt.directory)) == "begun"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"reason": "Evicted", "message": "The node was low on resource: memory."},
            "Evicted: The node was low",
        ),
        ({"reason": "Preempting"}, "was ended by node gpu-"),
        ({"reason": "NodeLost", "message": "Node gpu-1 is gone"}, "NodeLost: Node gpu-1 is gone"),
        ({"reason": "Shutdown"}, "Shutdown"),
    ],
)
def test_a_pod_that_its_node_gives_up_is_an_infrastructure_failure(
    start: Callable[..., Attempt], status: dict[str, str], words: str
) -> None:
    attempt = start(node_pool="pool=gpu", gpus=1, annotations={"fake/seconds": "300"})
    wait_until(lambda: attempt.sighting().stage == "running")
    attempt.patch_status(phase="Failed", **status)
    failure = attempt.failure()
    assert isinstance(failure, InfrastructureError)
    assert words in str(failure)


def test_the_log_is_whole_when_the_api_server_goes_away_meanwhile(
    place: Callable[..., KubernetesBench], kubernetes: Cluster, tmp_path: Path
) -> None:
    server = urlsplit(kubernetes.core.api_client.configuration.host)
    with relay_to(server.hostname or "", server.port or 443) as relay:
        config = kubernetes.kubeconfig.read_text()
        (tmp_path / "config").write_text(config.replace(f":{server.port}", f":{relay.port}"))
        attempt = Attempt(place(Cluster(tmp_path / "config")), COUNTING)
        attempt.launch()
        shown = []
        for line in attempt.driver.logs(attempt.directory):
            shown.append(line)
            if line in ("line 30", "line 90"):
                relay.cut()
                threading.Timer(1.5, relay.mend).start()
        assert shown == ["begun", *(f"line {number}" for number in range(200))]
        assert attempt.driver.result(attempt.directory).status == "succeeded"
        attempt.driver.discard(attempt.directory)


def test_a_pod_that_has_not_ended_is_not_thrown_away_and_that_is_said(start: Callable[..., Attempt]) -> None:
    attempt = start(gpus=99, node_pool=None)  # no node has so many, and so it waits
    kept = attempt.bench.kept(attempt.directory)
    with pytest.raises(InfrastructureError, match=f"pod {attempt.pod} and its Secret .* stay in namespace"):
        attempt.driver.discard(attempt.directory)
    assert attempt.bench.kept(attempt.directory) == kept != []


def _launch_and_die(attempt: Attempt) -> None:
    submit = attempt.driver.submit

    def submit_and_die(manifest: dict[str, Any]) -> None:
        submit(manifest)
        os.kill(os.getpid(), signal.SIGKILL)

    attempt.driver = dataclasses.replace(attempt.driver, submit=submit_and_die)
    attempt.launch()


def test_a_worker_that_dies_when_the_pod_is_just_made_leaves_one_that_the_next_joins(
    place: Callable[..., KubernetesBench],
) -> None:
    bench = place()
    attempt = Attempt(bench, UNTIL_GO)
    worker = multiprocessing.get_context("fork").Process(target=_launch_and_die, args=(attempt,))
    worker.start()
    worker.join(LATEST_SECONDS)
    assert worker.exitcode == -signal.SIGKILL
    attempt.driver = bench.driver()
    assert attempt.driver.status(attempt.directory) == "running"
    attempt.launch()
    pods = bench.core.list_namespaced_pod(bench.namespace, label_selector="airflow-mlpipe/attempt").items
    assert [pod.metadata.name for pod in pods if attempt.pod == pod.metadata.name] == [attempt.pod]
    attempt.go.touch()
    assert attempt.result().status == "succeeded"
    attempt.driver.discard(attempt.directory)
    assert bench.kept(attempt.directory) == []


def test_a_role_that_may_not_is_told_which_verb_on_which_resource(
    place: Callable[..., KubernetesBench], kubernetes: Cluster, tmp_path: Path
) -> None:
    bench = place()
    restricted = _restricted(kubernetes, bench.namespace, tmp_path)
    limited = place(restricted)
    attempt = Attempt(limited)
    with pytest.raises(TargetError, match=rf"may not create secrets in namespace '{bench.namespace}'"):
        attempt.launch()
    limited.namespace = "kube-system"
    driver = limited.driver()
    with pytest.raises(TargetError, match="grant their role the verb 'get' on 'pods'"):
        driver.status(attempt.directory)


def _restricted(kubernetes: Cluster, namespace: str, folder: Path) -> Cluster:
    """The cluster for somebody who may only handle pods in *namespace*."""
    kubectl = ["kubectl", "--kubeconfig", str(kubernetes.kubeconfig), "-n", namespace]
    verbs = "create,get,list,watch,delete,patch"
    for command in (
        ["create", "sa", "runner"],
        ["create", "role", "pods", f"--verb={verbs}", "--resource=pods,pods/log"],
        ["create", "rolebinding", "pods", "--role=pods", f"--serviceaccount={namespace}:runner"],
    ):
        subprocess.run([*kubectl, *command], check=True, capture_output=True)
    core = kubernetes.core
    answer = core.create_namespaced_service_account_token("runner", namespace, {"spec": {}})
    configuration = core.api_client.configuration
    path = folder / "runner.kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: '{configuration.host}', "
        f"certificate-authority: '{configuration.ssl_ca_cert}'}}}}]\n"
        f"users: [{{name: u, user: {{token: '{answer.status.token}'}}}}]\n"
        f"contexts: [{{name: c, context: {{cluster: c, user: u, namespace: {namespace}}}}}]\n"
    )
    restricted = Cluster(path)
    wait_until(lambda: _may_list_pods(restricted, namespace))
    return restricted


def _may_list_pods(cluster: Cluster, namespace: str) -> bool:
    """Whether the API server knows by now what the role allows."""
    try:
        cluster.core.list_namespaced_pod(namespace)
    except ApiException:
        return False
    return True


def test_two_drivers_that_end_and_throw_away_the_same_attempt_do_no_harm(
    start: Callable[..., Attempt],
) -> None:
    attempt = start(WAITING)

    def end(driver: TargetDriver) -> str:
        driver.terminate(attempt.directory)
        driver.discard(attempt.directory)
        return driver.result(attempt.directory).status

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(end, [attempt.bench.driver(), attempt.bench.driver()])) == ["terminated"] * 2
    assert attempt.bench.kept(attempt.directory) == []
