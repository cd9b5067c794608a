"""The stand-in model server: Gemini's REST on loopback, with simulated answers.

A user rehearses a batch against it before paying; our tests and benchmarks trust its
counters. ``docs/stand-in.md`` says what it copies of the real API and what it does not.
"""
