"""Processes beside one another, each of which trains a run, and what such a process does."""

from mambacl.processes.pool import Failure, Job, Pool
from mambacl.processes.worker import work

__all__ = ["Failure", "Job", "Pool", "work"]
