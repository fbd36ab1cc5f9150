"""The node: assembles the components, starts and stops them in order, owns the real doors."""
