"""Decisions of the native protocol: incremental assignment over one stream for each member."""
