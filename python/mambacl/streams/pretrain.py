"""Meta-trains the packaged learner again: `python -m mambacl.streams.pretrain --out FILE`."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from mambacl import durable
from mambacl.config import (
    ClassTarget,
    GatedDeltaNetMixer,
    Mamba2Mixer,
    MambaMixer,
    Selectivity,
    SequenceConfig,
    VectorEncoder,
)
from mambacl.config.mixers import Mixer
from mambacl.data.splits import Split
from mambacl.errors import MambaclError
from mambacl.evaluation import Evaluation, evaluate, evaluate_predictor
from mambacl.files import save_learner
from mambacl.learner import Learner
from mambacl.report.measuring import CLASS_YARDSTICKS
from mambacl.streams.pretraining.borrowed import feature_sets
from mambacl.streams.pretraining.mixture import MixtureSource
from mambacl.training import TrainConfig, meta_train

MixerName = Literal["mamba", "mamba2", "gated_delta_net"]

_MIXERS: dict[MixerName, Mixer] = {
    "mamba": MambaMixer(),
    "mamba2": Mamba2Mixer(),
    "gated_delta_net": GatedDeltaNetMixer(),
}


@dataclass(frozen=True)
class Pretrain:
    """Meta-train a small sequence learner over feature vectors on a mixture of episodes.

    On one thread the same settings give the same weights.

    Attributes:
        out: File of the learner, as of `mambacl.save_learner`; a TOML file with settings and figures is put
            beside it.
        mixer: The layer that mixes along the stream.
        dim: Numbers in an input.
        d_model: Numbers in a token.
        n_layer: Blocks.
        vocab: Symbols: the most classes of a stream.
        selectivity: Weight of the regulariser.
        steps: Updates.
        small: Updates to begin with, on small episodes.
        batch_size: Episodes of an update.
        lr: Largest learning rate.
        seed: Of first weights and episodes.
        episodes: Of meta-validation.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    mixer: MixerName = "gated_delta_net"
    dim: int = 64
    d_model: int = 128
    n_layer: int = 2
    vocab: int = 64
    selectivity: float = 0.5
    steps: int = 900
    small: int = 300
    batch_size: int = 16
    lr: float = 4e-3
    seed: int = 0
    episodes: int = 600

    def learner(self) -> Learner:
        """The learner before training."""
        config = SequenceConfig(
            encoder=VectorEncoder(self.dim),
            target=ClassTarget(self.vocab),
            d_model=self.d_model,
            n_layer=self.n_layer,
            mixer=_MIXERS[self.mixer],
            selectivity=Selectivity(weight=self.selectivity),
        )
        return Learner(config, seed=self.seed)

    def training(self) -> TrainConfig:
        """How it is trained."""
        return TrainConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            validate_every=max(1, min(250, self.steps)),
            validation_episodes=100,
        )

    def source(self, split: Split) -> MixtureSource:
        """Episodes of a split; those of meta-training are small at first."""
        small = self.small * self.batch_size if split == "train" else 0
        return MixtureSource(feature_sets(split), self.dim, self.vocab, self.seed, split, small)


def run(settings: Pretrain) -> str:
    """Trains, measures, and writes the learner and the TOML file beside it.

    Args:
        settings: How to train.

    Returns:
        What was written, to print.

    Raises:
        MambaclError: If a setting is out of its range, training diverges, or a file cannot be written.
        OSError: If the folder cannot be made.
    """
    settings.out.parent.mkdir(parents=True, exist_ok=True)  # before the work: told at once if it cannot be
    learner, validation = settings.learner(), settings.source("validation")
    began = time.perf_counter()
    meta_train(learner, settings.source("train"), settings.training(), validation=validation)
    seconds = time.perf_counter() - began
    save_learner(settings.out, learner.eval())
    measured = evaluate(learner, validation, settings.episodes)
    nearest = evaluate_predictor(CLASS_YARDSTICKS["class mean"], validation, settings.episodes)
    description = _description(settings, measured, nearest.mean)
    durable.write(settings.out.with_suffix(".toml"), description.encode())
    return f"{description}trained in {seconds:.0f} s: {settings.out}"


def _description(settings: Pretrain, measured: Evaluation, nearest: float) -> str:
    digest = hashlib.sha256(settings.out.read_bytes()).hexdigest()
    facts = {
        "sha256": digest,
        "validation_accuracy": round(measured.score.mean, 4),
        "validation_accuracy_of_class_means": round(nearest, 4),
    }
    chosen = {name: value for name, value in asdict(settings).items() if name != "out"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
    return (
        "\n".join([*lines, "", "[settings]", *(f"{k} = {json.dumps(v)}" for k, v in chosen.items())]) + "\n"
    )


def main() -> None:
    """Runs the command line; an error of mambacl is one line, and a status of 1."""
    settings = tyro.cli(Pretrain, prog="python -m mambacl.streams.pretrain")
    torch.set_num_threads(1)  # sums in one order: the same weights every time
    try:
        print(run(settings))
    except (MambaclError, OSError) as error:
        sys.exit(f"mambacl: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
