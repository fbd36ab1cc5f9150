"""Rows of the story: nodes die, stand still, restart, come back with less than they had."""

import signal
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread
from time import monotonic
from typing import Any, Final

from tests.cluster.local_stage import ASKED, PARTITIONS, Door, Stage, Told, called, check_asked
from tests.cluster.topics import TOPIC, create
from tests.cluster.waiting import Broken
from tidelog.sync import connect
from tidelog.v1 import topic_service_pb2, topic_service_pb2_grpc

BACK_S_MAX: Final = 5.0
"""P51, after a kill."""
BACK_AFTER_PAUSE_S_MAX: Final = 10.0
RECOVERED_S_MAX: Final = 10.0
"""After the end of all, from when the last node is up."""
KNOWS_S_MAX: Final = 10.0
"""Until a leader knows that it is alone; on a machine that is not busy it does after 2.5 s."""
PROBE_S: Final = 0.5
"""For one answer of a leader that may not know yet that it is alone."""
PAUSE_S: Final = 20.0
QUIET_S: Final = 5.0


def killed(stage: Stage, victim: int) -> str:
    """Kill a node, and see writes come back and the cluster explain itself."""
    stage.load.mark()
    stage.cluster.signal([victim], signal.SIGKILL)
    gap = stage.load.back(f"after node {victim} was killed")
    with connect(f"tidelog://{stage.cluster.addresses('grpc')}") as client:
        info = client.cluster.get()
    if info.status == "healthy" or not info.reasons:
        raise Broken(f"node {victim} is dead, and the cluster calls itself {info.status}")
    if gap > BACK_S_MAX:
        raise Broken(f"writes back after {gap:.1f} s, at most {BACK_S_MAX}")
    return f"node {victim}: writes back after {gap:.1f} s; {info.status}: {info.reasons[0]}"


def kill_leader(stage: Stage) -> str:
    """Kill -9 of a leader that does not lead the quorum."""
    controller = stage.cluster.controller()
    leaders = {stage.cluster.leader(TOPIC, number) for number in range(PARTITIONS)}
    others = sorted(leaders - {controller})
    if not others:
        raise Broken(f"node {controller} leads everything")
    return killed(stage, others[0])


def kill_controller(stage: Stage) -> str:
    """Kill -9 of a leader that leads the quorum too."""
    controller = stage.cluster.controller()
    leaders = [stage.cluster.leader(TOPIC, number) for number in range(PARTITIONS)]
    if controller not in leaders:
        raise Broken(f"node {controller} leads the quorum and no partition")
    return killed(stage, controller)


def two_killed(stage: Stage) -> str:
    """Two of three are killed: nothing is acknowledged, all is answered; one comes back."""
    cluster = stage.cluster
    survivor = cluster.leader(ASKED, 0)
    dead = [number for number in (1, 2, 3) if number != survivor]
    remote = next(n for n in range(PARTITIONS) if cluster.leader(ASKED, n) in dead)
    door = Door(stage, survivor)
    try:
        kept = b"before two died"
        if door.produce(0, kept) != Told("done", ""):
            raise Broken(f"{kept!r} was not acknowledged while all was well")
        cluster.signal(dead, signal.SIGSTOP)  # what is sent from now on, nobody confirms
        in_flight: list[Told] = []
        caller = Thread(target=lambda: in_flight.append(door.produce(0, b"in flight")), daemon=True)
        caller.start()
        cluster.signal(dead, signal.SIGKILL)
        figures = _answers_of_one_alone(door, remote, began=monotonic())
        caller.join()
        if in_flight[0].outcome != "unknown":
            raise Broken(f"in flight while two died: {in_flight[0]}")
        read = door.fetch(0)
        if isinstance(read, Told) or kept not in read:
            raise Broken(f"what was committed is not read any more: {read!s:.200}")
        count = stage.load.count
        Event().wait(QUIET_S)
        if stage.load.count != count:
            raise Broken(f"{stage.load.count - count} records were acknowledged by one node alone")
    finally:
        door.close()
    stage.load.mark()
    cluster.done("start", "--node", str(dead[0]))
    up = _last_ready(stage, [dead[0]])
    stage.load.back("after one of two has returned")
    back = stage.load.back_at() - up
    stage.heal()
    told = f"survivor {survivor}; in flight: {in_flight[0]}; {'; '.join(figures)}; reads went on"
    return f"{told}; all writes back {back:.1f} s after one was up; {check_asked(stage)}"


