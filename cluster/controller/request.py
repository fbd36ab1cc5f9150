"""What can be asked of the controller: each request names the type of its answer."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, TypeVar

from model.ids import NodeId, WallMs
from model.ports import Rand

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Request(Generic[AnswerT_co]):
    """Base of all requests; subclasses are frozen dataclasses."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a decision may depend on beside the state: it is written into the records it makes."""

    now: WallMs
    """For stamps that people read; orders nothing."""
    rand: Rand
    """For ids, and for the order in which brokers of equal load are chosen."""
    live: AbstractSet[NodeId] = frozenset()
    """Whose session this controller holds (`cluster.controller.sessions`); empty for one voter."""
