"""``Dataset`` in a script: the datasets that its step declares, and tables and folders of local files."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.kept_files import files_in
from airflow_mlpipe.runtime.named_inputs import NamedInput, NamedInputs, UndeclaredError, Version
from airflow_mlpipe.runtime.named_values import NamedValues
from airflow_mlpipe.runtime.refused import Refused, refuse_values
from airflow_mlpipe.runtime.tables.options import as_header
from airflow_mlpipe.runtime.tabular import TabularDataset

_REGISTER = 'let the DAG register an output: OutputFileDatasetConfig("data").register_on_complete("name")'
_BIND = "that is for the DAG, where a dataset becomes the input of a step"


class FileMount:
    """A folder in which the files of a dataset are to be seen, while a ``with`` block runs."""

    def __init__(self, files: dict[str, Path], mount_point: str | None) -> None:
        self._files = files
        self._is_temporary = mount_point is None
        self.mount_point = mount_point or tempfile.mkdtemp(prefix="mlpipe-mount-")

    def start(self) -> None:
        """Let the files be seen; UserError when something else is there under the name of one."""
        for name, file in self._files.items():
            link = Path(self.mount_point, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink() and link.readlink() == file:
                continue
            try:
                link.symlink_to(file)
            except FileExistsError as error:
                raise UserError(f"{link} is there already; mount to another folder") from error

    def stop(self) -> None:
        """Take the folder away if it is a temporary one, else what was put into it."""
        if self._is_temporary:
            shutil.rmtree(self.mount_point, ignore_errors=True)
            return
        for name in self._files:
            Path(self.mount_point, name).unlink(missing_ok=True)

    def __enter__(self) -> FileMount:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class FileDataset:
    """Local files, each by its path inside the dataset.

    *version* is the registered one, None for what is not registered.
    """

    register = Refused(_REGISTER)
    as_named_input = as_mount = as_download = as_hdfs = Refused(_BIND)

    def __init__(self, files: dict[str, Path], name: str = "", version: int | None = None) -> None:
        self._files = files
        self.name = name
        self.version = version

    @property
    def id(self) -> str:
        """The name."""
        return self.name

    def to_path(self) -> list[str]:
        """The path of each file inside the dataset, with a slash before it."""
        return [f"/{name}" for name in self._files]

    def download(self, target_path: str | None = None, overwrite: bool = False) -> list[str]:
        """Copy the files below *target_path*, default a new temporary folder; return where they are.

        Raises UserError when one is there already, unless *overwrite*.
        """
        folder = Path(target_path or tempfile.mkdtemp(prefix="mlpipe-download-")).absolute()
        for name, file in self._files.items():
            target = folder / name
            if target.exists() and not overwrite:
                raise UserError(f"{target} is there already; pass overwrite=True, or use another folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return [str(folder / name) for name in self._files]

    def mount(self, mount_point: str | None = None, **_of_v1: object) -> FileMount:
        """A folder that shows the files, default a temporary one; for a ``with`` block."""
        return FileMount(self._files, mount_point)

    def __repr__(self) -> str:
        return f"FileDataset(name={self.name!r}, files={len(self._files)})"


class Dataset:
    """Where scripts of SDK v1 get datasets: declared inputs, whatever the workspace, and local files."""

    @staticmethod
    def get_by_name(
        workspace: object = None, name: str = "", version: Version = "latest"
    ) -> FileDataset | TabularDataset:
        """The declared dataset *name*; UndeclaredError when the step declares none, or another version."""
        return dataset_of(NamedInputs.of_process().named("dataset", name, version))

    @staticmethod
    def get_by_id(workspace: object = None, id: str = "", **_of_v1: object) -> FileDataset | TabularDataset:
        """The input that stands for *id* in the arguments; UndeclaredError when there is none."""
        inputs = NamedInputs.of_process()
        return dataset_of(inputs.of_id(id, lambda found: str(dataset_of(found).id)))

    @staticmethod
    def get_all(workspace: object = None) -> NamedValues[FileDataset | TabularDataset]:
        """The declared registered datasets, by name."""
        return registered_datasets(NamedInputs.of_process())

    class File:
        @staticmethod
        def from_files(path: Any, validate: bool = True, **_of_v1: object) -> FileDataset:
            """Local files and folders; globs are allowed. Raises as the class ``Tabular`` does."""
            return FileDataset(_found(path))

        upload_directory = Refused(_REGISTER)

    class Tabular:
        """Tables of local files.

        UndeclaredError for a URL and a place in a datastore, which the step has to declare; UserError when
        there is no file.
        """

        register_pandas_dataframe = register_dask_dataframe = Refused(_REGISTER)
        from_sql_query = Refused("declare it in the DAG: inputs=[Dataset.Tabular.from_sql_query(...)]")

        @staticmethod
        def from_delimited_files(
            path: Any,
            validate: bool = True,
            include_path: bool = False,
            infer_column_types: bool = True,
            set_column_types: Any = None,
            separator: str = ",",
            header: Any = True,
            partition_format: str | None = None,
            encoding: str = "utf8",
            **of_v1: Any,
        ) -> TabularDataset:
            """Delimited text files as one table; UnsupportedError for what else v1 could be told."""
            refuse_values("from_delimited_files", {"set_column_types": set_column_types, **of_v1}, _DECLARE)
            options = {
                "separator": separator,
                "header": as_header(header),
                "encoding": encoding,
                "infer_column_types": infer_column_types,
            }
            return _table(path, "delimited", {**options, **_of_paths(include_path, partition_format)})

        @staticmethod
        def from_parquet_files(
            path: Any,
            validate: bool = True,
            include_path: bool = False,
            set_column_types: Any = None,
            partition_format: str | None = None,
            **of_v1: Any,
        ) -> TabularDataset:
            """Parquet files as one table; UnsupportedError for what else v1 could be told."""
            refuse_values("from_parquet_files", {"set_column_types": set_column_types, **of_v1}, _DECLARE)
            return _table(path, "parquet", _of_paths(include_path, partition_format))

        @staticmethod
        def from_json_lines_files(
            path: Any,
            validate: bool = True,
            include_path: bool = False,
            set_column_types: Any = None,
            partition_format: str | None = None,
            invalid_lines: str = "error",
            encoding: str = "utf8",
        ) -> TabularDataset:
            """Files of JSON objects, one a line, as one table; UnsupportedError for what else v1 had."""
            given = {"set_column_types": set_column_types, "invalid_lines": invalid_lines != "error"}
            refuse_values("from_json_lines_files", given, _DECLARE)
            options = {"encoding": encoding, **_of_paths(include_path, partition_format)}
            return _table(path, "json_lines", options)


_DECLARE = "declare the table in the DAG, or change the frame that to_pandas_dataframe() gives"


def dataset_of(found: NamedInput) -> FileDataset | TabularDataset:
    """The dataset that a declared input is. Raises UserError for files that the step has no copy of."""
    version = None if found.pin is None else found.pin.version
    name = found.name if found.pin is None else found.pin.name
    if found.spec.kind == "tabular":
        return TabularDataset(found.spec.paths, found.spec.definition, name=name)
    root = found.spec.paths[0]
    if "://" in root:
        raise UserError(
            f"input {found.name!r} is given to the script as the URL {root}; open it by run.open(), or "
            "declare it as_mount() or as_download()"
        )
    return FileDataset(_below(Path(root)), name, version)


def registered_datasets(inputs: NamedInputs) -> NamedValues[FileDataset | TabularDataset]:
    """The registered datasets among *inputs*, by name; raises as :func:`dataset_of`."""
    found = {item.pin.name: dataset_of(item) for item in inputs.registered("dataset") if item.pin}
    advice = 'declare it in the DAG: inputs=[Dataset.get_by_name("{name}")]'
    return NamedValues("dataset", found, advice=advice)


def _table(path: Any, format: str, options: dict[str, Any]) -> TabularDataset:
    files = [str(file) for file in _found(path).values()]
    return TabularDataset(files, {"format": format, "options": options})


def _of_paths(include_path: bool, partition_format: str | None) -> dict[str, Any]:
    return {"include_path": include_path, "partition_format": partition_format}


def _found(path: Any) -> dict[str, Path]:
    """The local files that *path*, one or several, names.

    They go by their paths below what is fixed of it, or, if two had the same, below the folder of them all.
    """
    several = isinstance(path, Sequence) and not isinstance(path, (str, tuple))
    found = {pair for item in (path if several else [path]) for pair in _matching(_local(item))}
    named = dict(sorted(found))
    if len(named) == len(found):
        return named
    files = sorted({file for _, file in found})
    shared = os.path.commonpath([file.parent for file in files])
    return {file.relative_to(shared).as_posix(): file for file in files}


def _matching(text: str) -> Iterator[tuple[str, Path]]:
    """The files that *text* names, each by its path below the folder above the first wildcard, if any."""
    root, matches = Path(text), [text]
    if root.is_file():
        root = root.parent
    elif not root.exists():
        matches = glob.glob(text, recursive=True)  # noqa: PTH207 - relative to nowhere
        while glob.has_magic(str(root)):
            root = root.parent
    if not matches or not root.exists():
        raise UserError(f"there is no file {text!r}; relative paths start at the step's own code")
    for match in map(Path, matches):
        for file in files_in(match) if match.is_dir() else [match]:
            yield file.relative_to(root).as_posix(), file.absolute()


def _below(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {root.name: root.absolute()}
    return {file.relative_to(root).as_posix(): file.absolute() for file in files_in(root)}


def _local(item: Any) -> str:
    text = item if isinstance(item, str) else getattr(item, "__fspath__", lambda: "")()
    if not text or "://" in text:
        raise UndeclaredError(
            f"{item!r} is no local path, and what a script reads from elsewhere does not count when its "
            'outputs are reused; declare it in the DAG: inputs=[Dataset.File.from_files("s3://bucket/raw/")'
            '.as_named_input("raw")]'
        )
    return str(text)
