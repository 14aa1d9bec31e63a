"""Taints of nodes, as ``kubectl taint`` writes them, and the tolerations of pods."""

from __future__ import annotations

import re

from airflow_mlpipe.model.kubernetes_texts import is_label_value, is_qualified_name

_TAINT = re.compile(
    r"(?P<key>[^=:]+)(=(?P<value>[^=:]*))?(:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute))?"
)


def parse_toleration(text: str) -> dict[str, str]:
    """The toleration of a pod for the taint ``key[=value][:effect]``.

    Without a value it tolerates every value, without an effect every effect. Raises ValueError.
    """
    match = _TAINT.fullmatch(text)
    if match is None or not is_qualified_name(match["key"]) or not is_label_value(match["value"] or ""):
        raise ValueError(f"{text!r} is no taint: write KEY[=VALUE][:EFFECT], such as 'sku=gpu:NoSchedule'")
    value, effect = match["value"], match["effect"]
    return {
        "key": match["key"],
        **({"operator": "Exists"} if value is None else {"operator": "Equal", "value": value}),
        **({} if effect is None else {"effect": effect}),
    }
