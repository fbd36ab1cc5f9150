"""Which API keys and versions this listener serves: ApiVersions, dispatch and docs read it.

An API is listed once it works, and not before: clients act on what is advertised.
"""

from collections.abc import Mapping

from api.kafka import (
    k00_produce,
    k01_fetch,
    k02_list_offsets,
    k03_metadata,
    k10_find_coordinator,
    k19_create_topics,
    k20_delete_topics,
    k22_init_producer_id,
)
from api.kafka.k18_api_versions import ApiVersions
from api.kafka.request import Api
from api.kafka.schema import request_codec, response_codec
from api.kafka_settings import KafkaSettings

BY_HAND = frozenset({k00_produce.KEY, k01_fetch.KEY})


def served_apis(settings: KafkaSettings) -> Mapping[int, Api]:
    """Return the table by key."""
    listed = [
        k00_produce.api(settings.request_bytes_max),
        k01_fetch.API,
        k02_list_offsets.API,
        k03_metadata.API,
        k10_find_coordinator.API,
        k19_create_topics.API,
        k20_delete_topics.API,
        k22_init_producer_id.API,
    ]
    listed.append(ApiVersions(listed).api)
    return {api.key: api for api in sorted(listed, key=lambda api: api.key)}


def load_schemas(apis: Mapping[int, Api]) -> None:
    """Make the codecs of every version now: at start, not under the first request (2-6 ms each)."""
    for api in apis.values():
        if api.key not in BY_HAND:
            for version in range(api.version_min, api.version_max + 1):
                request_codec(api.key, version)
                response_codec(api.key, version)


def reference(apis: Mapping[int, Api]) -> str:
    """Return docs/reference/kafka-api.md's table."""
    rows = ["| key | API | versions |", "| --- | --- | --- |"]
    rows += [
        f"| {api.key} | {api.name} | {api.version_min}-{api.version_max} |" for api in apis.values()
    ]
    return "\n".join(rows)
