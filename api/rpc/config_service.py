"""ConfigService: settings of topics and groups; those of brokers and the cluster come later."""

from typing import Final, NamedTuple

from api.broker.broker import Broker
from api.broker.configs import TopicConfig
from api.broker.group_configs import GroupConfig
from api.rpc.call import Call
from api.rpc.convert import not_built, refuse
from api.rpc.handlers import Handler, Unary
from api.rpc.selection import check_items, check_many
from cluster.controller.alter_config import AlterTopicConfig
from cluster.controller.describe_config import Source
from cluster.controller.group_config import AlterGroupConfig
from model.ids import GroupId, TopicName
from model.names import check_group_name, check_topic_name
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
            "ConfigService/GetConfig": Unary(self.get_config, can_wait=True),
            "ConfigService/UpdateConfig": Unary(self.update_config),
        }

    async def get_config(
        self, request: config_service_pb2.GetConfigRequest, call: Call
    ) -> config_service_pb2.GetConfigResponse:
        """List a resource's settings with value, origin and meaning."""
        resource = _resource(request.resource)
        check_many("names", len(request.names))
        found: TopicConfig | GroupConfig
        if isinstance(resource, _Topic):
            found = self._broker.configs.get(call.principal, resource.name, request.names)
        else:
            configs = self._broker.group_configs
            found = configs.get(call.principal, resource.name, request.names)
        return config_service_pb2.GetConfigResponse(entries=_entries(found), etag=found.etag)

    async def update_config(
        self, request: config_service_pb2.UpdateConfigRequest, call: Call
    ) -> config_service_pb2.UpdateConfigResponse:
        """Set some settings and unset others, all or nothing."""
        resource = _resource(request.resource)
        check_items("set", len(request.set) + len(request.unset))
        found: TopicConfig | GroupConfig
        if isinstance(resource, _Topic):
            topic = AlterTopicConfig(
                name=resource.name,
                set=dict(request.set),
                unset=tuple(request.unset),
                etag=request.etag or None,
                validate_only=request.validate_only,
            )
            found = await self._broker.configs.update(call.principal, topic)
        else:
            group = AlterGroupConfig(
                group=resource.name,
                set=dict(request.set),
                unset=tuple(request.unset),
                etag=request.etag or None,
                validate_only=request.validate_only,
            )
            found = await self._broker.group_configs.update(call.principal, group)
        return config_service_pb2.UpdateConfigResponse(entries=_entries(found), etag=found.etag)


class _Topic(NamedTuple):
    """Settings of a topic are meant."""

    name: TopicName


class _Group(NamedTuple):
    """Settings of a group are meant."""

    name: GroupId


def _resource(resource: config_service_pb2.ConfigResource) -> _Topic | _Group:
    """Return whose settings are meant.

    Raises:
        RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME, NOT_IMPLEMENTED.
    """
    match resource.type:
        case _Resource.TYPE_TOPIC:
            return _Topic(check_topic_name(resource.name))
        case _Resource.TYPE_GROUP:
            return _Group(check_group_name(resource.name))
        case _Resource.TYPE_CLUSTER:
            not_built("resource.type", "TYPE_CLUSTER", 5)
        case _Resource.TYPE_BROKER:
            not_built("resource.type", "TYPE_BROKER", 5)
        case unknown:
            refuse("resource.type", f"{unknown} is no type of resource")


def _entries(found: TopicConfig | GroupConfig) -> list[config_service_pb2.ConfigEntry]:
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
