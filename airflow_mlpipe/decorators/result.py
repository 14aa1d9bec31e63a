"""What calling a step's function gives the author: a reference to what the step will hand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from airflow.sdk import XComArg
from airflow.sdk.definitions.xcom_arg import PlainXComArg
from airflow.sdk.exceptions import XComNotFound

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.data import RESERVED_NAMES
from airflow_mlpipe.pipeline.functions.signature import FunctionSignature


@attrs.define(eq=False)
class StepXComArg(PlainXComArg):
    """Airflow's XComArg of a step, which knows the step's results by name.

    ``names`` is None when only a run tells them.
    """

    names: frozenset[str] | None = None

    @classmethod
    def of(cls, result: XComArg, signature: FunctionSignature) -> StepXComArg:
        """The *result* of a step with this *signature*."""
        assert isinstance(result, PlainXComArg)
        returns = signature.returns
        known = None if returns.kind == "mapping" else {*signature.outputs, *returns.fields, *RESERVED_NAMES}
        return cls(result.operator, result.key, None if known is None else frozenset(known))

    def __getitem__(self, item: str) -> XComArg:
        """The result *item*; DefinitionError when the step has none of that name."""
        if self.names is not None and item not in self.names:
            known = ", ".join(sorted(self.names - RESERVED_NAMES)) or "only what the function returns"
            raise DefinitionError(
                f"step {self.operator.task_id!r} has no result {item!r}; it has: {known}; the keys of a "
                "returned dict are results when the function is annotated '-> dict'"
            )
        return StepXComArg(self.operator, item, self.names)

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """As Airflow resolves it; without an XCom, the metrics of a step that logged none."""
        try:
            return super().resolve(context)
        except XComNotFound:
            if self.key == "metrics":
                return {}
            raise
