"""The nodes of a target in whole runs: who must run waits for one, who is reused does not."""

from __future__ import annotations

import pytest

from airflow_mlpipe.pipeline.nodes import Nodes
from airflow_mlpipe.store.lease import Lease, Leases
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow


def test_a_step_waits_for_a_node_only_when_it_has_to_run(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.dag(
        'step("make", PipelineData("made"), mode="poke", poke_interval=0.2, '
        'compute_target=LocalTarget("gpu", max_nodes=1))'
    )
    assert dags.run().actions == {"make": "ran"}
    held = Nodes(Leases(dags.datastore), "gpu", 1).take("another run", "attempt-1")
    assert isinstance(held, Lease)
    assert dags.run().actions == {"make": "reused"}

    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made anew')")
    dags.log.when("waiting for a node of gpu: others run on all 1", held.release)
    run = dags.run()
    assert run.actions == {"make": "ran"}, run.text
    assert "waiting for a node of gpu" in run.text
