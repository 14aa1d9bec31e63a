"""Recipes: everything that can change the result of a step, and the fingerprint over it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from airflow_mlpipe.errors import DocumentError
from airflow_mlpipe.reuse.canonical import digest

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Recipe:
    """The typed document that a fingerprint is made of; every part is plain JSON.

    - ``step``: kind, version of the step's contract, entry point;
    - ``code``: digests of the files that count, by relative path;
    - ``arguments``: the argv after the entry point; a text, ``{"input": name}`` or ``{"output": name}``;
    - ``parameters``: values that reach the step by another way than its arguments;
    - ``inputs``: by name, the access mode and the content digest;
    - ``outputs``: by name, the kind of output;
    - ``environment``: Python version and distributions, or the packages of a virtual environment;
    - ``environment_variables``: the declared ones;
    - ``salt``: ``reuse_version``, and the DAG when reuse is confined to it.

    Compute target, retries, pool, tags, run ids and paths of the machine are not in it.
    """

    step: dict[str, Any]
    code: dict[str, Any] = field(default_factory=dict)
    arguments: list[Any] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    environment_variables: dict[str, Any] = field(default_factory=dict)
    salt: dict[str, Any] = field(default_factory=dict)

    def part_digests(self) -> dict[str, str]:
        """The digest of each part, so that two recipes can be compared part by part."""
        return {name: digest(getattr(self, name)) for name in PARTS}

    def fingerprint(self) -> str:
        """SHA-256 over the digests of the parts: 64 hex digits, the address of the step's outputs."""
        return digest({"schema_version": SCHEMA_VERSION, "parts": self.part_digests()})

    def values_digest(self) -> str:
        """The digest of what the step is given, which tells the instances of a mapped one apart."""
        return digest([self.arguments, self.parameters, self.inputs])

    def as_document(self) -> dict[str, Any]:
        """The recipe as JSON, for the manifest."""
        return {"schema_version": SCHEMA_VERSION, **{name: getattr(self, name) for name in PARTS}}

    @classmethod
    def from_document(cls, document: Any) -> Recipe:
        """Read what :meth:`as_document` wrote; DocumentError for anything else."""
        if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
            raise DocumentError("this is not a recipe of a known schema version")
        parts = {name: value for name, value in document.items() if name != "schema_version"}
        if set(parts) != set(PARTS):
            odd = ", ".join(sorted(set(parts) ^ set(PARTS)))
            raise DocumentError(f"the recipe has missing or unknown parts: {odd}")
        for name, value in parts.items():
            if not isinstance(value, list if name == "arguments" else dict):
                raise DocumentError(f"part {name!r} of the recipe is {type(value).__name__}")
        return cls(**parts)


PARTS: tuple[str, ...] = tuple(item.name for item in dataclasses.fields(Recipe))
