"""The parts of a node that await, run threads and touch sockets: a thin shell around the cores."""
