"""What a recognizer imports to consume the stream."""
