"""``promptyard doctor``: what could keep a run from working, each with its remedy."""
