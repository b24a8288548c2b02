"""Runs the pipeline: the embedded topology in one process, and replay."""
