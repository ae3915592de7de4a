"""The study of efficiency: what is weighed and timed, and what is told of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from matplotlib import pyplot as plt

from mambacl import AttentionMixer, ClassTarget, Learner, PrototypeConfig, SequenceConfig, VectorEncoder
from mambacl.errors import TorchError
from mambacl.experiments import Experiment
from mambacl.experiments.data import Hanzi21Features
from mambacl.studies import costs as measuring
from mambacl.studies.costs import Cost, Mark, Timed, costs
from mambacl.studies.efficiency import Efficiency
from mambacl.studies.study import UNTRAINED, Told
from mambacl.training import TrainConfig

CPU = torch.device("cpu")
VOCAB, D_MODEL, N_LAYER, SHOTS = 8, 16, 2, 3
SEQUENCE = SequenceConfig(VectorEncoder(128), ClassTarget(VOCAB), D_MODEL, n_layer=N_LAYER)
EXPERIMENTS = {
    name: Experiment(
        name, model=model, train=TrainConfig(batch_size=2), data=Hanzi21Features(tasks=2, train_shots=SHOTS)
    )
    for name, model in {
        "mamba": SEQUENCE,
        "transformer": dataclasses.replace(SEQUENCE, mixer=AttentionMixer(n_head=2)),
        "prototype": PrototypeConfig(VectorEncoder(128), ClassTarget(VOCAB), D_MODEL),
    }.items()
}
TIMED = Timed(turns=1, singles=2, episodes=2)


def test_states_are_weighed_along_a_stream_longer_than_the_symbols():
    found = costs(EXPERIMENTS, TIMED, CPU, tasks=(0, 4, 40))
    labels = VOCAB * 8 + VOCAB  # symbols, int64, and whether each was seen
    for name, cost in found.items():
        assert [(mark.tasks, mark.examples) for mark in cost.marks] == [(0, 0), (4, 12), (40, 120)]
        assert cost.marks[0].predict is None
        assert all(mark.predict is not None and mark.predict > 0 for mark in cost.marks[1:])
        assert all(mark.observe > 0 for mark in cost.marks)
        expected = {
            # Keys and values of two tokens an example, of all heads together d_model each.
            "transformer": [labels + 4 * N_LAYER * 2 * 2 * D_MODEL * n for n in (0, 12, 120)],
            # A window of 3 and 16 states of each of 2 d_model channels.
            "mamba": [labels + 4 * N_LAYER * 2 * D_MODEL * (3 + 16)] * 3,
            "prototype": [labels + 4 * VOCAB * (D_MODEL + 1)] * 3,
        }[name]
        assert [mark.state_bytes for mark in cost.marks] == expected


def test_parameters_are_those_of_the_learner():
    found = costs(EXPERIMENTS, TIMED, CPU, training=True)
    for name, cost in found.items():
        learner = EXPERIMENTS[name].learner(0)
        assert cost.parameters == sum(parameter.numel() for parameter in learner.parameters())
        # A linear map without bias, and its norm's weight and bias.
        assert cost.parameters - cost.without_encoder == 128 * D_MODEL + 2 * D_MODEL
        assert cost.inference > 0
        assert cost.training is not None
        assert cost.training > 0
        assert cost.marks == ()
        assert (cost.device, cost.threads) == ("cpu", torch.get_num_threads())


@pytest.mark.parametrize("error", [NotImplementedError("no kernel"), TorchError("no kernel")])
def test_learners_without_kernels_do_not_run(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def live(experiment: Experiment, learner: Learner, episodes: int) -> Callable[[], None]:
        def lived() -> None:
            if experiment.name == "mamba":
                raise error

        return lived

    monkeypatch.setattr(measuring, "live", live)
    able = {name: measuring.runs(one, one.learner(0)) for name, one in EXPERIMENTS.items()}
    assert able == {"mamba": False, "transformer": True, "prototype": True}


def small(name: str, factor: int) -> Told[Cost]:
    marks = tuple(
        Mark(tasks, 5 * tasks, 100 + factor * tasks, 1e-3 * factor, 2e-3 if tasks else None)
        for tasks in (0, 10, 500)
    )
    return Told(UNTRAINED, name, Cost("cpu", 1, "avx512", 1000, 900, 50.0, 20, 40.0, marks))


def large(name: str, speed: float, device: str = "cpu") -> Told[Cost]:
    behind = "" if device == "cpu" else f" on {device}"
    return Told(UNTRAINED, name + behind, Cost(device, 2, "avx512", 6_000_000, 5_000_000, speed, 4))


def test_the_report_sets_ratios_beside_the_reported():
    told = [
        large("glyphs-20-transformer-full", 4.0),
        small("prototype", 0),
        small("transformer", 3),
        small("mamba", 1),
        large("glyphs-20-mambacl-full", 10.0),
        large("glyphs-20-mambacl-full from features", 9.0),
        large("glyphs-20-transformer-full from features", 3.0),
    ]
    report = Efficiency().report(told)
    costs_table, sizes = (table.splitlines()[2:] for table in report.tables.values())
    assert [line.split(" | ")[0] for line in costs_table] == ["| mamba", "| transformer", "| prototype"]
    assert costs_table[1] == (
        "| transformer | 1,000 | 40 | 50 | 100 | 130 | 1,600 | 3.000 | 3.000 | 2.000 | 2.000 |"
    )
    assert sizes[0] == (
        "| glyphs-20-mambacl-full | 6.00 M | 5.00 M | 10.00 | 2.50 | 5.4 M, 858 episodes/s, ratio 2.64 |"
    )
    assert "| 9.00 | 3.00 |" in sizes[1]
    assert "| 4.00 |  | 9.2 M, 325 episodes/s |" in sizes[2]
    sequence, others = report.figures["state"].axes
    assert [line.get_label() for line in sequence.lines] == ["mamba", "transformer"]
    assert list(sequence.lines[1].get_ydata()) == [100, 130, 1600]
    assert [line.get_label() for line in others.lines] == ["prototype"]
    query = report.figures["time"].axes[2].lines[0]
    assert list(query.get_xdata()) == [10, 500]  # of an empty state nothing can be asked
    for figure in report.figures.values():
        plt.close(figure)


def test_the_study_has_the_learners_of_the_sweep_and_the_literature():
    experiments = Efficiency().untrained()
    assert {"mamba", "mamba-unguided", "bayes", "glyphs-20-mambacl-full"} < set(experiments)
    assert "performer-unguided" not in experiments
    features = experiments["glyphs-20-transformer-full from features"]
    features.check()
    assert (features.data.tasks, features.data.train_shots, features.data.test_shots) == (20, 5, 5)
    assert features.data.input_shape == (128,)
