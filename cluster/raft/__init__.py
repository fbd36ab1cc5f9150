"""The controller quorum: Raft as a pure core, and its files; knows entries, not their meaning."""
