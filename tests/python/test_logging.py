"""What the engine logs arrives in Python's logging."""

import logging

import pytest

from small_learners import small_learner


def test_the_engine_logs_through_python(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, logger="mambacl"):
        small_learner()
    assert any(
        record.name.startswith("mambacl.learners") and "a sequence learner of" in record.message
        for record in caplog.records
    )


def test_levels_are_those_of_python_at_the_time(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="mambacl"):
        small_learner()
    assert not [record for record in caplog.records if record.levelno < logging.INFO]
