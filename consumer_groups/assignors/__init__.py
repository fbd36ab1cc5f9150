"""Who gets which partition: pure functions from members and partitions to targets."""
