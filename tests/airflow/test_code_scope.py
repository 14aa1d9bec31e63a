"""Which code counts for a step, and which of the steps that share code an edit reruns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.airflow.harness import DagFiles

pytestmark = pytest.mark.airflow

TWO_STEPS = """
step("count", PipelineData("count"))
step("shout", PipelineData("shout"))
"""


@pytest.fixture
def shared(dags: DagFiles) -> DagFiles:
    """Two steps in one directory; each has a helper of its own there, and both one in the bundle."""
    for name, result in (("count", "len(words())"), ("shout", "' '.join(words()).upper()")):
        dags.script(
            f"{name}.py",
            f"""
            import sys
            from common.words import words
            from only_{name} import decorate
            open(sys.argv[1], "w").write(decorate({result}))
            """,
        )
        dags.script(f"only_{name}.py", "def decorate(result): return f'<{result}>'\n")
    dags.file("common/__init__.py", "")
    dags.file("common/words.py", "def words(): return ['one', 'two']\n")
    dags.file("common/unused.py", "")
    dags.dag(TWO_STEPS)
    return dags


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_helper_at_the_root_of_the_bundle_comes_along_and_counts(shared: DagFiles) -> None:
    first = shared.run()
    assert first.state == "success", first.text
    assert (first.read("count", "count"), first.read("shout", "shout")) == ("<2>", "<ONE TWO>")
    assert set(shared.run().actions.values()) == {"reused"}
    edit(shared.folder / "common/words.py", "'two'", "'two', 'three'")
    changed = shared.run()
    assert changed.actions == {"count": "ran", "shout": "ran"}
    assert changed.decision("count")["reason"].startswith("common/words.py changed (")
    assert changed.read("count", "count") == "<3>"


def test_what_of_the_bundle_is_not_reached_does_not_count(shared: DagFiles) -> None:
    first = shared.run()
    assert first.state == "success", first.text
    shared.file("common/unused.py", "x = 1\n")
    shared.file("elsewhere.py", "x = 1\n")
    edit(shared.folder / "common/words.py", "def", "# The words.\n\ndef")
    assert set(shared.run().actions.values()) == {"reused"}


def test_of_two_steps_in_one_directory_only_the_one_that_reaches_a_file_reruns(shared: DagFiles) -> None:
    shared.run()
    edit(shared.folder / "src/only_shout.py", "<{result}>", "[{result}]")
    run = shared.run()
    assert run.actions == {"count": "reused", "shout": "ran"}
    assert run.decision("shout")["reason"].startswith("only_shout.py changed (")
    assert run.read("shout", "shout") == "[ONE TWO]"


def test_data_of_the_bundles_package_comes_along_and_a_plain_folder_hides_no_library(dags: DagFiles) -> None:
    dags.file("common/__init__.py", "")
    dags.file(
        "common/settings.py",
        """
        from pathlib import Path
        import yaml
        settings = yaml.safe_load((Path(__file__).parent / "settings.yaml").read_text())
        """,
    )
    dags.file("common/settings.yaml", "rate: 1\n")
    dags.file("yaml/notes.txt", "A folder of data, named like a library.")
    dags.script(
        "show.py",
        """
        import sys
        from common.settings import settings
        open(sys.argv[1], "w").write(str(settings["rate"]))
        """,
    )
    dags.dag('step("show", PipelineData("shown"))')
    first = dags.run()
    assert first.state == "success", first.text
    assert first.read("show", "shown") == "1"
    assert "Comes along from the DAG bundle, and counts for reuse: common/__init__.py" in first.text
    dags.file("yaml/notes.txt", "Changed.")
    assert dags.run().actions == {"show": "reused"}
    dags.file("common/settings.yaml", "rate: 2\n")
    assert dags.run().read("show", "shown") == "2"


def test_when_imports_cannot_be_told_the_whole_package_of_the_bundle_counts(dags: DagFiles) -> None:
    dags.file("models/__init__.py", "")
    dags.file("models/small.py", "size = 1\n")
    dags.script(
        "fit.py",
        """
        import importlib, sys
        import models
        model = importlib.import_module("models.small")
        open(sys.argv[1], "w").write(str(model.size))
        """,
    )
    dags.dag('step("fit", PipelineData("model"))')
    first = dags.run()
    assert first.state == "success", first.text
    assert first.read("fit", "model") == "1"
    dags.file("models/small.py", "size = 2\n")
    assert dags.run().read("fit", "model") == "2"


def test_code_in_a_folder_that_the_workers_pythonpath_names_counts(
    dags: DagFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "house_rules.py").write_text("rate = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(library))
    dags.script("show.py", "import sys, house_rules; open(sys.argv[1], 'w').write(str(house_rules.rate))\n")
    dags.dag('step("show", PipelineData("shown"))')
    first = dags.run()
    assert first.state == "success", first.text
    assert dags.run().actions == {"show": "reused"}
    (library / "house_rules.py").write_text("rate = 2\n")
    changed = dags.run()
    assert changed.read("show", "shown") == "2"
    assert changed.decision("show")["reason"].startswith("package module:house_rules ")


def test_code_in_a_folder_of_the_directory_that_a_declared_pythonpath_names_counts(dags: DagFiles) -> None:
    dags.script("lib/rules.py", "rate = 1\n")
    dags.script("show.py", "import sys, rules; open(sys.argv[1], 'w').write(str(rules.rate))\n")
    dags.dag('step("show", PipelineData("shown"), environment_variables={"PYTHONPATH": "lib"})')
    first = dags.run()
    assert first.state == "success", first.text
    dags.script("lib/rules.py", "rate = 2\n")
    assert dags.run().read("show", "shown") == "2"


def test_a_module_that_may_come_from_anywhere_keeps_a_step_from_being_reused(
    dags: DagFiles, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/house_rules.py").write_text("rate = 1\n")
    dags.script(
        "show.py",
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path / "shared")!r})
        import house_rules
        open(sys.argv[1], "w").write(str(house_rules.rate))
        """,
    )
    dags.dag('step("show", PipelineData("shown"))')
    first = dags.run()
    assert first.state == "success", first.text
    assert "show.py: line 2 uses sys.path, and house_rules is neither in source_directory" in first.text
    (tmp_path / "shared/house_rules.py").write_text("rate = 2\n")
    assert dags.run().read("show", "shown") == "2"
