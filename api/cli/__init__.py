"""The commands that need the server: dev, serve, verify, dump. Imported by the launcher alone."""