def _must_not_be_done(told: Told, what: str) -> None:
    if told.outcome == "done":
        raise Broken(f"{what}: acknowledged by one node of three")


def _answers_of_one_alone(door: Door, remote: int, *, began: float) -> list[str]:
    """Return what the one that is left answers once it knows, each with how long that took.

    Raises:
        Broken: it acknowledges something, or never says what it should.
    """
    calls: dict[str, tuple[Callable[[], Told], str]] = {
        "its partition": (
            lambda: door.produce(0, b"alone", timeout_s=PROBE_S),
            "NOT_ENOUGH_REPLICAS",
        ),
        "another's": (lambda: door.produce(remote, b"elsewhere"), "NO_QUORUM"),
        "create topic": (lambda: _create(door), "NO_QUORUM"),
    }
    figures, wrong = [], []
    for name, (call, reason) in calls.items():
        told = call()
        while told != Told("not done", reason) and monotonic() < began + KNOWS_S_MAX:
            _must_not_be_done(told, name)
            told = call()
        if told != Told("not done", reason):
            wrong.append(f"{name}: {told} after {monotonic() - began:.1f} s, wanted {reason}")
        figures.append(f"{name}: {told} after {monotonic() - began:.1f} s")
    if wrong:
        raise Broken("; ".join(wrong))
    return figures


def _create(door: Door) -> Told:
    stub: Any = topic_service_pb2_grpc.TopicServiceStub(door.channel)
    topic = topic_service_pb2.Topic(name="too-late", partition_count=1)
    request = topic_service_pb2.CreateTopicRequest(topic=topic)
    answer = called(lambda: stub.CreateTopic(request, timeout=10.0))
    return answer if isinstance(answer, Told) else Told("done", "")


def paused(stage: Stage) -> str:
    """A leader stands still for 20 s; what it is sent meanwhile is not taken for done."""
    victim = stage.cluster.leader(ASKED, 0)
    door = Door(stage, victim)
    parked: list[Told] = []
    try:
        door.produce(0, b"before the pause")
        stage.load.mark()
        stage.cluster.signal([victim], signal.SIGSTOP)
        began = monotonic()
        caller = Thread(target=lambda: parked.append(door.produce(0, b"parked", timeout_s=60.0)))
        caller.start()
        gap = stage.load.back(f"while node {victim} stands still")
        Event().wait(max(0.0, PAUSE_S - (monotonic() - began)))
        stage.cluster.signal([victim], signal.SIGCONT)
        caller.join()
    finally:
        door.close()
    if gap > BACK_AFTER_PAUSE_S_MAX:
        raise Broken(f"writes back after {gap:.1f} s, at most {BACK_AFTER_PAUSE_S_MAX}")
    stage.heal()
    kept = check_asked(stage)
    return f"node {victim}: writes back after {gap:.1f} s; parked produce: {parked[0]}; {kept}"


def all_killed(stage: Stage) -> str:
    """All three are killed at once, and started again."""
    stage.load.mark()
    stage.cluster.signal([1, 2, 3], signal.SIGKILL)
    stage.cluster.done("start")
    up = _last_ready(stage, [1, 2, 3])
    gap = stage.load.back("after the end of all")
    back = stage.load.back_at() - up
    if back > RECOVERED_S_MAX:
        raise Broken(f"writes back {back:.1f} s after the last was up, at most {RECOVERED_S_MAX}")
    return f"writes back {back:.1f} s after the last was up, {gap:.1f} s after the kill"


