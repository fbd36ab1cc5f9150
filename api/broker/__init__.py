"""What clients can ask for, one use case a file, without any protocol."""
