"""The metadata machine: requests in, records out, an immutable image of what is committed."""
