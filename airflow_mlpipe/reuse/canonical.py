"""The canonical encoding of plain values, and the digest over it.

Each value is a type tag followed by a payload of known length, so no two different values share an
encoding: ``1``, ``True``, ``1.0`` and ``"1"`` differ, and so do ``[1, 11]`` and ``[11, 1]``. Tuples
are lists, as they are in JSON; the order of a mapping's keys does not matter.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

from airflow_mlpipe.errors import UnhashableValueError


def digest(value: Any) -> str:
    """SHA-256 over the canonical encoding of *value*, as 64 hex digits.

    Raises UnhashableValueError for anything but None, bool, int, float, str, bytes, and lists, tuples
    and mappings with str keys of these.
    """
    return hashlib.sha256(encode(value)).hexdigest()


def encode(value: Any) -> bytes:
    """The canonical encoding of *value*; raises as :func:`digest` does."""
    parts: list[bytes] = []
    _encode(value, parts.append, "value")
    return b"".join(parts)


def _encode(value: Any, emit: Any, where: str) -> None:
    if value is None:
        emit(b"n")
    elif isinstance(value, bool):
        emit(b"t" if value else b"f")
    elif isinstance(value, int):
        emit(_sized(b"i", str(int(value)).encode()))
    elif isinstance(value, float):
        emit(b"d" + struct.pack(">d", math.nan if math.isnan(value) else value))
    elif isinstance(value, str):
        emit(_sized(b"s", value.encode("utf-8", "surrogatepass")))
    elif isinstance(value, bytes):
        emit(_sized(b"b", value))
    elif isinstance(value, (list, tuple)):
        emit(b"l%d:" % len(value))
        for index, item in enumerate(value):
            _encode(item, emit, f"{where}[{index}]")
    elif isinstance(value, Mapping):
        emit(b"m%d:" % len(value))
        for key in _sorted_keys(value, where):
            _encode(key, emit, where)
            _encode(value[key], emit, f"{where}[{key!r}]")
    else:
        raise UnhashableValueError(
            f"{where} is {value!r} of type {type(value).__qualname__}, which has no canonical encoding; "
            "use None, bool, int, float, str, bytes, or lists and dicts of these"
        )


def _sized(tag: bytes, payload: bytes) -> bytes:
    return tag + b"%d:" % len(payload) + payload


def _sorted_keys(value: Mapping[Any, Any], where: str) -> list[str]:
    for key in value:
        if not isinstance(key, str):
            raise UnhashableValueError(
                f"{where} has the key {key!r}; only str keys have a canonical encoding"
            )
    return sorted(value, key=lambda key: key.encode("utf-8", "surrogatepass"))
