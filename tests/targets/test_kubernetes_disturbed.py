"""A cluster whose API server goes away, and whose nodes freeze, while attempts run there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.targets.contract import AttemptDirectory
from tests.airflow.conftest import dags, task_log  # noqa: F401 - fixtures
from tests.airflow.harness import DagFiles
from tests.engines import Cluster, image_name
from tests.targets.disturbance import Node, nodes_here, watched_nodes, without_api_server
from tests.targets.kubernetes_bench import KubernetesBench
from tests.targets.waiting import wait_until

COUNTING = """
import itertools, os, pathlib, time
executions, enough = pathlib.Path(os.environ["EXECUTIONS"]), pathlib.Path(os.environ["ENOUGH"])
with executions.open("a") as told:
    told.write("begun ")
for number in itertools.count(1):
    print("line", number, flush=True)
    time.sleep(0.02)
    if enough.exists():
        break
with executions.open("a") as told:
    told.write(f"ended after {number}")
"""


class Attempt:
    """One attempt of COUNTING on a bench, which counts until it is told that this is enough."""

    def __init__(self, bench: KubernetesBench) -> None:
        self.driver = bench.driver()
        self.directory: AttemptDirectory = bench.attempt()
        self.shown: list[str] = []
        self._records = bench.records
        self._files = [bench.folder / f"{self.directory.attempt}.{name}" for name in ("executions", "enough")]
        environment = {"EXECUTIONS": str(self._files[0]), "ENOUGH": str(self._files[1])}
        spec = bench.spec(self.directory, "python3", "-c", COUNTING, environment=environment)
        self.driver.launch(self.directory, spec, container=bench.container)

    @property
    def executions(self) -> str:
        """What its executions told: when they began, and how far they came."""
        return self._files[0].read_text()

    @property
    def has_ended(self) -> bool:
        return self._records.has_result(self.directory)

    def enough(self) -> None:
        self._files[1].touch()

    def follow(self) -> None:
        """Show its log to the end."""
        for line in self.driver.logs(self.directory):
            self.shown.append(line)

    def shows_more(self) -> None:
        """Return when more of its log is shown than now, by some lines."""
        known = len(self.shown)
        wait_until(lambda: len(self.shown) > known + 10, 60)


@pytest.fixture
def bench(kubernetes: Cluster, namespace: str, shared_folder: Path, bundle: Path) -> KubernetesBench:
    return KubernetesBench(shared_folder, bundle, kubernetes, namespace)


def test_a_restart_of_the_api_server_loses_and_doubles_neither_lines_nor_steps(
    bench: KubernetesBench, kubernetes: Cluster
) -> None:
    attempts = ends_meanwhile, goes_on = Attempt(bench), Attempt(bench)
    with ThreadPoolExecutor() as threads:
        followed = [threads.submit(attempt.follow) for attempt in attempts]
        try:
            for attempt in attempts:
                attempt.shows_more()
            with without_api_server(kubernetes):
                ends_meanwhile.enough()
                wait_until(lambda: ends_meanwhile.has_ended, 60)
            goes_on.shows_more()
        finally:
            for attempt in attempts:
                attempt.enough()
        for one in followed:
            one.result()
    for attempt in attempts:
        assert attempt.executions == f"begun ended after {len(attempt.shown)}"
        assert attempt.shown == [f"line {number}" for number in range(1, len(attempt.shown) + 1)]
        assert attempt.driver.result(attempt.directory).status == "succeeded"
        attempt.driver.discard(attempt.directory)
        assert bench.kept(attempt.directory) == []


MARKING = """
import os, sys, time
for number in range(60):
    print("line", number, flush=True)
    time.sleep(0.1)
with open(sys.argv[1], "w") as made:
    made.write(os.uname().nodename)
with open({marks!r}, "a") as marks:
    marks.write(os.uname().nodename + "\\n")
"""


def on_any_of(nodes: dict[str, Node]) -> dict[str, Any]:
    """The patch of a pod that runs on one of *nodes*, and leaves one that does not answer at once."""
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [here]}]}
    silent = [
        {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
        for taint in ("not-ready", "unreachable")
    ]
    return {
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists"},
                *({**toleration, "tolerationSeconds": 1} for toleration in silent),
            ],
        }
    }


@pytest.fixture
def nodes(kubernetes: Cluster) -> Iterator[dict[str, Node]]:
    """The nodes on this machine, by their names: at least two. After the test all are thawed, and answer."""
    found = nodes_here(kubernetes)
    if len(found) < 2:
        pytest.skip(f"of the cluster's nodes, two or more have to run on this machine: {len(found)} do")
    with watched_nodes(kubernetes):
        try:
            yield found
        finally:
            for node in found.values():
                node.thaw()


@pytest.mark.slow
@pytest.mark.airflow
def test_a_step_whose_node_freezes_is_made_on_another_and_what_thaws_changes_nothing(
    dags: DagFiles,  # noqa: F811
    nodes: dict[str, Node],
    docker_host: str,
    kubernetes: Cluster,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)  # it tells which image the tag is
    marks, pods = tmp_path / "marks", []
    dags.script("make.py", MARKING.format(marks=str(marks)))
    dags.dag(f"""
    from airflow_mlpipe import KubernetesTarget, Volume

    pool = KubernetesTarget(
        image={image_name()!r}, namespace={namespace!r}, config_file={str(kubernetes.kubeconfig)!r},
        run_as_root=True, pod_patch={on_any_of(nodes)!r},
        volumes=(Volume(mount_path={str(tmp_path)!r}, host_path={str(tmp_path)!r}),),
    )
    step("make", PipelineData("made"), compute_target=pool, deferrable=False, timeout=400)
    """)

    def freeze_the_node_of_the_pod() -> None:
        pods.extend(kubernetes.core.list_namespaced_pod(namespace).items)
        nodes[pods[0].spec.node_name].freeze()

    dags.log.when("line 50", freeze_the_node_of_the_pod)
    run = dags.run()
    [pod] = pods
    node = nodes[pod.spec.node_name]
    assert run.state == "success", run.text
    assert f"node {node.name} does not answer" in run.text
    assert "infrastructure failure 1 of 3" in run.text
    assert run.tries == {"make": 1}
    assert run.decision("make")["attempt"].endswith(".1")
    made, manifest = run.read("make", "made"), dags.manifest(run, "make")
    assert marks.read_text().split() == [made]

    node.thaw_pods()
    wait_until(lambda: not node.runs(pod.metadata.uid), 60)
    assert marks.read_text().split() == [made, pod.metadata.name]
    node.thaw()
    again = dags.run()
    assert again.actions == {"make": "reused"}
    assert again.read("make", "made") == made
    assert dags.manifest(again, "make") == manifest
