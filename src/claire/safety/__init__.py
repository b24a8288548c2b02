"""What stops everything: the sentinel beside a trading process, its heartbeat, its triggers, and `panic`, which needs nothing.

It cancels and asks; it never sells.
"""
