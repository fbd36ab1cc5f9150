"""The records inside stored batches, in slices; what cannot be read is said, never passed over.

A batch whose header and checksum are sound may hold anything (docs/formats/record_batch.md): what
does not decode is still served whole to readers that take batches as they are (P56).
"""

from collections.abc import AsyncIterator

from api.broker.append_runs import StoredBatch
from api.broker.readable import Readable
from api.broker.turns import Turns
from logstore.batch import decode_slices
from logstore.compression import ExpandsBeyondError
from model.errors import ErrorCode, MalformedError, RequestError
from model.record import Record


async def decoded(
    partition: Readable, batch: StoredBatch, turns: Turns
) -> AsyncIterator[list[Record]]:
    """Yield the records of a batch, some at a time.

    Raises:
        RequestError: RECORD_TOO_LARGE, it expands beyond what a node decodes; CORRUPT_LOG, its
            producer stored what is no record. Both name partition and offsets.
    """
    slices = decode_slices(batch.view)
    while True:
        try:
            taken = next(slices, None)
        except ExpandsBeyondError as beyond:
            raise _unreadable(ErrorCode.RECORD_TOO_LARGE, partition, batch, why=beyond) from beyond
        except MalformedError as malformed:
            raise _unreadable(ErrorCode.CORRUPT_LOG, partition, batch, why=malformed) from malformed
        if taken is None:
            return
        if taken:
            yield taken
        await turns.give_way()


async def only_key(batch: memoryview, turns: Turns) -> bytes | None:
    """Return the key that all records of a batch have.

    Raises:
        RequestError: INVALID_REQUEST, they have several; CORRUPT_BATCH, RECORD_TOO_LARGE, it does
            not decode.
    """
    keys: set[bytes | None] = set()
    try:
        for taken in decode_slices(batch):
            keys.update(record.key for record in taken)
            if len(keys) > 1:
                raise several_keys()
            await turns.give_way()
    except ExpandsBeyondError as beyond:
        raise RequestError(ErrorCode.RECORD_TOO_LARGE, str(beyond)) from beyond
    except MalformedError as malformed:
        raise RequestError(ErrorCode.CORRUPT_BATCH, str(malformed)) from malformed
    return keys.pop() if keys else None


def several_keys() -> RequestError:
    """Return the refusal of a batch that leaves the partition open and would belong to several."""
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        "the records have different keys, and no partition is named: send a batch for each key, "
        "or name the partition",
        field="partition",
    )


def _unreadable(
    code: ErrorCode, partition: Readable, batch: StoredBatch, *, why: MalformedError
) -> RequestError:
    place = f"{partition.topic.name}/{partition.number}"
    return RequestError(
        code,
        f"{place}: the batch of offsets {batch.base_offset} to {batch.end_offset - 1} cannot be "
        f"decoded: {why}; read it as it is stored (ENCODING_BATCH), or go on behind it",
        topic=partition.topic.name,
        partition=str(partition.number),
        offset=str(batch.base_offset),
        next_offset=str(batch.end_offset),
        why=str(why),
    )
