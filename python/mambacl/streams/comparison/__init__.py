"""Comparison of the packaged learners with other one-pass learners, on data with unseen classes."""
