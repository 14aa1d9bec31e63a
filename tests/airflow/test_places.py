"""Where steps run: interpreters, virtual environments, commands, working directories."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.targets.virtualenv import VirtualEnvironments
from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

WHO = "import sys; open(sys.argv[1], 'w').write(sys.prefix)"


@pytest.fixture(scope="module")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips the test when no package can be had."""
    try:
        VirtualEnvironments(tmp_path_factory.mktemp("probe")).resolve(
            ["six==1.16.0"], f"3.{sys.version_info.minor}", lambda line: None
        )
    except TargetError as error:
        pytest.skip(f"there is no package index: {error}")


@pytest.fixture
def other_python(tmp_path: Path) -> Path:
    """An interpreter with nothing installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return tmp_path / "bare/bin/python"


def test_a_command_runs_without_a_shell_in_a_copy_of_its_folder(dags: DagFiles) -> None:
    dags.script(
        "make.sh",
        """
        printf '%s|%s' "$1" "$HELPER" > "$2"
        cat helper.txt >> "$2"
    """,
    )
    dags.script("helper.txt", "helped")
    dags.dag("""
        CommandStep(task_id="make", command=["bash", "make.sh"], source_directory="src",
                    arguments=["two words; $HOME *", PipelineData("made")],
                    environment_variables={"HELPER": "yes"})
    """)
    run = dags.run()
    assert run.read("make", "made") == "two words; $HOME *|yeshelped"
    assert dags.run().actions == {"make": "reused"}
    dags.script("helper.txt", "helped more")
    changed = dags.run()
    assert changed.actions == {"make": "ran"}
    assert changed.decision("make")["reason"].startswith("helper.txt changed (")


def test_a_command_that_is_not_there_is_told_by_its_name(dags: DagFiles) -> None:
    dags.script("make.sh", "")
    dags.dag('CommandStep(task_id="make", command=["no-such-program"], source_directory="src")')
    run = dags.run()
    assert run.state == "failed"
    assert "the program 'no-such-program' is not on this worker's PATH" in run.text


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_an_r_script_is_a_command(dags: DagFiles) -> None:
    dags.script("make.R", "writeLines('made by R', commandArgs(trailingOnly = TRUE)[1])")
    dags.dag("""
        CommandStep(task_id="make", command=["Rscript", "make.R"], source_directory="src",
                    arguments=[PipelineData("made")])
    """)
    assert dags.run().read("make", "made") == "made by R\n"


@pytest.mark.usefixtures("package_index")
def test_an_environment_is_built_and_its_packages_are_found_and_counted(dags: DagFiles) -> None:
    dags.script(
        "make.py",
        """
        import six, sys
        open(sys.argv[1], "w").write(six.__version__)
    """,
    )
    dags.dag('step("make", PipelineData("made"), environment=Environment(pip_packages=["six==1.16.0"]))')
    run = dags.run()
    assert run.state == "success", run.text
    assert run.read("make", "made") == "1.16.0"
    assert dags.run().actions == {"make": "reused"}
    dags.dag('step("make", PipelineData("made"), environment=Environment(pip_packages=["six==1.17.0"]))')
    changed = dags.run()
    assert changed.read("make", "made") == "1.17.0"
    assert "package six 1.16.0 -> 1.17.0" in changed.decision("make")["reason"]


def test_a_target_may_have_a_python_of_its_own(dags: DagFiles, other_python: Path) -> None:
    dags.script("make.py", WHO)
    dags.dag(
        f'step("make", PipelineData("made"), compute_target=LocalTarget("bare", python="{other_python}"))'
    )
    run = dags.run()
    assert run.state == "success", run.text
    assert Path(run.read("make", "made")) == other_python.parent.parent


def test_targets_and_environments_are_found_by_name_in_their_files(
    dags: DagFiles, tmp_path: Path, other_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, environments = tmp_path / "targets.yaml", tmp_path / "environments.yaml"
    targets.write_text(f"bare: {{type: local, python: {other_python}}}\n")
    environments.write_text("quiet: {environment_variables: {VOLUME: low}}\n")
    monkeypatch.setenv("AIRFLOW__MLPIPE__COMPUTE_TARGETS", str(targets))
    monkeypatch.setenv("AIRFLOW__MLPIPE__ENVIRONMENTS", str(environments))
    dags.script("make.py", "import os, sys; open(sys.argv[1], 'w').write(os.environ['VOLUME'] + sys.prefix)")
    dags.dag('step("make", PipelineData("made"), compute_target="bare", environment="quiet")')
    run = dags.run()
    assert run.read("make", "made") == f"low{other_python.parent.parent}"
    environments.write_text("quiet: {environment_variables: {VOLUME: lower}}\n")
    assert dags.run().decision("make")["reason"] == "environment variable VOLUME low -> lower"


def test_the_same_step_on_another_target_with_an_equal_python_is_reused(dags: DagFiles) -> None:
    dags.script("make.py", WHO)
    dags.dag('step("make", PipelineData("made"))')
    dags.run()
    dags.dag('step("make", PipelineData("made"), compute_target=LocalTarget("other"))')
    assert dags.run().actions == {"make": "reused"}


@pytest.mark.parametrize("script", [WHO, "raise SystemExit(1)"])
@pytest.mark.parametrize("keep", [False, True])
def test_the_working_directory_goes_when_the_step_ends_unless_it_is_to_be_kept(
    dags: DagFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, script: str
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__KEEP_WORK_DIRECTORIES", str(keep))
    dags.script("make.py", script)
    dags.dag('step("make", PipelineData("made"))')
    dags.run()
    assert bool(list((tmp_path / "work").rglob("make.py"))) is keep


def test_the_version_of_an_imported_package_counts_and_others_do_not(dags: DagFiles) -> None:
    dags.script("make.py", "import sys, yaml; open(sys.argv[1], 'w').write(yaml.__version__)")
    dags.dag('step("make", PipelineData("made"))')
    distributions = dags.manifest(dags.run(), "make").recipe["environment"]["distributions"]
    assert "pyyaml" in {name.lower() for name in distributions}
    assert "pandas" not in distributions
