"""What turns a text into a vector; only the configured one is imported."""
