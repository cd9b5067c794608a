"""Tests that start real worker processes."""
