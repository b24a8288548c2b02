"""Killing measured: trial after trial against a venue of its own, in every trouble, judged by the venue's clock."""
