"""Secret values reach the script that needs them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.log import mask_secret

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

SECRET = "open-sesame-8471"


@pytest.fixture(autouse=True)
def masked(dags: DagFiles) -> None:
    mask_secret(SECRET)


def test_a_secret_in_an_argument_is_refused_without_being_told(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[3], 'w').write('made')")
    dags.dag(f'step("make", "--key", "key={SECRET}", PipelineData("made"))')
    run = dags.run()
    assert run.state == "failed"
    assert "step 'make': item 2 of arguments holds a value that Airflow masks" in run.text
    assert "use environment_variables" in run.text
    assert holders(dags.store) == []


def test_a_secret_variable_reaches_the_script_but_no_file_and_no_xcom(dags: DagFiles, tmp_path: Path) -> None:
    dags.script(
        "make.py",
        """
        import hashlib, os, sys
        open(sys.argv[1], "w").write(hashlib.sha256(os.environ["KEY"].encode()).hexdigest()[:8])
    """,
    )
    dags.dag(f"""
        step("make", PipelineData("made"), environment_variables={{"KEY": "{SECRET}", "PLAIN": "seen"}})
    """)
    run = dags.run()
    assert run.state == "success", run.text
    assert len(run.read("make", "made")) == 8
    assert holders(tmp_path, besides=dags.folder) == []
    assert SECRET not in str(run.xcoms)
    assert "seen" in dags.manifest_path(run, "make").read_text()


def test_a_secret_variable_counts_for_reuse(dags: DagFiles) -> None:
    other = "close-sesame-3390"
    mask_secret(other)
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    actions = []
    for secret in (SECRET, other, SECRET):
        dags.dag(f'step("make", PipelineData("made"), environment_variables={{"KEY": "{secret}"}})')
        run = dags.run()
        actions.append(run.actions["make"])
        assert secret not in str(run.decision("make"))
    assert actions == ["ran", "ran", "reused"]


def test_airflows_own_settings_do_not_reach_a_script(dags: DagFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BANK", "http://user:word@bank")
    dags.script(
        "make.py",
        """
        import os, sys
        assert not [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_"))]
        open(sys.argv[1], "w").write("made")
    """,
    )
    dags.dag('step("make", PipelineData("made"))')
    assert dags.run().state == "success"


def holders(folder: Path, besides: Path | None = None) -> list[Path]:
    """The files below *folder* that hold the secret."""
    files = (path for path in folder.rglob("*") if path.is_file() and besides not in path.parents)
    return [path for path in files if SECRET.encode() in path.read_bytes()]
