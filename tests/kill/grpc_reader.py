"""Reads everything back over gRPC's Fetch: the same records, and when each was appended."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc

from tests.kill.ledger import Identity, Ledger, at, name
from tests.kill.payload import Place, identity
from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc

ASK_S_MAX: Final = 60.0
MESSAGE_BYTES_MAX: Final = 16 << 20


def read_over_grpc(
    target: str, ends: Mapping[Place, int], ledger: Ledger
) -> dict[Place, list[Identity]]:
    """Return who stands at each offset below `ends`; append times are compared with the answers.

    Raises:
        grpc.RpcError: a call failed.
    """
    found: dict[Place, list[Identity]] = {place: [] for place in ends}
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    with grpc.insecure_channel(target, options=options) as channel:
        stub: Any = log_service_pb2_grpc.LogServiceStub(channel)
        while missing := [place for place, end in ends.items() if len(found[place]) < end]:
            before = sum(map(len, found.values()))
            _fetch(stub, missing, found=found, ledger=ledger)
            if sum(map(len, found.values())) == before:
                ledger.problem(f"Fetch does not go on in {missing[0]}@{len(found[missing[0]])}")
                break
    return found


def _fetch(
    stub: Any, places: Sequence[Place], *, found: dict[Place, list[Identity]], ledger: Ledger
) -> None:
    request = log_service_pb2.FetchRequest(
        cursors=[
            common_pb2.Cursor(
                topic=place.topic, partition=place.partition, offset=len(found[place])
            )
            for place in places
        ],
        encoding=common_pb2.ENCODING_RECORDS,
    )
    for result in stub.Fetch(request, timeout=ASK_S_MAX).results:
        if not result.HasField("records"):
            ledger.problem(f"Fetch answers {result}")
            continue
        records = result.records
        place = Place(records.next.topic, records.next.partition)
        ledger.mark(place, records.high_watermark, reader="Fetch")
        if records.log_start_offset != 0:
            ledger.problem(f"{place} begins at {records.log_start_offset}: nothing was removed")
        for batch in records.batches:
            _take(place, batch, rows=found[place], ledger=ledger)


def _take(place: Place, batch: Any, *, rows: list[Identity], ledger: Ledger) -> None:
    time = batch.append_time.ToMilliseconds()
    told = ledger.append_times[place]
    for record in batch.records:
        if record.offset < len(rows):
            continue
        if record.offset != len(rows):
            ledger.problem(f"{at(place, len(rows))} is followed by {record.offset} in Fetch")
        who = identity(record.value)
        if told.setdefault(record.offset, time) != time:
            was = told[record.offset]
            ledger.problem(
                f"{at(place, record.offset)}: {name(who)} was appended {was}, not {time}"
            )
        rows.append(who)
