"""Latch: what neither configuration nor a running program can change. Standard library only.

So far it holds the ceilings; the kill flag page and the epoch come with the safety issue.
"""
