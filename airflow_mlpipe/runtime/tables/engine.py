"""The libraries that do the work, imported when a table is read: a step without tables needs none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow_mlpipe.errors import UserError


def arrow() -> Any:
    """``pyarrow``. Raises UserError when it is not installed."""
    return _library("pyarrow", "a tabular input is read with pyarrow")


def compute() -> Any:
    """``pyarrow.compute``; raises as :func:`arrow`."""
    return _library("pyarrow.compute", "a tabular input is read with pyarrow")


def pandas() -> Any:
    """``pandas``. Raises UserError when it is not installed."""
    return _library("pandas", "to_pandas_dataframe() makes a DataFrame of pandas")


def polars() -> Any:
    """``polars``. Raises UserError when it is not installed."""
    return _library("polars", "to_polars() makes a DataFrame of polars")


def _library(module: str, why: str) -> Any:
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"{why}, which this interpreter lacks; "
            f"add {package!r} to the pip_packages of the step's Environment"
        ) from error
