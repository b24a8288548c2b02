"""What the pipeline does: one stage per file, each a pure function of its state and the events that reach it.

A stage holds plain state and answers an event with the events that follow from it, oldest first; with the shared empty
tuple where nothing follows. It reads no clock: time comes in with the events, and a stage that has to wait asks for a timer.
"""
