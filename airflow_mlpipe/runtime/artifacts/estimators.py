"""Estimators of scikit-learn, and of libraries that follow it, by skops: never with a pickle."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from airflow_mlpipe.errors import DefinitionError, DocumentError, UserError
from airflow_mlpipe.runtime.artifacts.pickled import FUNCTION_PACKAGE
from airflow_mlpipe.runtime.artifacts.registry import ArtifactFormat

_SCHEMA = "schema.json"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_STOP_WORDS_ADDRESS = "_stop_words_id"

# Parts of estimators that skops trusts: classes in Python that only hold what they are given, so that a file
# can do no more with them. Not here, on purpose: what indexes memory unchecked, as sklearn.tree._tree.Tree
# does, with which a forged file could crash the process or read what it should not.
HARMLESS = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)

# Their objects are the same however often they are read, so that it does not matter which of them were one.
_WITHOUT_IDENTITY = frozenset({"JsonNode", "TypeNode", "FunctionNode"})


class Estimators(ArtifactFormat):
    """skops' format, which names the types that a file holds, and reads only types that are trusted.

    Those are the ones that skops trusts by itself, those in ``HARMLESS``, and *trusted*: classes, or dotted
    names as the refusal prints them. Equal models become equal bytes.

    Raises DefinitionError when *trusted* is no list of classes and texts.
    """

    name = "skops"
    file = "model.skops"
    types = ("sklearn.base.BaseEstimator",)

    def __init__(self, trusted: Sequence[str | type] = ()) -> None:
        if isinstance(trusted, str) or not all(isinstance(kind, (str, type)) for kind in trusted):
            raise DefinitionError(f"trusted is {trusted!r}; it is a list of classes or of their dotted names")
        self.trusted = [
            kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}" for kind in trusted
        ]

    def write(self, value: Any, path: Path) -> None:
        skops = self.library("skops.io", extra="sklearn")
        try:
            archive = skops.dumps(value)
        except Exception as error:  # whatever a part of the model raises when it is asked for its state
            raise UserError(
                f"skops cannot write a {type(value).__name__}: {error}; write a file to an Output[Path], "
                "or annotate it as Pickle[...] if its readers are to trust this step"
            ) from error
        untrusted = self._untrusted(skops, archive)
        if own := [kind for kind in untrusted if kind.startswith((FUNCTION_PACKAGE, "__main__."))]:
            raise UserError(
                f"the model holds {own[0]}, which is written in the step's own module, where other steps "
                "cannot import it; move it to a module beside the DAG file"
            )
        if untrusted:
            sys.stdout.write(f"A step that takes this model has to trust {', '.join(untrusted)}\n")
        path.write_bytes(_canonical(archive))

    def read(self, path: Path, wanted: str) -> Any:
        skops = self.library("skops.io", extra="sklearn")
        archive = path.read_bytes()
        try:
            untrusted = self._untrusted(skops, archive)
        except Exception as error:  # a file of any content was read up to here, and nothing of it was run
            raise _damaged(path, error) from error
        if untrusted:
            raise UserError(
                f"it holds {', '.join(untrusted)}, which skops does not trust without being told to; "
                "if whoever can write to the datastore is to be trusted, add to the module of this function "
                f"register_artifact(Estimators(trusted={self.trusted + untrusted})), "
                f"with Estimators from {__name__}"
            )
        try:
            return skops.loads(archive, trusted=[*HARMLESS, *self.trusted])
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the model cannot be put together: {error}; what it is made of must be importable for this "
                "step too, from a package or from a module that its own module imports"
            ) from error
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, error) from error

    def _untrusted(self, skops: Any, archive: bytes) -> list[str]:
        """The types in *archive* that this format does not trust, sorted. No module of theirs is imported."""
        return sorted(set(skops.get_untrusted_types(data=archive)).difference(HARMLESS, self.trusted))


def _damaged(path: Path, error: Exception) -> DocumentError:
    return DocumentError(f"{path.name} cannot be read as a skops file: {error}; run its producer again")


def _canonical(archive: bytes) -> bytes:
    """*archive* without what differs from process to process: the time, and addresses in memory.

    skops calls files in it by the addresses of arrays, or at random, and gives each object its address, by
    which one that is there twice becomes one again. Numbers take their place, in the order of the schema.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        schema = json.loads(source.read(_SCHEMA))
        _sort_sets(schema)
        _drop_stop_words_addresses(schema)
        files = _renumber(schema)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as copy:
            for old, new in files.items():
                copy.writestr(zipfile.ZipInfo(new, _LONG_AGO), source.read(old))
            copy.writestr(zipfile.ZipInfo(_SCHEMA, _LONG_AGO), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def _renumber(schema: Any) -> dict[str, str]:
    """Put numbers in place of addresses in *schema*; returns the new names of files by their old ones."""
    files: dict[str, str] = {}
    numbers: dict[int, int] = {}
    seen = Counter(node.get("__id__") for node in _nodes(schema) if _has_identity(node))
    for node in _nodes(schema):
        address = node.pop("__id__", None)
        if _has_identity(node) and address is not None and seen[address] > 1:
            node["__id__"] = numbers.setdefault(address, len(numbers) + 1)
        if isinstance(old := node.get("file"), str):
            node["file"] = files.setdefault(old, f"{len(files) + 1}{PurePosixPath(old).suffix}")
    return files


def _sort_sets(schema: Any) -> None:
    for node in _nodes(schema):
        if node["__loader__"] == "SetNode":
            node["content"].sort(key=_text_without_addresses)


def _drop_stop_words_addresses(schema: Any) -> None:
    # Vectorizers of scikit-learn remember the address of the stop words that they warned of, to warn once.
    for node in _nodes(schema):
        state = node.get("content") if node["__loader__"] == "ObjectNode" else None
        if isinstance(state, dict) and state.get("__loader__") == "DictNode":
            attributes = list(state["content"])
            if _STOP_WORDS_ADDRESS in attributes:
                del state["content"][_STOP_WORDS_ADDRESS]
                del state["key_types"]["content"][attributes.index(_STOP_WORDS_ADDRESS)]


def _text_without_addresses(tree: Any) -> str:
    copy = json.loads(json.dumps(tree))
    for node in _nodes(copy):
        node.pop("__id__", None)
    return json.dumps(copy)


def _has_identity(node: dict[str, Any]) -> bool:
    return node["__loader__"] not in _WITHOUT_IDENTITY


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """The descriptions of objects in *tree*, outer ones first; nothing else in it has a loader's name."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if isinstance(item.get("__loader__"), str):
                yield item
            pending.extend(reversed(item.values()))
        elif isinstance(item, list):
            pending.extend(reversed(item))


FORMATS = (Estimators(),)
