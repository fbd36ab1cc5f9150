"""Everything that a door can ask of this node, in one place: the use cases, and what it is."""

from collections.abc import Mapping, Sequence

from api.broker.anywhere import ReadAnywhere, RemoteReads, ResolveAnywhere
from api.broker.choose_partition import ChoosePartition
from api.broker.cluster import Cluster
from api.broker.configs import Configs
from api.broker.consume import Consume
from api.broker.consume_actions import SessionDoors
from api.broker.consume_starts import Starts
from api.broker.context import BrokerContext
from api.broker.every_partition import EveryPartition
from api.broker.fetch import Fetch
from api.broker.group_commits import GroupCommits
from api.broker.group_configs import GroupConfigs
from api.broker.group_figures import GroupFigures
from api.broker.group_lag import GroupLag
from api.broker.group_seek import GroupSeek
from api.broker.group_standing import GroupStanding
from api.broker.group_state import GroupState
from api.broker.group_upkeep import GroupUpkeep
from api.broker.groups import Groups
from api.broker.last_look import LastLook
from api.broker.leaderships import Leaderships
from api.broker.lossy_elections import LossyElections
from api.broker.members import Members
from api.broker.produce import Produce
from api.broker.produce_records import ProduceRecords
from api.broker.producer_ids import InitProducer
from api.broker.quorum import Quorum
from api.broker.read_on import ReadOn
from api.broker.resolve import Resolve
from api.broker.search import Searches
from api.broker.subscribe import Subscribe
from api.broker.topics import Topics
from api.broker.turns import Turns
from api.settings import TopicsSection
from cluster.controller.image import MetadataImage, TopicImage
from cluster.controller.topics import CreateTopic, DeleteTopic
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.settings import GroupSettings
from logstore.batch import Stamp
from model.errors import RequestError
from model.ids import NodeId, TopicId
from model.principal import Principal


class Broker:
    """The use cases of one node. Loop only."""

    def __init__(
        self,
        context: BrokerContext,
        topics: TopicsSection,
        topic_defaults: Mapping[str, str],
        *,
        groups_state: GroupState,
        group_defaults: GroupSettings,
    ) -> None:
        """Serve what the context holds.

        `topic_defaults`: what this node's configuration sets for topics, by the setting's name;
        `group_defaults`: what holds for groups that say nothing else.
        """
        self.context = context
        self.auto_create_topics = topics.auto_create
        self.topic_defaults = topic_defaults
        self.groups_state = groups_state
        searches = self.searches = Searches(context)
        self.produce = Produce(context)
        self.fetch = Fetch(context)
        self.resolve = Resolve(context, searches)
        self.read_on = ReadOn(context, self.fetch, searches)
        self.subscribe = Subscribe(context, self.read_on, searches)
        self.topics = Topics(context, self.resolve, topics, LastLook(context, searches))
        self.init_producer_id = InitProducer(context)
        self.produce_records = ProduceRecords(context, self.produce, searches)
        self.choose_partition = ChoosePartition()
        self.configs = Configs(context, self.topics, topic_defaults)
        self.cluster = Cluster(context)
        self.quorum = Quorum(context)
        self.leaderships = Leaderships(context)
        self.lossy_elections = LossyElections(context)
        every = self.every = EveryPartition(context)
        resolve = self._resolve_anywhere = ResolveAnywhere(context, searches, every)
        read_on = self._read_anywhere = ReadAnywhere(context, self.fetch, searches, every=every)
        self.groups = Groups(context, every, groups_state)
        self.group_lag = GroupLag(context, every, groups_state, searches, read_on)
        self.group_commits = GroupCommits(context, every, groups_state, resolve)
        self.group_configs = GroupConfigs(context, group_defaults)
        turn = searches.turn
        self.group_upkeep = GroupUpkeep(context, groups_state, self.group_configs, turn=turn)
        self.group_figures = GroupFigures(context, groups_state, searches)
        self.members = Members(context, groups_state)
        stands = self.group_standing = GroupStanding(context, groups_state)
        self.group_seek = GroupSeek(context, every, groups_state, self.members, resolve, stands)
        doors = SessionDoors(
            node=context,
            partitions=every,
            state=groups_state,
            members=self.members,
            commits=self.group_commits,
            starts=Starts(context, every, groups_state, resolve),
            resolve=resolve,
            read_on=read_on,
            turn=turn,
            remind=context.clock.call_at,
        )
        self.consume = Consume(doors, self.group_configs)
        self._endpoints: dict[str, tuple[str, int]] = {}

    @property
    def image(self) -> MetadataImage:
        """The newest metadata that this node has applied."""
        return self.context.quorum.image

    @property
    def node_id(self) -> NodeId:
        """This node's number."""
        return self.context.node

    @property
    def cluster_id(self) -> str:
        """The cluster's name."""
        return self.image.cluster_id

    def read_elsewhere_by(self, remote: RemoteReads) -> None:
        """Let members of groups read by this what other nodes lead."""
        self._read_anywhere.remote = self._resolve_anywhere.remote = remote
        self.every.watched.ends = remote.ends

    def coordinator_of(self, group: str) -> NodeId | None:
        """Return which node coordinates a group; None: none does now.

        Before the first group there is nothing to coordinate, and any node may begin.
        """
        state = self.groups_state
        return state.leader_of(group) if state.exists else self.node_id

    def partition(self, topic: str, number: int) -> HostedPartition:
        """Return a partition.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
        """
        return self.context.partitions.get(topic, number)

    def partition_by_id(self, topic_id: TopicId, number: int) -> HostedPartition:
        """Return a partition of a topic by its id; raises as `partition`."""
        return self.context.partitions.get_by_id(topic_id, number)

    def batch_not_found(
        self, topic: str | TopicId, number: int, batch: memoryview | Stamp, *, refusal: RequestError
    ) -> None:
        """Note that a batch was refused since its partition is not here, or not yet (P20).

        `topic`: as its client calls it; `batch`: whole, or its producer's stamp.
        """
        self.produce.not_found(topic, number, batch, refusal=refusal)

    def advertise(self, listener: str, host: str, port: int) -> None:
        """Tell clients of a listener to come here: known once it listens."""
        self._endpoints[listener] = (host, port)

    def kafka_endpoint(self, listener: str) -> tuple[str, int]:
        """Return the host and port that clients of a listener are told."""
        return self._endpoints[listener]

    @property
    def endpoints(self) -> Mapping[str, tuple[str, int]]:
        """Host and port of each listener of this node, as it was advertised."""
        return self._endpoints

    def turns(self) -> Turns:
        """Begin a piece of work on the loop that is done in slices."""
        return Turns(self.context.clock, self.searches.turn)

    async def create_topics(
        self, principal: Principal, topics: Sequence[CreateTopic]
    ) -> list[TopicImage | RequestError]:
        """Create topics, one answer each."""
        return await self.topics.create(principal, topics)

    async def delete_topics(
        self, principal: Principal, topics: Sequence[DeleteTopic]
    ) -> list[TopicImage | RequestError]:
        """Delete topics, one answer each: what was deleted."""
        return await self.topics.delete(principal, topics)

    async def ensure_topics(
        self, principal: Principal, names: Sequence[str]
    ) -> list[TopicImage | RequestError]:
        """Create those that are absent, as topics are on first use; one answer each."""
        return await self.topics.ensure(principal, names)
