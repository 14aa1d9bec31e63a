"""Functions as steps where things break, and in Pythons that have neither Airflow nor this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mlpipe.errors import TargetError
from airflow_mlpipe.store.layout import lease_key
from airflow_mlpipe.store.lease import Leases
from airflow_mlpipe.targets.virtualenv import VirtualEnvironments
from tests.airflow.harness import DagFiles, RunOutcome, rewrite

pytestmark = pytest.mark.airflow

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = sorted({"3.10", OWN_VERSION, "3.13"})  # the oldest and the newest that are supported

HEADER = """
import os, signal, sys
from pathlib import Path
from typing import Any, NamedTuple
from airflow.sdk import DAG, task
from airflow_mlpipe import Environment, Output, Run, register_artifact, step
from airflow_mlpipe import ArtifactFormat

PIPELINE = DAG("{dag_id}", schedule=None)

"""

# It hands on one thing of each kind: a path, small JSON, and typed artifacts.
ALL_KINDS = """
class Made(NamedTuple):
    rows: list[int]
    raw: bytes
    frame: Any

@step(environment={environment})
def make(made: Output[Path], count: int = 3) -> Made:
    with Path({runs!r}).open("a") as runs:
        runs.write("x")
    made.write_text("made")
    Run.get_context().log("rows", count)
    return Made(list(range(count)), b"raw", {frame})

@step(environment={environment})
def read(made: Path, rows: list[int], raw: bytes, frame) -> str:
    return f"{{made.read_text()}} {{sum(rows)}} {{raw.decode()}} {{len(frame)}} {{sys.version_info[1]}}"

with PIPELINE:
    done = make()
    read(done["made"], done["rows"], done["raw"], done["frame"])
"""


def write(dags: DagFiles, text: str, name: str = "pipeline") -> None:
    header = HEADER.format(dag_id=dags.dag_id(name))
    dags.file(f"{name}.py", header + textwrap.dedent(text).strip() + "\n")


def write_all_kinds(dags: DagFiles, *, environment: str = "None", frame: str = '"a" * 300_000') -> None:
    text = ALL_KINDS.format(environment=environment, frame=frame, runs=str(dags.folder.parent / "runs"))
    write(dags, text)


def executions(dags: DagFiles) -> int:
    """How often ``make`` has begun."""
    return len((dags.folder.parent / "runs").read_text())


@pytest.fixture
def made(dags: DagFiles) -> DagFiles:
    """A step that hands on one thing of each kind, and one that takes them."""
    write_all_kinds(dags)
    return dags


# -- damage ---------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    rewrite(path, bytes(data))


def truncate(path: Path) -> None:
    rewrite(path, path.read_bytes()[: path.stat().st_size // 2])


def remove(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        ("frame/data.txt", flip),
        ("raw/.mlpipe-artifact.json", remove),
        # Other files, damaged in such ways.
        pytest.param("frame/.mlpipe-artifact.json", flip, marks=pytest.mark.slow),
        pytest.param("raw/data.bin", truncate, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_artifact_is_a_miss_that_heals(
    made: DagFiles, place: str, damage: Callable[[Path], None]
) -> None:
    first = made.run()
    assert first.state == "success", first.text
    damage(made.attempt_path(first, "make") / "outputs" / place)
    heals(made, first)


def test_a_damaged_frame_is_a_miss_that_heals(dags: DagFiles) -> None:
    write_all_kinds(dags, frame='__import__("pandas").DataFrame({"row": list(range(7))})')
    first = dags.run()
    assert first.returned("read") == f"made 3 raw 7 {sys.version_info[1]}"
    flip(dags.attempt_path(first, "make") / "outputs/frame/data.parquet")
    heals(dags, first)


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Damage that is a *change* of what the manifest says was returned."""

    def damage(manifest: Path) -> None:
        document = json.loads(manifest.read_text())
        change(document["returned"])
        rewrite(manifest, json.dumps(document, sort_keys=True, separators=(",", ":")))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        edited(lambda returned: returned.update(artifacts=["raw", "frame", "gone"])),
        edited(lambda returned: returned.update(later="unknown")),
        edited(lambda returned: returned["values"].update(rows=[0, 1, 3])),
    ],
    ids=["truncated", "no_such_output", "unknown_field", "another_value"],
)
def test_a_damaged_manifest_is_a_miss_that_heals(made: DagFiles, damage: Callable[[Path], None]) -> None:
    first = made.run()
    damage(made.manifest_path(first, "make"))
    heals(made, first)


def heals(made: DagFiles, first: RunOutcome) -> None:
    """The next run makes it again, which changes nothing for the step that takes it."""
    run = made.run()
    assert run.state == "success", run.text
    assert run.actions == {"make": "ran", "read": "reused"}
    assert run.returned("read") == first.returned("read")
    assert executions(made) == 2


# -- kills ----------------------------------------------------------------------------------------------


def test_a_killed_function_seals_nothing_and_is_run_again(dags: DagFiles, tmp_path: Path) -> None:
    write(
        dags,
        f"""
        @step
        def make(made: Output[Path]) -> dict:
            made.write_text("half")
            if not Path({str(tmp_path / "again")!r}).exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return {{"rows": 1}}
        with PIPELINE:
            make()
        """,
    )
    run = dags.run()
    assert run.states == {"make": "failed"}
    assert "killed by signal 9" in run.text
    assert dags.sealed() == []
    (tmp_path / "again").touch()
    assert dags.run().actions == {"make": "ran"}
    assert dags.run().actions == {"make": "reused"}


