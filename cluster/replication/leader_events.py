"""What the leader of a partition takes in, and what it gives out.

What the shell does with each effect, in the order in which they come:
    Committed    release acks and long polls below the mark. All that had to be durable before is.
    Ready        put the partition into the row of that follower's stream (`catch_up`). When its
                 turn comes: read whole batches from `next_to_send` on, as many bytes as were
                 granted, from the tail or from files; then tell `Taken`, which returns the header
                 to send them under. If `next_to_send` is another one by then, the follower has
                 opened again: drop what was read and tell `Taken` with it as it is. A read that
                 fails is told by `StreamLost`, after which the stream is closed.
    Batches, Diverging, Refused    put the frame on that follower's stream.
    ProposeIsr   send it to the controller, again over a new connection if the old one broke, but
                 never two copies that may both arrive: a refusal must be the last word on it. Its
                 answer comes as `IsrRefused`, or with the committed metadata as `IsrDecided`.
    AnswerFor    tell the controller; it comes again with each `Judged` while it is wanted.
Events come from the loop: `Appended` once a tick with the end that the tail has by then, then
`TickEnded`; `Persisted` as the disk follows; `Judged` several times within `replica_lag_ms_max`,
but if this node itself stood still only once it has read what had come meanwhile. `TickEnded` also
ends a tick in which the log start moved: followers are told. A mark alone goes with what comes
next, or with `Judged`. What was appended goes to them before it is on this disk.
"""

from typing import TypeAlias

from cluster.peer.replica import Batches, Diverging, Leave, Open, Progress, Refused
from cluster.replication.events import (
    AnswerFor,
    Appended,
    Committed,
    IsrDecided,
    IsrRefused,
    Judged,
    Persisted,
    ProposeIsr,
    Ready,
    RuleChanged,
    StreamLost,
    Taken,
    TickEnded,
    Trimmed,
)

Event: TypeAlias = (
    Appended
    | Persisted
    | IsrDecided
    | IsrRefused
    | Judged
    | Leave
    | Open
    | Progress
    | RuleChanged
    | StreamLost
    | Taken
    | TickEnded
    | Trimmed
)
Effect: TypeAlias = AnswerFor | Batches | Committed | Diverging | ProposeIsr | Ready | Refused
