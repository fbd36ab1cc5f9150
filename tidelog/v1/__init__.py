"""The public API `tidelog.v1` as generated code; its text is proto/tidelog/v1."""
