"""Meta-trains the packaged learners again: `python -m mambacl.streams.pretrain --out FILE`."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mambacl import durable
from mambacl.config import ClassTarget, Mamba2Mixer, PrototypeConfig, SequenceConfig, VectorEncoder
from mambacl.data.splits import Split
from mambacl.evaluation import evaluate, evaluate_predictor
from mambacl.files import save_learner
from mambacl.learner import Learner
from mambacl.processes.script import script
from mambacl.ranges import Count, Range, Seed
from mambacl.report.measuring import CLASS_YARDSTICKS
from mambacl.streams.pretrained import DEFAULT, PackagedName
from mambacl.streams.pretraining.borrowed import feature_sets
from mambacl.streams.pretraining.first_weights import class_means, counted_associations
from mambacl.streams.pretraining.mixture import MixtureSource
from mambacl.streams.pretraining.sizes import Lengths
from mambacl.training import TrainConfig, meta_train


@dataclass(frozen=True)
class Pretrain:
    """Meta-train a packaged learner again, over feature vectors, on a mixture of episodes.

    "mamba2" is MambaCL with Mamba-2, "prototype" a prototypical network with one hidden layer. The initial
    weights of both are those of working classifiers (`mambacl.streams.pretraining.first_weights`). On one
    thread the same settings give the same weights.

    Attributes:
        out: File to write, in the format of `mambacl.save_learner`. A TOML file beside it gets the settings
            and the measured accuracies.
        learner: Learner to train.
        dim: Number of features of an input.
        d_model: Width of a token of "mamba2".
        hidden: Number of units of the hidden layer of "prototype".
        vocab: Number of symbols: the largest number of classes of a stream.
        steps: Number of training steps.
        batch_size: Number of episodes per step.
        lr: Largest learning rate.
        warmup: Number of steps until the largest learning rate is reached.
        seed: Seed of initial weights and episodes.
        episodes: Number of episodes of meta-validation; a quarter of it for long streams.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    learner: PackagedName = DEFAULT
    dim: Annotated[int, Range(1, 65_536)] = 128
    d_model: Annotated[int, Range(1, 65_536)] = 256
    hidden: Annotated[int, Range(1, 65_536)] = 512
    vocab: Annotated[int, Range(1, 65_536)] = 64
    steps: Count = 500
    batch_size: Annotated[int, Range(1, 16_384)] = 16
    lr: Annotated[float, Range(0, 1_000, above=True)] = 3e-4
    warmup: Annotated[int, Range(0, 10**9)] = 50
    seed: Seed = 0
    episodes: Annotated[int, Range(8, 10**6)] = 400

    def first(self) -> Learner:
        """The learner before training.

        Raises:
            ConfigError, InvalidValueError: If the sizes do not fit one another.
        """
        target = ClassTarget(self.vocab)
        if self.learner == "prototype":
            encoder = VectorEncoder(self.dim, hidden=(self.hidden,))
            learner = Learner(PrototypeConfig(encoder, target, d_model=self.dim), seed=self.seed)
            class_means(learner)
            return learner
        config = SequenceConfig(
            VectorEncoder(self.dim),
            target,
            d_model=self.d_model,
            mixer=Mamba2Mixer(d_state=self.dim, expand=1, headdim=self.vocab),
            selectivity=None,  # the initial weights already have the associations it would teach
        )
        learner = Learner(config, seed=self.seed)
        counted_associations(learner)
        return learner

    def training(self) -> TrainConfig:
        """The settings of meta-training."""
        return TrainConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            warmup_steps=self.warmup,
            validate_every=max(1, min(100, self.steps)),
            validation_episodes=100,
        )

    def source(self, split: Split, lengths: Lengths = "mixed") -> MixtureSource:
        """Episodes of a split."""
        return MixtureSource(feature_sets(split), self.dim, self.vocab, self.seed, split, lengths)


def run(settings: Pretrain) -> str:
    """Trains and evaluates the learner, and writes it with the TOML file beside it.

    Args:
        settings: Settings of the training.

    Returns:
        The lines of the TOML file and the time taken, to print.

    Raises:
        MambaclError: If a setting is out of its range, training diverges, or a file cannot be written.
        OSError: If the folder cannot be created.
    """
    settings.out.parent.mkdir(parents=True, exist_ok=True)  # before the work, to fail early
    learner = settings.first()
    mixed, long = settings.source("validation"), settings.source("validation", "long")
    began = time.perf_counter()
    history = meta_train(learner, settings.source("train"), settings.training(), validation=mixed)
    seconds = time.perf_counter() - began
    save_learner(settings.out, learner.eval())
    facts: dict[str, str | float] = {"sha256": hashlib.sha256(settings.out.read_bytes()).hexdigest()}
    nearest = CLASS_YARDSTICKS["class mean"]
    for name, source, episodes in (
        ("mixed", mixed, settings.episodes),
        ("long", long, settings.episodes // 4),
    ):
        facts[f"{name}_accuracy"] = round(evaluate(learner, source, episodes).score.mean, 4)
        facts[f"{name}_accuracy_of_class_means"] = round(
            evaluate_predictor(nearest, source, episodes).mean, 4
        )
    chosen = {name: value for name, value in asdict(settings).items() if name != "out"}
    curve = [[record.step, round(record.score, 4)] for record in history.validations]
    lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
    lines += [f"curve = {json.dumps(curve)}", "", "[settings]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in chosen.items()]
    durable.write(settings.out.with_suffix(".toml"), ("\n".join(lines) + "\n").encode())
    return "\n".join([*lines, f"trained in {seconds:.0f} s: {settings.out}"])


if __name__ == "__main__":
    script(Pretrain, run, "mambacl.streams.pretrain")
