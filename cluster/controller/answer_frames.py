"""What the controller answers, on the peer wire: bytes out, bytes in.

Format: docs/formats/peer_frames.md, controller. A partition's row stands in its answer as it does
in metadata records: there is one layout of it. A refusal is `cluster.peer.forward.CallRefused`;
`refusal_of` and `error_of` keep what a refused registration says beside its code.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

from cluster.controller.bootstrap import Answer, Empty, Founder, Member
from cluster.controller.fields import partitions
from cluster.controller.image import BrokerImage, Endpoint, FeatureLevels, Standing
from cluster.controller.isr import IsrAnswer, IsrVerdict
from cluster.controller.producer_ids import ProducerIds
from cluster.controller.proposed_frames import Proposed, proposed_bytes, read_proposed, read_row
from cluster.controller.registration import Barrier, RegistrationRefused
from cluster.controller.sessions import Heard
from cluster.peer.fields import BodyReader, listed, optional_string, string
from cluster.peer.forward import CallRefused
from cluster.peer.table import Family, Frame, FrameType, Manner, packed
from model.errors import RequestError
from model.ids import NodeId, ProducerId, RegistrationEpoch

Told: TypeAlias = (
    Answer | BrokerImage | Heard | tuple[IsrAnswer, ...] | int | ProducerIds | Proposed | None
)

BARRIER: Final = "barrier"
"""Under this name a refusal's metadata say which barrier a registration met."""
_VOTER: Final = Struct(">i16s")
_BROKER: Final = Struct(">i16sqq16sHHB")
_PORT: Final = Struct(">H")
_COUNT: Final = Struct(">q")
_BLOCK: Final = Struct(">qq")
_BYTE: Final = Struct(">B")
_ISR: Final = Struct(">BI")  # verdict, bytes of the row
_EMPTY: Final = 0
_MEMBER: Final = 1
_HEARD: Final = {
    1: Heard.FINE, 2: Heard.UNFENCE, 3: Heard.REGISTER, 4: Heard.REPLACED, 5: Heard.STOPPED,
}  # fmt: skip
_HEARD_NUMBERS: Final = {heard: number for number, heard in _HEARD.items()}
_VERDICTS: Final = {
    1: IsrVerdict.TAKEN,
    2: IsrVerdict.UNKNOWN_PARTITION,
    3: IsrVerdict.NOT_LEADER,
    4: IsrVerdict.STALE_LEADER_EPOCH,
    5: IsrVerdict.STALE_ROW,
    6: IsrVerdict.INELIGIBLE,
}
_VERDICT_NUMBERS: Final = {verdict: number for number, verdict in _VERDICTS.items()}


def encode(told: Told, *, correlation: int) -> bytes:
    """Return an answer's whole frame."""
    number, body_of = _ENCODE[type(told)]
    return packed(number, body_of(told), correlation=correlation)


def decode(frame: Frame) -> Told:
    """Return what a frame answers.

    Raises:
        MalformedError: not what was written.
    """
    assert frame.row.family is Family.CONTROLLER, "PEER_FRAME_FAMILY"
    assert frame.row.manner is Manner.ANSWERS, "PEER_FRAME_FAMILY"
    reader = BodyReader(frame)
    told = _DECODE[frame.type](reader)
    reader.finish()
    return told


def refusal_of(error: RequestError) -> CallRefused:
    """Return a refusal as it is sent, with the barrier that a registration met."""
    if isinstance(error, RegistrationRefused):
        return CallRefused.of(error, **{BARRIER: error.barrier.value})
    return CallRefused.of(error)


def error_of(refused: CallRefused) -> RequestError:
    """Return what was refused as the error it was, a registration's with its barrier.

    A barrier that this release does not know is an error like others: the node asks again.
    """
    told = dict(refused.metadata)
    barrier = told.pop(BARRIER, None)
    if barrier in {one.value for one in Barrier}:
        return RegistrationRefused(Barrier(barrier), refused.detail, **told)
    return refused.error


def endpoints_bytes(endpoints: tuple[Endpoint, ...]) -> bytes:
    """Return a list of endpoints: string listener, string host, u16 port each."""
    return listed(
        [string(one.listener) + string(one.host) + _PORT.pack(one.port) for one in endpoints]
    )


def read_endpoints(reader: BodyReader) -> tuple[Endpoint, ...]:
    """Return a list of endpoints."""

    def endpoint() -> Endpoint:
        listener, host = reader.string(), reader.string()
        return Endpoint(listener, host, reader.unpack(_PORT)[0])

    return reader.listed(endpoint, least_bytes=6)


def _seed(told: Answer) -> bytes:
    kind, voters = (_EMPTY, (told.founder,)) if isinstance(told, Empty) else (_MEMBER, told.voters)
    rows = [_VOTER.pack(*voter) for voter in voters]
    return _BYTE.pack(kind) + string(told.cluster_id) + listed(rows)


