"""The HTTP door: health, metrics, and a plain page about this node."""