def test_what_a_function_returned_is_sealed_for_a_worker_that_died_before_it_could(made: DagFiles) -> None:
    first = made.run()
    fingerprint, attempt = (first.decision("make")[name] for name in ("fingerprint", "attempt"))
    made.manifest_path(first, "make").unlink()
    leave_lease(made, fingerprint, attempt)
    run = made.run()
    assert f"Attempt {attempt} of the same step has finished: taking over its outputs" in run.text
    assert run.returned("make")["rows"] == [0, 1, 2]
    assert run.actions["read"] == "reused"
    assert executions(made) == 1


@pytest.mark.parametrize("damage", [truncate, remove, lambda path: rewrite(path, "{}")])
def test_a_finished_attempt_whose_returned_values_are_lost_is_not_sealed(
    made: DagFiles, damage: Callable[[Path], None]
) -> None:
    first = made.run()
    fingerprint, attempt = (first.decision("make")[name] for name in ("fingerprint", "attempt"))
    made.manifest_path(first, "make").unlink()
    damage(made.attempt_path(first, "make") / "returned.json")
    leave_lease(made, fingerprint, attempt)
    run = made.run()
    assert run.state == "success", run.text
    assert run.decision("make")["attempt"] != attempt
    assert executions(made) == 2


def leave_lease(dags: DagFiles, fingerprint: str, attempt: str) -> None:
    """Leave the lease of a worker that has died long ago."""
    assert Leases(dags.datastore).acquire(fingerprint, "dag/run/task", attempt) is not None
    os.utime(dags.store / lease_key(fingerprint), (0, 0))


# -- other Pythons --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        VirtualEnvironments(tmp_path_factory.mktemp("probe")).resolve(["six==1.16.0"], sys.executable, print)
    except TargetError as error:
        pytest.skip(f"there is no package index: {error}")


@pytest.fixture(autouse=True)
def no_python_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")


def is_at_hand(version: str) -> bool:
    from uv import find_uv_bin

    command = [find_uv_bin(), "python", "find", "--no-project", "--no-python-downloads", version]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_function_runs_in_a_virtual_environment_of_any_version_that_has_nothing_installed(
    dags: DagFiles, version: str
) -> None:
    if not is_at_hand(version):
        pytest.skip(f"Python {version} is not installed here")
    write_all_kinds(dags, environment=f'Environment(python_version="{version}")')
    run = dags.run()
    assert run.state == "success", run.text
    assert run.returned("read") == f"made 3 raw 300000 {version.partition('.')[2]}"
    assert run.xcoms["make"]["metrics"] == {"rows": 3}
    assert dags.run().actions == {"make": "reused", "read": "reused"}


@pytest.mark.usefixtures("package_index")
def test_a_function_finds_the_packages_of_its_environment_and_they_count(dags: DagFiles) -> None:
    text = """
        @step(environment=Environment(pip_packages=["six=={version}"]))
        def make() -> str:
            import six
            return six.__version__
        with PIPELINE:
            make()
        """
    write(dags, text.format(version="1.16.0"))
    assert dags.run().returned("make") == "1.16.0"
    assert dags.run().actions == {"make": "reused"}
    write(dags, text.format(version="1.17.0"))
    changed = dags.run()
    assert changed.returned("make") == "1.17.0"
    assert "package six 1.16.0 -> 1.17.0" in changed.decision("make")["reason"]


def test_a_library_that_is_missing_where_an_artifact_is_read_is_told_with_the_way_out(dags: DagFiles) -> None:
    write(
        dags,
        f"""
        @step
        def make():
            import pandas
            return pandas.DataFrame({{"row": [1, 2]}})
        @step(environment=Environment(python_version="{OWN_VERSION}"))
        def read(frame) -> int:
            return len(frame)
        with PIPELINE:
            read(make())
        """,
    )
    run = dags.run()
    assert run.states == {"make": "success", "read": "failed"}
    assert "the artifact format parquet needs" in run.text
    assert "add it to the step's Environment (pip_packages=['" in run.text


def test_a_module_that_is_missing_in_the_environment_is_told_by_its_name(dags: DagFiles) -> None:
    write(
        dags,
        f"""
        import pandas
        @step(environment=Environment(python_version="{OWN_VERSION}"))
        def make() -> int:
            return len(pandas.DataFrame())
        with PIPELINE:
            make()
        """,
    )
    run = dags.run()
    assert run.states == {"make": "failed"}
    assert "ModuleNotFoundError: No module named 'pandas'" in run.text


def test_a_format_of_the_authors_own_works_where_nothing_is_installed(dags: DagFiles) -> None:
    write(
        dags,
        f"""
        class Point:
            def __init__(self, x):
                self.x = x
        @register_artifact
        class PointFormat(ArtifactFormat):
            name, file, types = "point", "point.txt", (Point,)
            def write(self, value, path):
                path.write_text(str(value.x))
            def read(self, path, wanted):
                return Point(int(path.read_text()))
        @step(environment=Environment(python_version="{OWN_VERSION}"))
        def make() -> Point:
            return Point(5)
        @step
        def read(point: Point) -> int:
            return point.x
        with PIPELINE:
            read(make())
        """,
    )
    run = dags.run()
    assert run.state == "success", run.text
    assert run.returned("read") == 5
