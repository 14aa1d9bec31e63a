"""A cluster whose API server goes away, and whose nodes freeze, while attempts run there.

Commands of whoever provides the cluster do that:

- MLPIPE_TEST_RESTART_API_SERVER kills the API server, and returns when it answers again, some seconds later.
- MLPIPE_TEST_FREEZE_NODE stops all processes of the node whose name it is given: its pods' and its kubelet.
- MLPIPE_TEST_THAW_NODE lets those of its pods continue, and then its kubelet.

The cluster's controllers have to take pods off nodes that do not answer, as they do by default.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mlpipe.targets.contract import AttemptDirectory
from airflow_mlpipe.targets.kubernetes.names import pod_name
from tests.airflow.conftest import dags, task_log  # noqa: F401 - fixtures
from tests.airflow.harness import DagFiles
from tests.engines import Cluster, image_name
from tests.targets.kubernetes_bench import KubernetesBench

pytestmark = pytest.mark.slow

COUNTING = """
import os, time
with open(os.environ["EXECUTIONS"], "a") as executions:
    executions.write("executed\\n")
for number in range(300):
    print("line", number, flush=True)
    time.sleep(float(os.environ["PAUSE"]))
"""
LINES = [f"line {number}" for number in range(300)]


class Attempt:
    """One attempt of COUNTING on a bench, with *pause* seconds between its lines."""

    def __init__(self, bench: KubernetesBench, pause: float) -> None:
        self.bench = bench
        self.driver = bench.driver()
        self.directory: AttemptDirectory = bench.attempt()
        self._executions = bench.folder / f"{self.directory.attempt}.executions"
        environment = {"PYTHONUTF8": "1", "EXECUTIONS": str(self._executions), "PAUSE": str(pause)}
        spec = bench.spec(self.directory, "python3", "-c", COUNTING, environment=environment)
        self.driver.launch(self.directory, spec, container=bench.container)

    @property
    def executions(self) -> int:
        return self._executions.read_text().count("executed")

    @property
    def node(self) -> str:
        sighting = self.driver.cluster.pod(pod_name(self.directory.attempt))
        return "" if sighting is None else sighting.node

    def shown(self, begun: Callable[[], object] = lambda: None) -> list[str]:
        """All lines that following it shows; *begun* is called after the first few."""
        lines = []
        for line in self.driver.logs(self.directory):
            lines.append(line)
            if len(lines) == 10:
                begun()
        return lines


@pytest.fixture
def bench(kubernetes: Cluster, namespace: str, shared_folder: Path, bundle: Path) -> KubernetesBench:
    return KubernetesBench(shared_folder, bundle, kubernetes, namespace)


def command(variable: str) -> list[str]:
    """The command that *variable* has; the test is skipped when it has none."""
    if not (words := shlex.split(os.environ.get(variable, ""))):
        pytest.skip(f"nobody says how to disturb the cluster: set {variable} to a command")
    return words


def test_a_restart_of_the_api_server_loses_and_doubles_neither_lines_nor_steps(
    bench: KubernetesBench,
) -> None:
    restart = command("MLPIPE_TEST_RESTART_API_SERVER")
    attempts = {"ended meanwhile": Attempt(bench, 0.02), "goes on": Attempt(bench, 0.12)}
    begun = threading.Barrier(len(attempts) + 1)
    with ThreadPoolExecutor() as threads:
        shown = {name: threads.submit(attempt.shown, begun.wait) for name, attempt in attempts.items()}
        begun.wait(60)
        subprocess.run(restart, check=True, timeout=120)
        assert {name: lines.result() for name, lines in shown.items()} == dict.fromkeys(attempts, LINES)
    for attempt in attempts.values():
        assert attempt.driver.result(attempt.directory).status == "succeeded"
        assert attempt.executions == 1
        attempt.driver.discard(attempt.directory)
        assert bench.kept(attempt.directory) == []


# It outlives a node that tells it to end, so that it makes its output twice if it ever can.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(60):
    print("line", number, flush=True)
    time.sleep(0.1)
open(sys.argv[1], "w").write(os.uname().nodename)
with open({marks!r}, "a") as marks:
    marks.write(os.uname().nodename + "\\n")
"""

ON_ANY_REAL_NODE = {
    "terminationGracePeriodSeconds": 15,
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["real", "realgpu"]}]}
                ]
            }
        }
    },
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        *(
            {"key": f"node.kubernetes.io/{taint}", "effect": "NoExecute", "tolerationSeconds": 1}
            | {"operator": "Exists"}
            for taint in ("not-ready", "unreachable")
        ),
    ],
}


@pytest.fixture
def freeze() -> Iterator[Callable[[str], None]]:
    """Freezes a node; every one is thawed after the test."""
    frozen: list[str] = []
    freezing, thawing = command("MLPIPE_TEST_FREEZE_NODE"), command("MLPIPE_TEST_THAW_NODE")

    def freeze(node: str) -> None:
        frozen.append(node)
        subprocess.run([*freezing, node], check=True, timeout=60)

    yield freeze
    for node in frozen:
        subprocess.run([*thawing, node], check=True, timeout=60)


@pytest.mark.airflow
def test_a_step_whose_node_freezes_is_made_on_another_and_what_thaws_changes_nothing(
    dags: DagFiles,  # noqa: F811
    freeze: Callable[[str], None],
    docker_host: str,
    kubernetes: Cluster,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_host)  # it tells which image the tag is
    marks, core, nodes = tmp_path / "marks", kubernetes.core, []
    dags.script("make.py", STUBBORN.format(marks=str(marks)))
    dags.dag(f"""
    from airflow_mlpipe import KubernetesTarget, Volume

    pool = KubernetesTarget(
        image={image_name()!r}, namespace={namespace!r}, config_file={str(kubernetes.kubeconfig)!r},
        run_as_root=True, pod_patch={{"spec": {ON_ANY_REAL_NODE!r}}},
        volumes=(Volume(mount_path={str(tmp_path)!r}, host_path={str(tmp_path)!r}),),
    )
    step("make", PipelineData("made"), compute_target=pool, deferrable=False)
    """)

    def freeze_the_node_of_the_pod() -> None:
        nodes.extend(pod.spec.node_name for pod in core.list_namespaced_pod(namespace).items)
        freeze(nodes[0])

    dags.log.when("line 50", freeze_the_node_of_the_pod)
    run = dags.run()
    assert run.state == "success", run.text
    assert f"node {nodes[0]} does not answer" in run.text
    assert "infrastructure failure 1 of 3" in run.text
    assert run.tries == {"make": 1}
    assert run.decision("make")["attempt"].endswith(".1")
    made = run.read("make", "made")
    assert marks.read_text().split() == [made]

    subprocess.run([*command("MLPIPE_TEST_THAW_NODE"), nodes[0]], check=True, timeout=60)
    deadline = time.monotonic() + 60
    while len(marks.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(set(marks.read_text().split())) == 2
    again = dags.run()
    assert again.actions == {"make": "reused"}
    assert again.read("make", "made") == made
