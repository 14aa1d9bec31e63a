"""Trouble for a real cluster: its API server is killed, a node freezes. All is as before after the block.

For that the processes of the cluster run on this machine, beside the tests. Where they do not, whoever asks
for trouble is skipped with the reason.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from tests.engines import Cluster, new_namespace
from tests.targets.waiting import wait_until

_API_SERVER, _CONTROLLERS, _KUBELET = "kube-apiserver", "kube-controller-manager", "kubelet"
# The first option that names a controller counts, so that these come before those that are there.
_NODES_ARE_WATCHED = ("--controllers=nodelifecycle,*", "--node-monitor-grace-period=20s")
_DEATH_SECONDS, _START_SECONDS, _NODE_SECONDS = 30, 120, 120


@contextmanager
def without_api_server(cluster: Cluster) -> Iterator[None]:
    """Its API server is killed, and started again at the end of the block, which waits until it answers.

    Programs that use it and are no part of Kubernetes, such as stand-ins for kubelets, stand still meanwhile:
    they need not be made for that.
    """
    server = _Daemon(_api_server(cluster))
    with _stopped(_bystanders(server.process)), server.away(until=lambda: _answers(cluster)):
        yield


@contextmanager
def watched_nodes(cluster: Cluster) -> Iterator[None]:
    """Its controllers take pods off nodes that have not answered for 20 s, whatever else they do or leave.

    At the end of the block every node has to answer that did before.
    """
    ready = _ready_nodes(cluster)
    controllers = _Daemon(_process_named(_CONTROLLERS))
    with controllers.away(until=lambda: _is_controlled(cluster)):
        watching = controllers.started(*_NODES_ARE_WATCHED)
        try:
            yield
            wait_until(lambda: _ready_nodes(cluster) >= ready, _NODE_SECONDS)
        finally:
            _kill(watching)


class Node:
    """The node *name* of a cluster, whose processes run on this machine."""

    def __init__(self, cluster: Cluster, name: str, kubelet: psutil.Process) -> None:
        self.name = name
        self._core = cluster.core
        self._kubelet = kubelet
        self._pods: set[psutil.Process] = set()

    def freeze(self) -> None:
        """Stop its kubelet, and every process of its pods. What they have open stays open, and is silent."""
        _signal([self._kubelet], signal.SIGSTOP)
        uids = {str(pod.metadata.uid) for pod in self._all_pods()}
        while more := set(_processes_of(uids)) - self._pods:  # those that one of them starts meanwhile, too
            _signal(more, signal.SIGSTOP)
            self._pods |= more

    def thaw_pods(self) -> None:
        """Let its pods go on, while the node does not answer yet."""
        _signal(self._pods, signal.SIGCONT)

    def thaw(self) -> None:
        """Let all of it go on. Twice is fine."""
        self.thaw_pods()
        _signal([self._kubelet], signal.SIGCONT)

    def runs(self, uid: str) -> bool:
        """Whether a container of the pod *uid* has processes; what only holds the pod together is none."""
        return any(process.name() != "pause" for process in _processes_of({uid}))

    def _all_pods(self) -> list[Any]:
        here = f"spec.nodeName={self.name}"
        return list(self._core.list_pod_for_all_namespaces(field_selector=here).items)


def nodes_here(cluster: Cluster) -> dict[str, Node]:
    """The nodes of *cluster* that answer, and whose kubelet runs on this machine, by their names."""
    ready = _ready_nodes(cluster)
    kubelets = {_node_name(process): process for process in _processes_named(_KUBELET)}
    return {name: Node(cluster, name, kubelets[name]) for name in ready & kubelets.keys()}


class _Daemon:
    """A process of the cluster that runs by itself, and how it was started."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self._log = _log_of(process)
        self._program = process.exe()
        self._options = process.cmdline()[1:]
        self._started: dict[str, Any] = {"cwd": process.cwd(), "env": process.environ()}
        self._niceness = process.nice()

    @contextmanager
    def away(self, until: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """It is killed, and started again at the end of the block as it was; that waits *until* it works."""
        _kill(self.process)
        try:
            yield
        finally:
            again = self.started()
            # Whoever started it first knows it by its id, and looks for that beside its log.
            for path in self._log.parent.glob("*.pid"):
                if path.read_text().strip() == str(self.process.pid):
                    path.write_text(f"{again.pid}\n")
            wait_until(until, _START_SECONDS)
            _renice(again, self._niceness)

    def started(self, *options: str) -> psutil.Process:
        """Another process of the kind, with *options* before those that it had, as nice as the tests."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [self._program, *options, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives the tests
                **self._started,
            )
        return psutil.Process(process.pid)


def _api_server(cluster: Cluster) -> psutil.Process:
    """The process that listens at the address of the cluster's server."""
    server = urlsplit(cluster.core.api_client.configuration.host)
    for process in _processes_named(_API_SERVER):
        if server.port in _ports(process):
            return process
    pytest.skip(f"no {_API_SERVER} of this user listens here at {server.geturl()}")


def _bystanders(server: psutil.Process) -> list[psutil.Process]:
    """Who is connected with the API server, besides these tests and what belongs to Kubernetes."""
    listens = _ports(server)
    served = [end for end in server.net_connections("tcp") if end.raddr and end.laddr.port in listens]
    wires = {(end.raddr.port, end.laddr.port) for end in served}
    ends = [end for end in psutil.net_connections("tcp") if end.raddr]
    clients = {end.pid for end in ends if (end.laddr.port, end.raddr.port) in wires} - {os.getpid()}
    found = [process for process in psutil.process_iter(["name"]) if process.pid in clients]
    return [process for process in found if not process.info["name"].startswith("kube")]


def _ports(process: psutil.Process) -> set[int]:
    """Those that it listens on."""
    ends = process.net_connections("tcp")
    return {end.laddr.port for end in ends if end.laddr and end.status == psutil.CONN_LISTEN}


@contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    try:
        _signal(processes, signal.SIGSTOP)
        yield
    finally:
        _signal(processes, signal.SIGCONT)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send it to those that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _kill(process: psutil.Process) -> None:
    _signal([process], signal.SIGKILL)
    process.wait(_DEATH_SECONDS)


def _renice(process: psutil.Process, niceness: int) -> None:
    """Give it to all threads; each has its own."""
    for thread in process.threads():
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread.id, niceness)


