"""ConfigService: settings of topics; those of groups, brokers and the cluster come later."""

from typing import Final

from api.broker.broker import Broker
from api.broker.configs import TopicConfig
from api.rpc.call import Call
from api.rpc.convert import not_built, refuse
from api.rpc.handlers import Handler, Unary
from api.rpc.selection import check_items
from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.describe_config import Source
from model.ids import TopicName
from model.names import check_topic_name
from tidelog.v1 import config_service_pb2

_Entry = config_service_pb2.ConfigEntry
_Resource = config_service_pb2.ConfigResource

_SOURCES: Final = {
    Source.DEFAULT: _Entry.SOURCE_DEFAULT,
    Source.STATIC: _Entry.SOURCE_STATIC,
    Source.RESOURCE: _Entry.SOURCE_RESOURCE,
}


class ConfigService:
    """The service. Loop only."""

    def __init__(self, broker: Broker) -> None:
        """Serve a node's use cases."""
        self._broker = broker

    def handlers(self) -> dict[str, Handler]:
        """Return what serves each call."""
        return {
            "ConfigService/GetConfig": Unary(self.get_config),
            "ConfigService/UpdateConfig": Unary(self.update_config),
        }

    async def get_config(
        self, request: config_service_pb2.GetConfigRequest, call: Call
    ) -> config_service_pb2.GetConfigResponse:
        """List a topic's settings with value, origin and meaning."""
        topic = _topic(request.resource)
        if request.names:
            check_items("names", len(request.names))
        found = self._broker.configs.get(call.principal, topic, request.names)
        return config_service_pb2.GetConfigResponse(entries=_entries(found), etag=found.etag)

    async def update_config(
        self, request: config_service_pb2.UpdateConfigRequest, call: Call
    ) -> config_service_pb2.UpdateConfigResponse:
        """Set some settings and unset others, all or nothing."""
        change = AlterTopicConfig(
            name=_topic(request.resource),
            set=dict(request.set),
            unset=tuple(request.unset),
            etag=request.etag or None,
            validate_only=request.validate_only,
        )
        check_items("set", len(change.set) + len(change.unset))
        found = await self._broker.configs.update(call.principal, change)
        return config_service_pb2.UpdateConfigResponse(entries=_entries(found), etag=found.etag)


def _topic(resource: config_service_pb2.ConfigResource) -> TopicName:
    """Return the topic that is meant.

    Raises:
        RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME, NOT_IMPLEMENTED.
    """
    match resource.type:
        case _Resource.TYPE_TOPIC:
            return check_topic_name(resource.name)
        case _Resource.TYPE_GROUP:
            not_built("resource.type", "TYPE_GROUP", 1)
        case _Resource.TYPE_CLUSTER:
            not_built("resource.type", "TYPE_CLUSTER", 5)
        case _Resource.TYPE_BROKER:
            not_built("resource.type", "TYPE_BROKER", 5)
        case unknown:
            refuse("resource.type", f"{unknown} is no type of resource")


def _entries(found: TopicConfig) -> list[config_service_pb2.ConfigEntry]:
    return [
        _Entry(
            name=one.name,
            value=one.value,
            source=_SOURCES[one.source],
            default_value=one.default,
            documentation=one.doc,
            value_type=one.value_type,
            read_only=one.read_only,
        )
        for one in found.entries
    ]
