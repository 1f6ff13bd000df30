"""What all sections share: the base class, the error, and the types of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from biglearn_gan.errors import UsageError


class ConfigError(UsageError):
    """A configuration that cannot be used; ``problems`` holds one sentence per problem."""

    def __init__(self, problems: Iterable[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are not converted or changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _as_height_and_width(value: Any) -> Any:
    """Accept ``28`` for ``[28, 28]``; make a tuple of a list; leave the rest to pydantic."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return _as_tuple(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
ImageSize = Annotated[tuple[Positive, Positive], BeforeValidator(_as_height_and_width)]
Layers = Annotated[tuple[NonNegative, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Pair = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], BeforeValidator(_as_tuple)]
