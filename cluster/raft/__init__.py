"""Log, vote and snapshots of the controller quorum on disk; knows entries, not their meaning."""