def _last_ready(stage: Stage, numbers: list[int]) -> float:
    """Return when the last of these was up: seconds since 1970, as they have logged it."""
    return max(
        datetime.fromisoformat(line["ts"]).timestamp()
        for number in numbers
        for line in [one for one in stage.cluster.events(number) if one["event"] == "node_ready"][
            -1:
        ]
    )


def rolling(stage: Stage) -> str:
    """Every node in turn is stopped in order and started again; no client notices."""
    caller = stage.caller()
    gaps = []
    try:
        for number in (1, 2, 3):
            stage.load.mark()
            began = monotonic()
            stage.cluster.done("stop", "--node", str(number))
            stop_s = monotonic() - began
            gap = stage.load.back(f"after node {number} was stopped")
            stage.cluster.done("start", "--node", str(number))
            stage.heal()
            gaps.append(f"node {number}: stopped in {stop_s:.1f} s, longest pause {gap:.2f} s")
    finally:
        caller.stop()
    if caller.errors:
        raise Broken(
            f"{len(caller.errors)} of {caller.sent} calls failed, first {caller.errors[0]}"
        )
    return (
        f"{'; '.join(gaps)}; SDK: {caller.sent} calls, 0 errors, "
        f"the slowest {caller.slowest_s:.1f} s"
    )


def one_wiped(stage: Stage) -> str:
    """One node loses its volume while it is down; it comes back by itself."""
    victim = stage.cluster.leader(TOPIC, 0)
    stage.load.mark()
    stage.cluster.done("stop", "--kill", "--node", str(victim))
    stage.cluster.done("purge", "--yes", "--node", str(victim))
    began = monotonic()
    stage.cluster.done("start", "--node", str(victim))
    stage.load.back(f"after node {victim} was wiped")
    stage.cluster.in_sync(TOPIC)
    healed = monotonic() - began
    return f"node {victim}: joined, all replicas in sync {healed:.1f} s after its start"


def two_wiped(stage: Stage) -> str:
    """Two of three lose their volumes: no second cluster, both wait or join. Ends its stage."""
    survivor = stage.cluster.leader(TOPIC, 0)
    wiped = [number for number in (1, 2, 3) if number != survivor]
    stage.load.stop()
    stage.reader.stop()
    for number in wiped:
        stage.cluster.done("stop", "--kill", "--node", str(number))
        stage.cluster.done("purge", "--yes", "--node", str(number))
    before = {number: len(stage.cluster.events(number)) for number in wiped}
    ran = stage.cluster.run("start", "--timeout", "20")
    said = {number: stage.cluster.events(number)[before[number] :] for number in wiped}
    for number, events in said.items():
        if any(line["event"] == "quorum_founded" for line in events):
            raise Broken(f"node {number} has founded a second cluster")
    rows = stage.cluster.rows()
    states = {number: rows[number]["state"] for number in (1, 2, 3)}
    if set(states.values()) != {"running"}:
        raise Broken(f"a node does not wait: {states}: {ran.err[-400:]}")
    leaders = {row["controller"] for row in rows.values()} - {None}
    last = {number: events[-1]["event"] for number, events in said.items()}
    how = f"led by {leaders}" if leaders else "nobody leads: all wait"
    return f"survivor {survivor}; no second cluster; {how}; the wiped said last {last}"


def fourth(stage: Stage) -> str:
    """A fourth node joins while all goes on, and new partitions land on it."""
    stage.load.mark()
    stage.cluster.done("start", "-n", "4")
    gap = stage.load.back("while a fourth node joins")
    create(stage.servers, "later", partitions=8)
    stage.cluster.in_sync("later")
    replicas = [one for _, _, nodes in stage.cluster.metadata("later").values() for one in nodes]
    if 4 not in replicas:
        raise Broken("none of 8 new partitions has a replica on node 4")
    if gap > BACK_S_MAX:
        raise Broken(f"no acks for {gap:.1f} s while it joined")
    return (
        f"{replicas.count(4)} of {len(replicas)} new replicas on node 4; longest pause {gap:.2f} s"
    )
