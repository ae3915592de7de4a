"""The demo: meta-train a small MambaCL on characters, and ask it about characters it has never seen."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import torch
import tyro

from mambacl import plots
from mambacl.config import ClassTarget, LearnerConfig, Selectivity
from mambacl.data import hanzi21
from mambacl.data.splits import Split
from mambacl.episodes import EpisodeSource, EpisodeSpec
from mambacl.errors import ConfigError
from mambacl.evaluation import Scores, evaluate, evaluate_predictor
from mambacl.learner import Learner
from mambacl.training import History, TrainConfig, meta_train
from mambacl.yardsticks import class_mean, nearest_neighbour


@dataclass(frozen=True)
class Demo:
    """Meta-train a small MambaCL on rendered Chinese characters, then test it on unseen ones.

    It reads a stream of 5 characters in 5 typefaces each, once, keeps a state of fixed size, and names
    the characters of new images. Every choice was made on meta-validation characters; the meta-test
    characters are used once, for the table at the end.

    Attributes:
        seed: Of the first parameters, the codebooks and the episodes.
        steps: Updates; 2000 take about 3 minutes on 2 cores.
        batch_size: Episodes of an update.
        tasks: Characters of an episode.
        train_shots: Images read of each.
        weight: Of the selectivity regulariser; 0 for none.
        lr: Learning rate.
        test_episodes: Episodes of the test.
        out: Folder for results.json and the figures.
    """

    seed: int = 0
    steps: int = 2000
    batch_size: int = 16
    tasks: int = 5
    train_shots: int = 5
    weight: float = 0.5
    lr: float = 2e-3
    test_episodes: int = 600
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")

    def learner(self) -> Learner:
        """The learner before training.

        Raises:
            ConfigError: If the weight is negative, or there are more tasks than the vocabulary holds.
        """
        config = LearnerConfig(
            selectivity=Selectivity(weight=self.weight) if self.weight != 0 else None,
        )
        vocab = config.target.vocab if isinstance(config.target, ClassTarget) else 0
        if self.tasks > vocab:
            raise ConfigError(f"demo: `tasks` must be at most the vocabulary, {vocab}, got {self.tasks}")
        return Learner(config, seed=self.seed)

    def source(self, split: Split, test_shots: int) -> EpisodeSource:
        """Episodes of a split."""
        spec = EpisodeSpec(self.tasks, self.train_shots, test_shots)
        return EpisodeSource(hanzi21.load(split), spec, self.seed, split)


@dataclass(frozen=True)
class DemoResult:
    """What a demo measured."""

    history: History
    scores: dict[str, Scores]


def run(demo: Demo) -> DemoResult:
    """Trains, tests, prints a table, and writes results and figures to `demo.out`.

    Args:
        demo: The settings.

    Returns:
        The measurements.

    Raises:
        ConfigError: If a setting is out of its range.
        OSError: If the folder cannot be written.
    """
    if demo.test_episodes < 2:
        raise ConfigError(f"demo: `test_episodes` must be at least 2, got {demo.test_episodes}")
    demo.out.mkdir(parents=True, exist_ok=True)  # before the work: a folder that cannot be is told at once
    began = time.perf_counter()
    learner = demo.learner()
    parameters = sum(parameter.numel() for parameter in learner.parameters())
    print(
        f"MambaCL: {parameters:,} parameters, a state of {learner.init_state().nbytes:,} bytes. "
        f"{demo.tasks} tasks x {demo.train_shots} shots, {demo.steps} steps "
        f"on {torch.get_num_threads()} threads."
    )
    history = meta_train(
        learner,
        demo.source("train", test_shots=2),
        TrainConfig(steps=demo.steps, batch_size=demo.batch_size, lr=demo.lr),
        validation=demo.source("validation", test_shots=5),
    )
    trained = time.perf_counter()

    test = demo.source("test", test_shots=5)
    evaluation = evaluate(learner, test, demo.test_episodes)
    assert evaluation.vocabulary_accuracy is not None  # the demo's target is classes
    scores = {
        "MambaCL": evaluation.score,
        "MambaCL, whole vocabulary": evaluation.vocabulary_accuracy,
        "nearest neighbour on pixels": evaluate_predictor(nearest_neighbour, test, demo.test_episodes),
        "class mean on pixels": evaluate_predictor(class_mean, test, demo.test_episodes),
    }
    print(_table(demo, scores))
    _write(demo, learner, history, scores)
    total = time.perf_counter() - began
    print(f"Trained in {trained - began:.0f} s, {total:.0f} s in all. Figures and results: {demo.out}")
    return DemoResult(history, scores)


def _table(demo: Demo, scores: dict[str, Scores]) -> str:
    width = max(len(name) for name in scores)
    lines = [
        "",
        f"Accuracy on {demo.test_episodes} episodes of unseen characters in seen typefaces "
        f"({demo.tasks} tasks x {demo.train_shots} shots, chance {1 / demo.tasks:.3f};",
        "± is the 95 % interval over episodes, for this one model):",
        "",
    ]
    lines += [f"  {name:<{width}}  {score}" for name, score in scores.items()]
    return "\n".join([*lines, ""])


def _write(demo: Demo, learner: Learner, history: History, scores: dict[str, Scores]) -> None:
    mpl.use("agg")
    results = {
        "settings": {**asdict(demo), "out": str(demo.out)},
        "scores": {name: {"mean": s.mean, "interval_95": s.interval} for name, s in scores.items()},
        "steps_to_accuracy": {str(a): history.steps_to(a) for a in (0.5, 0.8, 0.9)},
        "validations": [asdict(record) for record in history.validations],
        "steps": [asdict(record) for record in history.steps],
    }
    (demo.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")

    ax = plots.learning_curves({"MambaCL": [history]})
    plots.save(ax, demo.out / "learning_curve.png")
    ax = plots.accuracy_bars(scores, chance=1 / demo.tasks)
    plots.save(ax, demo.out / "accuracy.png")

    learner.eval()
    episode = demo.source("validation", test_shots=5).episode(0)
    with torch.no_grad():
        initial = learner.init_state(codebook=episode.codebook)
        state = learner.observe(initial, episode.train_x, episode.train_y)
        answers = state.answers(learner.predict(state, episode.test_x))
    ax = plots.episode_images(
        episode.train_x[0], episode.test_x[0], episode.test_y[0], answers[0], tasks=demo.tasks
    )
    plots.save(ax, demo.out / "episode.png")
