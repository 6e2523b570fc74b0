"""What the core says of build variants, as values."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Decision = Union["VariantAccepted", "VariantRejected"]


@dataclass(frozen=True)
class Variant:
    """A build of a kernel; `variant_str` is the name of its directory."""

    variant_str: str

    def __str__(self) -> str:
        return self.variant_str


@dataclass(frozen=True)
class VariantAccepted:
    """It fits this system, by its name."""

    variant: Variant

    def __str__(self) -> str:
        return f"{self.variant} compatible"


@dataclass(frozen=True)
class VariantRejected:
    """It does not, and why."""

    variant: Variant
    reason: str

    def __str__(self) -> str:
        return f"{self.variant}: {self.reason}"


def decision_of(entry: Any) -> Decision:
    """A step of the core's search as a decision."""
    _, subject, _, reason, admits, accepted = entry
    if accepted:
        return VariantAccepted(Variant(subject))
    return VariantRejected(Variant(subject), f"{reason}; accepted: {admits}" if admits else reason)
