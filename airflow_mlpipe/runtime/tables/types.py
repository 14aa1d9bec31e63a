"""What the columns of delimited text are: that which all of their values in all files can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from airflow_mlpipe.errors import UserError
from airflow_mlpipe.runtime.tables.engine import arrow, compute

# Each kind has room for the values of those before it in its line. "whole" are whole numbers of which one
# does not fit into 64 bits; they stay texts, for a float has not that many digits.
Kind = Literal["unknown", "bool", "int", "whole", "float", "str"]

TRUE = ("true", "True", "TRUE")
FALSE = ("false", "False", "FALSE")

_WIDER: dict[Kind, tuple[Kind, ...]] = {
    "unknown": ("bool", "int", "whole", "float", "str"),
    "bool": ("bool", "str"),
    "int": ("int", "whole", "float", "str"),
    "whole": ("whole", "float", "str"),
    "float": ("float", "str"),
    "str": ("str",),
}


def widened(kind: Kind, values: Any) -> Kind:
    """The first kind from *kind* on that the texts *values*, an array, can be; nulls can be anything."""
    if kind == "str" or values.null_count == len(values):
        return kind
    present = values.drop_null()
    return next(wider for wider in _WIDER[kind] if _FITS[wider](present))


def arrow_type(kind: str) -> Any:
    """The type by which columns of *kind* are read. One without values has floats, as pandas has it."""
    pyarrow = arrow()
    types = {
        "bool": pyarrow.bool_(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "unknown": pyarrow.float64(),
    }
    return types.get(kind, pyarrow.string())


def as_times(values: Any, column: str, form: str | None = None) -> Any:
    """*values*, an array, as times to the microsecond without a zone; what has a zone becomes UTC.

    Texts are ISO 8601, or as *form* of ``strptime`` says. Raises UserError for what is no time.
    """
    pyarrow, functions = arrow(), compute()
    naive = pyarrow.timestamp("us")
    if pyarrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        if not _is_text(values.type):
            return functions.cast(values, naive, safe=False)
        if form is not None:
            return functions.strptime(values, format=form, unit="us", error_is_null=False)
        zoned = functions.match_substring_regex(values, r"(Z|[+-]\d{2}:?\d{2})$")
        with_zone = functions.if_else(zoned, values, None)
        instants = functions.cast(with_zone, pyarrow.timestamp("us", tz="UTC"))
        without = functions.cast(functions.if_else(zoned, None, values), naive)
        return functions.coalesce(without, functions.cast(instants, naive))
    except pyarrow.ArrowException as error:
        raise UserError(
            f"column {column!r} has a value that is no time: {error}; texts are read as ISO 8601, such as "
            "2026-01-31T18:00:00, or by the format in column_types"
        ) from error


def _is_text(kind: Any) -> bool:
    types = arrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _are_bools(values: Any) -> bool:
    return _all(compute().is_in(values, arrow().array([*TRUE, *FALSE])))


def _are_ints(values: Any) -> bool:
    # Arrow takes 0x1F for a number; in a table it is a name.
    return _can_be(values, arrow().int64()) and not _any(compute().match_substring_regex(values, "[xX]"))


def _are_whole(values: Any) -> bool:
    return _all(compute().match_substring_regex(values, r"^[ \t]*-?[0-9]+[ \t]*$"))


def _are_floats(values: Any) -> bool:
    return _can_be(values, arrow().float64())


def _can_be(values: Any, kind: Any) -> bool:
    # The reader passes over spaces around numbers. To take them away costs as much as reading does.
    return _casts(values, kind) or _casts(compute().ascii_trim(values, characters=" \t"), kind)


def _casts(values: Any, kind: Any) -> bool:
    try:
        compute().cast(values, kind)
    except arrow().ArrowInvalid:
        return False
    return True


def _all(answers: Any) -> bool:
    return bool(compute().all(answers).as_py())


def _any(answers: Any) -> bool:
    return bool(compute().any(answers).as_py())


_FITS: dict[Kind, Callable[[Any], bool]] = {
    "bool": _are_bools,
    "int": _are_ints,
    "whole": _are_whole,
    "float": _are_floats,
    "str": lambda values: True,
}
