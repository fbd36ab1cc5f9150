"""The table of reasons for clients: tidelog/reasons.json, one row a line.

The SDK and the command line may not import the node, so they read what is printed from its tables.
"""

import json

from api.errors import WIRE


def render() -> str:
    """Return the file."""
    rows = [
        json.dumps(
            {
                "name": code.name,
                "meaning": code.meaning,
                "hint": code.hint,
                "outcome": code.outcome.name,
                "retry": code.retry.value,
                "exit_code": int(wire.exit_code),
                "grpc": wire.grpc_status.name,
                "kafka": wire.kafka,
                "python": wire.sdk,
            }
        )
        for code, wire in WIRE.items()
    ]
    return "[\n" + ",\n".join(rows) + "\n]\n"
