"""A node pool: the nodes of a Kubernetes cluster that a step may run on."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from airflow_mlpipe.errors import DefinitionError
from airflow_mlpipe.model.declaration import Declaration
from airflow_mlpipe.model.kubernetes_texts import LabelValue, is_label_value, is_qualified_name

Provider = Literal["gke", "aks", "eks", "karpenter"]

# The label that a pool without a provider and without a key of its own is known by.
POOL_LABEL = "pool"


class NodePool(Declaration):
    """The pool *name* as its provider labels it, or all nodes that have *labels*.

    A provider's pool knows the taints of its GPU nodes and how its spot nodes are told apart:
    ``NodePool.gke("a100")``, or ``node_pool: {provider: gke, name: a100}`` in YAML. A text is a label of the
    nodes: ``"key=value"``, several of them with commas between, or a value alone for the label ``pool``.
    """

    provider: Provider | None = None
    name: LabelValue | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if (self.provider is None) == bool(self.name) or bool(self.labels) == bool(self.provider):
            raise DefinitionError("NodePool: give a provider with the pool's name, or labels")

    @classmethod
    def gke(cls, name: str) -> NodePool:
        """A node pool of Google Kubernetes Engine."""
        return cls(provider="gke", name=name)

    @classmethod
    def aks(cls, name: str) -> NodePool:
        """A node pool of Azure Kubernetes Service."""
        return cls(provider="aks", name=name)

    @classmethod
    def eks(cls, name: str) -> NodePool:
        """A managed node group of Amazon Elastic Kubernetes Service."""
        return cls(provider="eks", name=name)

    @classmethod
    def karpenter(cls, name: str) -> NodePool:
        """A NodePool of Karpenter, such as those of EKS Auto Mode."""
        return cls(provider="karpenter", name=name)

    @classmethod
    def parse(cls, text: str) -> NodePool:
        """The nodes with the labels of *text*. Raises ValueError when it names none."""
        pairs = [pair.strip().partition("=") for pair in text.split(",")]
        if "=" in text and len({key for key, _, _ in pairs}) < len(pairs):
            raise ValueError(f"{text!r} names a label twice, and a node has one value of each")
        return cls(
            labels={key: value for key, _, value in pairs} if "=" in text else {POOL_LABEL: text.strip()}
        )

    @field_validator("labels")
    @classmethod
    def _labels_are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for key, value in labels.items():
            if not is_qualified_name(key) or not is_label_value(value) or not value:
                raise ValueError(f"{f'{key}={value}'!r} is no label of nodes such as 'pool=a100'")
        return labels
