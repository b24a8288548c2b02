"""Latch: what neither configuration nor a running program can change. Standard library only.

The ceilings, the account's lock and epoch, the latch that stops every send, and the names of the order path's boundaries.
"""
