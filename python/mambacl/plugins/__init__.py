"""Learners written in Python: registered settings, and a module with a state and two verbs."""

from mambacl.plugins.registry import register

__all__ = ["register"]