def _read_seed(reader: BodyReader) -> Answer:
    (kind,) = reader.unpack(_BYTE)
    reader.check(kind <= _MEMBER, f"a kind of node {kind}", back=1)
    cluster_id = reader.string()

    def founder() -> Founder:
        node, directory = reader.unpack(_VOTER)
        reader.check(node >= 0, f"node {node}", back=_VOTER.size)
        return Founder(NodeId(node), directory)

    voters = reader.listed(founder, least_bytes=_VOTER.size)
    sound = len({voter.node for voter in voters}) == len(voters) > 0
    reader.check(sound, f"{len(voters)} voters, or one twice")
    if kind == _MEMBER:
        return Member(cluster_id, voters)
    reader.check(len(voters) == 1, f"an empty node that names {len(voters)} founders")
    return Empty(cluster_id, voters[0])


def _broker(told: BrokerImage) -> bytes:
    fixed = _BROKER.pack(
        told.node,
        told.directory,
        told.registration_epoch,
        told.remembered,
        told.incarnation,
        *told.levels,
        told.standing,
    )
    texts = (optional_string(told.rack), string(told.version))
    return b"".join((fixed, *texts, endpoints_bytes(told.endpoints)))


def _read_broker(reader: BodyReader) -> BrokerImage:
    node, directory, epoch, remembered, incarnation, *rest = reader.unpack(_BROKER)
    least, greatest, standing = rest
    sound = min(node, epoch, remembered) >= 0 and least <= greatest
    why = f"node {node}, epochs {epoch} and {remembered}, feature levels {least} to {greatest}"
    reader.check(sound, why, back=_BROKER.size)
    reader.check(standing in Standing.__members__.values(), f"a standing {standing}", back=1)
    return BrokerImage(
        node=NodeId(node),
        directory=directory,
        registration_epoch=RegistrationEpoch(epoch),
        remembered=RegistrationEpoch(remembered),
        incarnation=incarnation,
        levels=FeatureLevels(least, greatest),
        standing=Standing(standing),
        rack=reader.optional_string(),
        version=reader.string(),
        endpoints=read_endpoints(reader),
    )


def _isr(told: IsrAnswer) -> bytes:
    row = b"" if told.row is None else partitions((told.row,))
    return _ISR.pack(_VERDICT_NUMBERS[told.verdict], len(row)) + row


def _read_isr(reader: BodyReader) -> IsrAnswer:
    number, size = reader.unpack(_ISR)
    verdict = _VERDICTS.get(number)
    if verdict is None:
        raise reader.wrong(f"a verdict {number}", back=_ISR.size)
    sound = (size == 0) is (verdict is IsrVerdict.UNKNOWN_PARTITION)
    reader.check(sound, f"{verdict.value} with {size} bytes of row", back=_ISR.size)
    return IsrAnswer(verdict, read_row(reader, size) if size else None)


def _read_heard(reader: BodyReader) -> Heard:
    (number,) = reader.unpack(_BYTE)
    heard = _HEARD.get(number)
    if heard is None:
        raise reader.wrong(f"an answer {number}", back=1)
    return heard


def _read_counted(reader: BodyReader) -> int:
    count: int
    (count,) = reader.unpack(_COUNT)
    reader.check(count >= 0, f"{count} is below 0", back=_COUNT.size)
    return count


def _read_block(reader: BodyReader) -> ProducerIds:
    first, count = reader.unpack(_BLOCK)
    sound = first >= 0 and count > 0 and first + count < 1 << 63
    reader.check(sound, f"{count} ids from {first}", back=_BLOCK.size)
    return ProducerIds(ProducerId(first), count)


_ENCODE: Final[dict[type[Any], tuple[FrameType, Callable[[Any], bytes]]]] = {
    Empty: (FrameType.SEED_ANSWER, _seed),
    Member: (FrameType.SEED_ANSWER, _seed),
    BrokerImage: (FrameType.REGISTERED, _broker),
    Heard: (FrameType.HEARD, lambda told: _BYTE.pack(_HEARD_NUMBERS[told])),
    tuple: (FrameType.ISR_ANSWERS, lambda told: listed([_isr(one) for one in told])),
    int: (FrameType.COUNTED, _COUNT.pack),
    ProducerIds: (FrameType.PRODUCER_IDS, lambda told: _BLOCK.pack(told.first, told.count)),
    Proposed: (FrameType.PROPOSED, proposed_bytes),
    type(None): (FrameType.DONE, lambda _: b""),
}
_DECODE: Final[dict[FrameType, Callable[[BodyReader], Told]]] = {
    FrameType.SEED_ANSWER: _read_seed,
    FrameType.REGISTERED: _read_broker,
    FrameType.HEARD: _read_heard,
    FrameType.ISR_ANSWERS: lambda reader: reader.listed(
        lambda: _read_isr(reader), least_bytes=_ISR.size
    ),
    FrameType.COUNTED: _read_counted,
    FrameType.PRODUCER_IDS: _read_block,
    FrameType.PROPOSED: read_proposed,
    FrameType.DONE: lambda _: None,
}
