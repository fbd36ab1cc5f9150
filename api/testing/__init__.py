"""A node for other people's tests: in this process, in memory, with a clock that is set by hand."""
