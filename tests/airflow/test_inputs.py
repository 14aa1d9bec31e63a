"""Where a script finds what it reads: by argument, by name, by environment variable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from tests.airflow.harness import DagFiles
from tests.services import ObjectStore

pytestmark = pytest.mark.airflow

# Describes the input called "data", and its first argument, as the script finds them.
LOOK = """
    import json, os, sys
    from airflow_mlpipe import Run
    argument, said = sys.argv[1:]
    found = {
        "argument": argument, "variable": os.environ["data"],
        "named": Run.get_context().input_datasets["data"],
        "is_file": os.path.isfile(argument), "is_link": os.path.islink(argument),
        "names": sorted(os.path.relpath(os.path.join(folder, name), argument)
                        for folder, _, names in os.walk(argument) for name in names),
    }
    if found["is_file"]:
        found["text"] = open(argument).read()
    with open(said, "w") as file:
        json.dump(found, file)
"""


def look(dags: DagFiles, data: str) -> dict[str, object]:
    """What a script finds of the input that the expression *data* declares."""
    dags.script("look.py", LOOK)
    dags.dag(f'step("look", {data}, PipelineData("said"))')
    run = dags.run()
    assert run.state == "success", run.text
    found: dict[str, object] = json.loads(run.read("look", "said"))
    assert found["argument"] == found["variable"] == found["named"]
    return found


def test_a_mounted_file_is_the_file_itself(dags: DagFiles) -> None:
    path = dags.file("data/one.txt", "one")
    found = look(dags, 'Dataset.File.from_files("data/one.txt").as_named_input("data").as_mount()')
    assert (found["argument"], found["text"]) == (str(path), "one")


def test_a_downloaded_file_is_a_copy_that_keeps_its_name(dags: DagFiles) -> None:
    path = dags.file("data/one.txt", "one")
    found = look(dags, 'Dataset.File.from_files("data/one.txt").as_named_input("data").as_download()')
    assert found["argument"] != str(path)
    assert (Path(str(found["argument"])).name, found["text"], found["is_link"]) == ("one.txt", "one", False)


@pytest.mark.parametrize("way", ["as_mount", "as_download"])
def test_a_path_on_compute_fixes_the_place_and_is_free_again_afterwards(
    dags: DagFiles, tmp_path: Path, way: str
) -> None:
    dags.file("data/one.txt", "one")
    place = tmp_path / "fixed" / "one.txt"
    found = look(dags, f'Dataset.File.from_files("data/one.txt").as_named_input("data").{way}("{place}")')
    assert (found["argument"], found["text"]) == (str(place), "one")
    assert not place.is_symlink()


@pytest.mark.parametrize("way", ["as_mount", "as_download"])
def test_a_folder_is_a_folder_with_everything_below_it(dags: DagFiles, way: str) -> None:
    dags.file("data/a.txt", "a")
    dags.file("data/deep/b.txt", "b")
    found = look(dags, f'Dataset.File.from_files("data").as_named_input("data").{way}()')
    assert found["names"] == ["a.txt", "deep/b.txt"]


@pytest.mark.parametrize("way", ["as_mount", "as_download"])
def test_a_glob_is_a_folder_with_only_what_matches(dags: DagFiles, way: str) -> None:
    for name in ("a.csv", "deep/b.csv", "c.txt"):
        dags.file(f"data/{name}", name)
    found = look(dags, f'Dataset.File.from_files("data/**/*.csv").as_named_input("data").{way}()')
    assert found["names"] == ["a.csv", "deep/b.csv"]


def test_several_paths_are_one_folder_in_which_each_keeps_its_name(dags: DagFiles) -> None:
    dags.file("data/a.txt", "a")
    dags.file("more/x.txt", "x")
    found = look(dags, 'Dataset.File.from_files(["data/a.txt", "more"]).as_named_input("data").as_download()')
    assert found["names"] == ["a.txt", "more/x.txt"]


def test_direct_access_gives_the_url(dags: DagFiles) -> None:
    path = dags.file("data/one.txt", "one")
    found = look(dags, 'Dataset.File.from_files("data/one.txt").as_named_input("data").as_direct()')
    assert found["argument"] == f"file://{path}"


def test_an_input_that_is_not_in_the_arguments_is_found_by_its_name(dags: DagFiles) -> None:
    dags.file("data/one.txt", "one")
    dags.script(
        "read.py",
        """
        import os, sys
        from airflow_mlpipe import Run
        path = Run.get_context().input_datasets["raw"]
        assert os.environ["raw"] == path
        open(sys.argv[1], "w").write(open(path).read())
    """,
    )
    dags.dag("""
        raw = Dataset.File.from_files("data/one.txt").as_named_input("raw")
        step("read", PipelineData("said"), inputs=[raw])
    """)
    assert dags.run().read("read", "said") == "one"


def test_an_output_read_by_name_makes_the_edge_and_is_found_under_that_name(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1], 'w').write('made')")
    dags.script("look.py", LOOK)
    dags.dag("""
        made = PipelineData("made")
        step("look", made.as_input("data"), PipelineData("said"))
        step("make", made, outputs=[made])
    """)
    found = json.loads(dags.run().read("look", "said"))
    assert found["text"] == "made"
    assert found["argument"] == found["variable"] == found["named"]


def test_a_downloaded_output_may_be_changed_without_harm(dags: DagFiles) -> None:
    dags.script("make.py", "import os, sys; open(os.path.join(sys.argv[1], 'a.txt'), 'w').write('made')")
    dags.script(
        "change.py",
        """
        import os, sys
        os.chmod(sys.argv[1] + "/a.txt", 0o644)
        open(sys.argv[1] + "/a.txt", "a").write(" and changed")
        open(sys.argv[2], "w").write(open(sys.argv[1] + "/a.txt").read())
    """,
    )
    dags.dag("""
        made = OutputFileDatasetConfig("made")
        step("make", made)
        step("change", made.as_input().as_download(), PipelineData("said"))
    """)
    run = dags.run()
    assert run.read("change", "said") == "made and changed"
    assert run.decision("change")["sealed"]
    assert (run.path("make", "made") / "a.txt").read_text() == "made"


TABLE = """
    import sys
    from airflow_mlpipe import Run
    table = Run.get_context().input_datasets["table"]
    table.to_pandas_dataframe().to_csv(sys.argv[-1], index=False)
