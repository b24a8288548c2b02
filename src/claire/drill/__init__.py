"""Drills: the production code under simulated time, network, disk and crashes, held against the venue's own books."""
