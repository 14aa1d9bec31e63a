"""``airflow mlpipe environment``, as far as it needs no engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.typed import Typed

DIGEST = f"sha256:{'a' * 64}"
ENVIRONMENTS = f"""\
cuda:
  image: registry.example.com/cuda@{DIGEST}
  environment_variables: {{TOKEN: only-for-steps}}
torch:
  image: registry.example.com/cuda@{DIGEST}
  pip_packages: [torch==2.5, numpy]
  conda_packages: [cudatoolkit=11.8]
  conda_channels: [conda-forge]
own:
  dockerfile: |
    FROM registry.example.com/cuda@{DIGEST}
    RUN true
none: {{}}
"""


@pytest.fixture(autouse=True)
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS)
    monkeypatch.setenv("AIRFLOW__MLPIPE__ENVIRONMENTS", str(tmp_path / "environments.yaml"))
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", str(tmp_path / "store"))
    monkeypatch.setenv("AIRFLOW__MLPIPE__CACHE_DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody-is-here")


def test_all_environments_are_listed_with_what_they_hold(airflow_mlpipe: Callable[..., Typed]) -> None:
    rows = {row["name"]: row for row in airflow_mlpipe("environment", "list", "-o", "json").json}
    assert list(rows) == ["cuda", "torch", "own", "none"]
    assert rows["torch"]["pip_packages"] == "torch==2.5, numpy"
    assert rows["own"]["image"] == "(Dockerfile)"
    assert "cudatoolkit=11.8" in airflow_mlpipe("environment", "list").out


def test_an_image_with_a_digest_counts_by_it_and_nobody_is_asked(
    airflow_mlpipe: Callable[..., Typed],
) -> None:
    shown = airflow_mlpipe("environment", "show", "cuda", "-o", "json").json
    assert shown["counts"] == {"interpreter": "python3", "image": DIGEST}
    assert shown["image"] == f"registry.example.com/cuda@{DIGEST}"
    assert shown["undetermined"] == []
    assert shown["fields"]["environment_variables"] == ["TOKEN"]


def test_what_is_built_is_shown_as_the_dockerfile_that_makes_it(
    airflow_mlpipe: Callable[..., Typed],
) -> None:
    shown = airflow_mlpipe("environment", "show", "torch", "-o", "json").json
    (dockerfile,) = shown["dockerfiles"]
    assert dockerfile.startswith(f"FROM registry.example.com/cuda@{DIGEST}\n")
    assert '"torch==2.5"' in dockerfile
    assert '"--channel", "conda-forge", "cudatoolkit=11.8"]' in dockerfile
    assert shown["image"] == f"mlpipe/environment:{shown['definition'][:16]}"
    assert shown["counts"]["conda_packages"] == ["cudatoolkit=11.8"]
    own = airflow_mlpipe("environment", "show", "own", "-o", "json").json
    assert own["dockerfiles"] == [f"FROM registry.example.com/cuda@{DIGEST}\nRUN true\n"]


def test_what_does_not_fit_is_a_sentence(airflow_mlpipe: Callable[..., Typed]) -> None:
    unknown = airflow_mlpipe("environment", "show", "nobody")
    assert (unknown.code, "environment 'nobody' is not in" in unknown.err) == (1, True)
    local = airflow_mlpipe("environment", "build", "torch", "--target", "local")
    assert (local.code, "conda_packages, which compute target 'local' does not install" in local.err) == (
        1,
        True,
    )
    gone = airflow_mlpipe("environment", "build", "own")
    assert (gone.code, "does not answer" in gone.err) == (1, True)


def test_what_needs_no_building_is_there_already(airflow_mlpipe: Callable[..., Typed]) -> None:
    built = airflow_mlpipe("environment", "build", "cuda")
    assert (built.code, built.out) == (0, f"registry.example.com/cuda@{DIGEST}\n")
