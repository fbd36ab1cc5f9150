"""What a message takes of a reader's credit, counted from the message as every client counts it."""

from api.broker.consume_places import Spent
from model.record import BatchHeader, iter_batches
from tidelog.v1 import common_pb2


def cost_of(message: common_pb2.Records) -> Spent:
    """Return the records of a message, and the bytes of its batches (`Credit` in common.proto)."""
    records = size_bytes = 0
    for part in message.partitions:
        for batch in part.batches:
            size_bytes += batch.ByteSize()
            records += len(batch.records)
            if batch.encoded:
                whole = iter_batches(memoryview(batch.encoded))
                records += sum(BatchHeader.of_checked(one).record_count for one in whole)
    return Spent(records, size_bytes)
