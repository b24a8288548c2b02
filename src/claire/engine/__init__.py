"""Puts the stages in a line and drives them: the pipeline, its ports, recorded and paced runs, replay."""
