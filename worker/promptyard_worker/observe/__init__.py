"""What can be seen of the line from outside: metrics and a log of every decision.

Nothing here may hold up or change a job: what cannot be written is left out, and said once.
"""