def _processes_named(name: str) -> list[psutil.Process]:
    """Those of this user."""
    found = [process for process in psutil.process_iter(["name", "uids"]) if process.info["name"] == name]
    return [process for process in found if process.info["uids"].real == os.getuid()]


def _process_named(name: str) -> psutil.Process:
    found = _processes_named(name)
    if len(found) != 1:
        pytest.skip(f"this user has {len(found)} processes {name} here; it takes one, that of the cluster")
    return found[0]


def _log_of(process: psutil.Process) -> Path:
    """The file that *process* writes its output to, as one does that a user's own script has started."""
    log = Path(f"/proc/{process.pid}/fd/1").readlink()
    if not (_shares_namespaces(process) and log.is_file()):
        pytest.skip(f"{process.name()} runs in a container or as a service, others would start it again too")
    return log


def _shares_namespaces(process: psutil.Process) -> bool:
    return all(
        Path(f"/proc/{process.pid}/ns/{kind}").samefile(f"/proc/self/ns/{kind}")
        for kind in ("mnt", "net", "pid")
    )


def _node_name(kubelet: psutil.Process) -> str:
    option = "--hostname-override="
    given = [argument for argument in kubelet.cmdline() if argument.startswith(option)]
    return given[-1].removeprefix(option) if given else platform.node().lower()


def _processes_of(pods: set[str]) -> Iterator[psutil.Process]:
    """The processes of the pods with these uids: their control groups are named by them."""
    for process in psutil.process_iter():
        with suppress(OSError):
            groups = Path(f"/proc/{process.pid}/cgroup").read_text().replace("_", "-")
            if any(uid in groups for uid in pods):
                yield process


def _ready_nodes(cluster: Cluster) -> set[str]:
    """The names of the nodes that answer, and are not said to be without an answer by a taint either."""
    return {node.metadata.name for node in cluster.core.list_node().items if _is_ready(node)}


def _is_ready(node: Any) -> bool:
    conditions = {condition.type: condition.status for condition in node.status.conditions or ()}
    taints = {taint.key for taint in node.spec.taints or ()}
    silent = {"node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"}
    return conditions.get("Ready") == "True" and not taints & silent


def _is_controlled(cluster: Cluster) -> bool:
    """Whether controllers work: without them no pod can start in a new namespace."""
    with new_namespace(cluster):
        return True


def _answers(cluster: Cluster) -> bool:
    with suppress(ApiException, HTTPError, OSError):
        asked = {"auth_settings": ["BearerToken"], "_preload_content": False, "_request_timeout": 2}
        cluster.core.api_client.call_api("/readyz", "GET", **asked)
        return True
    return False
