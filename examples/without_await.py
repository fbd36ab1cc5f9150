"""The same without an event loop: `tidelog.sync` has the names of `tidelog`, without await.

Needs a node: `tidelog dev`.
"""

import sys

import tidelog
import tidelog.sync


def main(url: str) -> list[str | None]:
    """Write three records and read them back."""
    with tidelog.sync.connect(url) as client:
        client.topics.create("greetings", exist_ok=True)
        with client.producer(value=tidelog.UTF8) as producer:
            for text in ("good morning", "good day", "good night"):
                ack = producer.send("greetings", text)
                print(f"{ack.topic}/{ack.partition}@{ack.offset}")
        with client.replay("greetings", stop="latest", value=tidelog.UTF8) as history:
            return [record.value for record in history]


if __name__ == "__main__":
    print(main(sys.argv[1] if len(sys.argv) > 1 else "tidelog://localhost:9095"))
