"""`Delay`: how slow a scripted engine is, in its script: milliseconds, or a distribution. Used by scripted engines.

"finish_ms": 80
"finish_ms": {"p50_ms": 80, "p95_ms": 240}
"finish_ms": {"p50_ms": 80, "p95_ms": 240, "max_ms": 1000}
"""

import math
import random
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_LONGEST_MS = 600_000
_NORMAL_P95 = 1.6448536269514722  # the standard normal distribution's 95th percentile


class DelayDistribution(BaseModel):
    """Log-normal, as times of services are: never negative, with a long tail. Nothing is longer than max_ms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    p50_ms: float = Field(gt=0, le=_LONGEST_MS)
    p95_ms: float = Field(gt=0, le=_LONGEST_MS)
    max_ms: float = Field(_LONGEST_MS, gt=0, le=_LONGEST_MS)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.p50_ms <= self.p95_ms <= self.max_ms:
            raise ValueError("p50_ms, p95_ms and max_ms must not descend")
        return self


Delay = Annotated[int, Field(ge=0, le=_LONGEST_MS)] | DelayDistribution


def drawn_ms(delay: Delay, chance: random.Random) -> float:
    """One delay in milliseconds. Draws from chance only where there is a distribution."""
    if isinstance(delay, int):
        return float(delay)
    sigma = math.log(delay.p95_ms / delay.p50_ms) / _NORMAL_P95
    return min(delay.max_ms, chance.lognormvariate(math.log(delay.p50_ms), sigma))
