"""``promptyard top``: the yard as it is now, in the terminal, looked at every second."""
