"""The literature's full-size configurations: their parameters, and that they train."""

from __future__ import annotations

import pytest
import torch

from mambacl import Learner, experiments

# arXiv:2412.00776 reports 5.4 M and 9.2 M, with another encoder and head.
PARAMETERS = {"glyphs-20-mambacl-full": 5_188_708, "glyphs-20-transformer-full": 8_497_252}


def without_encoder(learner: Learner) -> int:
    named = learner.named_parameters()
    return sum(parameter.numel() for name, parameter in named if not name.startswith("encoder."))


@pytest.mark.parametrize("name", PARAMETERS)
def test_full_size_configurations_have_their_parameters_and_train(name: str):
    experiment = experiments.load(name, ["data.tasks=2", "data.train_shots=1", "data.test_shots=1"])
    learner = experiment.learner(seed=0)
    assert without_encoder(learner) == PARAMETERS[name]
    source = experiment.source("train", 0)
    output = learner(source.batch(0, 2), step=0)
    assert output.penalty is not None
    output.loss.backward()
    for parameter in learner.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