"""


def rows(text: str) -> list[str]:
    return text.split()


def test_delimited_files_are_a_data_frame(dags: DagFiles) -> None:
    dags.file("data/1.csv", "a;b\n1;2\n")
    dags.file("data/2.csv", "a;b\n3;4\n")
    dags.script("table.py", TABLE)
    dags.dag("""
        table = Dataset.Tabular.from_delimited_files("data/*.csv", separator=";").as_named_input("table")
        step("table", table, PipelineData("said"))
    """)
    assert rows(dags.run().read("table", "said")) == ["a,b", "1,2", "3,4"]


def test_parquet_files_are_a_data_frame_with_the_columns_that_are_kept(dags: DagFiles) -> None:
    (dags.folder / "data").mkdir()
    pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}).to_parquet(dags.folder / "data/table.parquet")
    dags.script("table.py", TABLE)
    dags.dag("""
        table = Dataset.Tabular.from_parquet_files("data/table.parquet").keep_columns(["c", "a"])
        step("table", PipelineData("said"), inputs=[table.as_named_input("table")])
    """)
    assert rows(dags.run().read("table", "said")) == ["c,a", "5,1", "6,2"]


def test_a_split_table_reaches_two_steps_without_a_row_in_common(dags: DagFiles) -> None:
    dags.file("data/table.csv", "a\n" + "".join(f"{number}\n" for number in range(40)))
    dags.script("table.py", TABLE)
    dags.dag("""
        parts = Dataset.Tabular.from_delimited_files("data/table.csv").random_split(0.5, seed=1)
        for name, part in zip(("train", "test"), parts):
            step(name, PipelineData("said"), script="table.py", inputs=[part.as_named_input("table")])
    """)
    run = dags.run()
    train, test = (rows(run.read(name, "said"))[1:] for name in ("train", "test"))
    assert sorted(train + test, key=int) == [str(number) for number in range(40)]
    assert train
    assert test


def test_an_output_parsed_as_delimited_files_is_a_table_called_after_it(dags: DagFiles) -> None:
    dags.script("make.py", "import sys; open(sys.argv[1] + '/t.csv', 'w').write('a,b\\n1,2\\n')")
    dags.script("table.py", TABLE)
    dags.dag("""
        table = OutputFileDatasetConfig("table")
        step("make", table)
        step("table", table.parse_delimited_files(), PipelineData("said"))
    """)
    assert rows(dags.run().read("table", "said")) == ["a,b", "1,2"]


def test_a_dataset_that_is_not_there_fails_the_step_with_its_name_and_place(dags: DagFiles) -> None:
    dags.script("look.py", LOOK)
    dags.dag(
        'step("look", Dataset.File.from_files("data/nil.txt").as_named_input("data"), PipelineData("said"))'
    )
    run = dags.run()
    assert run.state == "failed"
    assert (
        f"input data: nothing is at 'data/nil.txt' ({dags.folder}/data/nil.txt); correct the path" in run.text
    )


@pytest.fixture
def lake(s3: ObjectStore, dags: DagFiles, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket, which is the datastore "lake", and below ``store`` the datastore of the steps."""
    client = s3.options["client_kwargs"]
    place = {"url": s3.url, "endpoint": client["endpoint_url"], "region": client["region_name"]}
    login = {"login": s3.options["key"], "password": s3.options["secret"]}
    connection = json.dumps({"conn_type": "mlpipe_datastore", **login, "extra": place})
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", connection)
    monkeypatch.setenv("AIRFLOW__MLPIPE__DATASTORE", "datastore://lake/store")
    return s3


