"""What steps are mapped over: how much at most, and what follows from nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from typing import Any

from airflow_mlpipe.errors import DefinitionError


def longest_expansion() -> int:
    """Over how many items Airflow maps a task at most: its option ``[core] max_map_length``."""
    from airflow.sdk.configuration import conf

    return int(conf.getint("core", "max_map_length", fallback=1024))


def check_expansion(mapped: Any, who: str) -> None:
    """Raise DefinitionError when *mapped* makes no instance of a step, or more than Airflow maps over.

    *mapped* is what ``expand()`` is given, by name, or the list that ``expand_kwargs()`` is given. Only what
    is known while the DAG is parsed is looked at.
    """
    named = mapped if isinstance(mapped, Mapping) else {"kwargs": mapped}
    lengths = {name: len(value) for name, value in named.items() if isinstance(value, Sized)}
    if empty := [name for name, length in lengths.items() if not length]:
        raise DefinitionError(
            f"{who} is mapped over {empty[0]}, which is empty: Airflow would skip the step and all that "
            "needs it; give it items, or leave the step out"
        )
    count, limit = math.prod(lengths.values()), longest_expansion()
    if count > limit:
        raise DefinitionError(
            f"{who} is mapped over {count} items, and Airflow maps over {limit} at most ([core] "
            "max_map_length); let expand_in_chunks() make several mapped tasks of a function, or divide the "
            "items among several steps"
        )


def nothing_to_map(task: Any, returned: Any) -> str | None:
    """A sentence for the log of *task* when it *returned* an empty list that something is mapped over."""
    if not isinstance(returned, (list, tuple, dict)) or returned:
        return None
    mapped = [node.node_id for node in task.iter_mapped_dependants()]
    if not mapped:
        return None
    return (
        f"{task.task_id} returned nothing to map over: Airflow skips {' and '.join(mapped)}, and what needs "
        "their results by the rule all_success"
    )
