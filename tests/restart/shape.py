"""What the restarts are measured on: so many groups, each with offsets in so many partitions."""

GROUPS = 10_000
PARTITIONS = 4
RECORDS = 100
"""In each partition of the topic."""
TOPIC = "orders"
