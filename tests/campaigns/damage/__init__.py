"""
Damaged files: what a killed process left behind is cut off, overwritten, lost or exchanged, and then opened.

``python -m tests.campaigns.damage`` tries very many ways; ``--case KIND:SEED`` tries one again.
"""
