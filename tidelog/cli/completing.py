"""What a shell is told when somebody presses TAB: in 300 ms with everything, and never an error.

The script of `tidelog completion SHELL` runs this program with the words typed so far. Commands and
options come from the tree; names of topics and groups are asked of the node, in a thread that is
left behind when it takes too long: a shell that hangs is worse than one that completes nothing.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import click

from tidelog.cli.run import Run

VARIABLE: Final = "_TIDELOG_COMPLETE"
"""Names the shell and what it wants: `bash_complete`. Set only when a shell asks."""
WAIT_S: Final = 0.2
"""How long the node's answer is waited for; starting Python takes the rest of the 300 ms."""
NAMES_MAX: Final = 1_000
_LIST_TOPICS: Final = "/tidelog.v1.TopicService/ListTopics"
_LIST_GROUPS: Final = "/tidelog.v1.ConsumerGroupService/ListConsumerGroups"

_left_behind: list[threading.Thread] = []


def asked(run: Run) -> bool:
    """Tell whether a shell asks, not a person."""
    return VARIABLE in run.environment


def answer(root: click.Command, run: Run) -> int:
    """Print what can come next. Whatever fails, nothing is said of it."""
    try:
        root.main([], prog_name="tidelog", standalone_mode=False, obj=run, complete_var=VARIABLE)
    except SystemExit:
        pass
    except Exception:  # noqa: BLE001 - whoever is typing asked for nothing
        return 0
    if any(thread.is_alive() for thread in _left_behind):
        sys.stdout.flush()
        os._exit(0)  # it may be in the middle of an import, which nothing can interrupt
    return 0


def topic_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the topics that begin so, in the order of their names; for `shell_complete`."""
    del parameter
    run = context.ensure_object(Run)
    return in_time(lambda: _topics(run, incomplete))


def group_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the consumer groups that begin so, in the order of their names."""
    del parameter
    run = context.ensure_object(Run)
    return in_time(lambda: _groups(run, incomplete))


def reason_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the reasons that begin so; for `shell_complete`."""
    from tidelog.cli.reasons import known_reasons  # noqa: PLC0415 - only for a shell

    del context, parameter
    return [name for name in known_reasons() if name.startswith(incomplete.upper())]


def in_time(ask: Callable[[], list[str]]) -> list[str]:
    """Return what `ask` finds; nothing if it fails, or takes longer than `WAIT_S`."""
    found: list[str] = []

    def work() -> None:
        try:
            found.extend(ask())
        except Exception:  # noqa: BLE001 - no node, no answer, no permission: no names
            return

    thread = threading.Thread(target=work, name="completion", daemon=True)
    thread.start()
    thread.join(WAIT_S)
    if thread.is_alive():
        _left_behind.append(thread)
        return []
    return found


def _topics(run: Run, prefix: str) -> list[str]:
    from tidelog.v1 import topic_service_pb2 as wire  # noqa: PLC0415

    request = wire.ListTopicsRequest(page_size=NAMES_MAX, name_prefix=prefix)
    answer = _ask(run, _LIST_TOPICS, request, response=wire.ListTopicsResponse)
    return [topic.name for topic in answer.topics]


def _groups(run: Run, prefix: str) -> list[str]:
    from tidelog.v1 import group_service_pb2 as wire  # noqa: PLC0415

    request = wire.ListConsumerGroupsRequest(page_size=NAMES_MAX, name_prefix=prefix)
    answer = _ask(run, _LIST_GROUPS, request, response=wire.ListConsumerGroupsResponse)
    return [group.name for group in answer.groups]


def _ask(run: Run, method: str, request: Any, *, response: Any) -> Any:
    """Ask the node that the settings name first, without the SDK: that takes longer than it."""
    from tidelog.cli.client_settings import addresses, client_settings  # noqa: PLC0415

    address = addresses(client_settings(run.overrides, run.environment)["address"].text)[0]
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when gRPC is loaded
    import grpc  # noqa: PLC0415 - 100 ms, for this alone

    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(request, timeout=WAIT_S)
