"""Venues: where orders go. The paper venue simulates one on recorded or live market events."""
