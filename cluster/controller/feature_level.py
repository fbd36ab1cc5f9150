"""The feature level: what every node must be able to write and read, raised by hand (P66).

A new release runs at the old level until an operator raises it; until then an older one can still
take its place. It is never lowered.
"""

from dataclasses import dataclass
from typing import Final

from cluster.controller.image import FeatureLevels
from cluster.controller.records import FeatureLevelRaised, MetadataRecord
from cluster.controller.request import Circumstances, Request
from cluster.controller.state import MetadataState
from model.errors import ErrorCode, RequestError
from model.result import Result

SUPPORTED: Final = FeatureLevels(1, 1)
"""Of this release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseFeatureLevel(Request[int]):
    """Let the cluster use what this level brings; answered with the level that holds then."""

    level: int
    validate_only: bool = False


def raise_feature_level(
    state: MetadataState, request: RaiseFeatureLevel, _: Circumstances
) -> Result[MetadataRecord, int]:
    """Decide; the level that holds already is nothing to do.

    Raises:
        RequestError: POLICY_VIOLATION: lower than it is, or a registered node cannot work at it.
    """
    if request.level < state.feature_level:
        detail = f"the feature level is {state.feature_level} and is never lowered"
        raise RequestError(ErrorCode.POLICY_VIOLATION, detail, level=str(state.feature_level))
    unable = [
        one
        for _, one in sorted(state.brokers.items())
        if not one.levels.least <= request.level <= one.levels.greatest
    ]
    if unable:
        rows = ", ".join(f"{one.node} (release {one.version or 'unknown'})" for one in unable)
        raise RequestError(
            ErrorCode.POLICY_VIOLATION,
            f"feature level {request.level} is not within what these nodes can do: {rows}; upgrade "
            "or remove them before",
            level=str(request.level),
            nodes=",".join(str(one.node) for one in unable),
        )
    if request.level == state.feature_level or request.validate_only:
        return Result((), request.level)
    return Result((FeatureLevelRaised(level=request.level),), request.level)


def replay_raised(state: MetadataState, raised: FeatureLevelRaised) -> None:
    """Take the level."""
    state.raise_feature_level(raised.level)
