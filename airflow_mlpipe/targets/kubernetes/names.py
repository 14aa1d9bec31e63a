"""Names and labels of what an attempt is in a cluster, made from texts that may hold anything."""

from __future__ import annotations

import hashlib
import re

from airflow_mlpipe.model.kubernetes_texts import is_label_value

_LONGEST = 63  # of a label's value, and of a pod's name that is also its host name
_DIGITS = 16  # of a digest that keeps what is shortened apart


def pod_name(attempt: str) -> str:
    """The name of the pod of an attempt: always the same one, and another one for each attempt."""
    return _named("mlpipe", attempt)


def secret_name(attempt: str) -> str:
    """The name of the Secret that has the parcel of an attempt."""
    return _named("mlpipe", attempt)


def label_value(text: str) -> str:
    """*text* as the value of a label: itself where it may be, else its readable part and a digest."""
    if text and is_label_value(text):
        return text
    digest = _digest(text)
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[: _LONGEST - 1 - _DIGITS].strip("-_.")
    return f"{readable}-{digest}" if readable else digest


def _named(prefix: str, attempt: str) -> str:
    digest = _digest(attempt)
    room = _LONGEST - len(prefix) - len(digest) - 2
    readable = re.sub(r"[^a-z0-9]+", "-", attempt.lower())[:room].strip("-")
    return "-".join(filter(None, (prefix, readable, digest)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