def write(lake: ObjectStore, path: str, content: bytes) -> None:
    lake.filesystem().pipe_file(f"{lake.bucket}/{path}", content)


READ = """
    import os, sys
    data, said = sys.argv[1:]
    names = sorted(os.path.relpath(os.path.join(folder, name), data)
                   for folder, _, names in os.walk(data) for name in names)
    texts = [open(os.path.join(data, name)).read() for name in names] or [open(data).read()]
    open(said, "w").write(f"{names} {texts} {os.path.ismount(os.path.dirname(data))}")
"""


def test_remote_data_reaches_steps_as_local_data_does_and_is_reused_while_its_etags_stay(
    dags: DagFiles, lake: ObjectStore
) -> None:
    write(lake, "raw/a.txt", b"a")
    write(lake, "raw/deep/b.txt", b"b")
    dags.script("read.py", READ)
    dags.dag("""
        from airflow_mlpipe import Datastore
        raw = Dataset.File.from_files((Datastore("lake"), "raw/"))
        made = PipelineData("made")
        step("mount", raw.as_mount(), made, script="read.py")
        step("download", raw.as_download(), PipelineData("made"), script="read.py")
        step("read", made, PipelineData("said"))
    """)
    first = dags.run()
    assert first.state == "success", first.text
    shown = "['a.txt', 'deep/b.txt'] ['a', 'b']"
    assert first.read("mount", "made") == f"{shown} {os.access('/dev/fuse', os.W_OK)}"
    assert first.read("download", "made") == f"{shown} False"
    assert first.read("read", "said").startswith('[] ["')
    write(lake, "raw/a.txt", b"a")
    assert set(dags.run().actions.values()) == {"reused"}


def test_remote_data_that_changes_while_the_step_runs_is_not_taken_for_what_it_was(
    dags: DagFiles, lake: ObjectStore
) -> None:
    write(lake, "raw.txt", b"before")
    dags.script(
        "use.py",
        f"""
        import sys
        import s3fs
        text = open(sys.argv[1]).read()
        lake = s3fs.S3FileSystem(**{dict(lake.options)!r})
        lake.pipe_file("{lake.bucket}/raw.txt", b"after")
        open(sys.argv[2], "w").write(text)
    """,
    )
    dags.dag('step("use", Dataset.File.from_files("datastore://lake/raw.txt"), PipelineData("used"))')
    first = dags.run()
    assert first.read("use", "used") == "before"
    assert not first.decision("use")["sealed"]
    # A mount that looks at the server again shows the change itself; else the listing afterwards tells.
    reasons = ("was changed since it was hashed", "was written into while the step ran")
    assert any(f"input input {reason}" in first.text for reason in reasons)


def test_a_step_does_not_run_on_a_damaged_remote_output_and_the_next_run_makes_it_anew(
    dags: DagFiles, lake: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MLPIPE__VERIFY", "none")  # so that the damage is not found before
    monkeypatch.setenv("AIRFLOW__MLPIPE__DOWNLOAD_CACHE_SIZE", "0 B")
    dags.script("make.py", 'open(__import__("sys").argv[1], "w").write("good bytes")')
    dags.script("use.py", 'open(__import__("sys").argv[2], "w").write("used")')
    dags.dag(
        """
        made = PipelineData("made")
        step("make", made)
        step("use", made, PipelineData("used"), PipelineParameter("word"))
    """,
        options='params={"word": "first"}',
    )
    first = dags.run()
    assert first.state == "success", first.text
    place = first.reference("make", "made").uri.partition("://")[2]
    lake.filesystem().pipe_file(place, b"evil bytes")  # as many as before
    second = dags.run(word="second")
    assert second.states["use"] == "failed"
    assert "input made is not what its step had sealed; the next run makes it again" in second.text
    assert dags.run(word="second").actions == {"make": "ran", "use": "ran"}
