"""Doors to a world of our own making: disk and clock that obey a test, and fail on request."""
