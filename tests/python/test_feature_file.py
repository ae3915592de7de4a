"""Files of features: what is read, how classes are split, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mambacl
from mambacl.data import FeatureClasses
from mambacl.data.feature_file import feature_file, write_feature_file
from mambacl.errors import ConfigError, DataError, InvalidValueError
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.seeds import train_seeds
from mambacl.experiments.training_run import TrainingRun

FEATURES = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 6)) - 3
NAMES = np.array([f"class {label:+}" for label in LABELS])
SPLIT = np.array([("train", "validation", "test")[label % 3] for label in LABELS])


def by_class(splits: dict[Any, FeatureClasses]) -> dict[str, np.ndarray]:
    """Features of each class, whatever split it is in."""
    found: dict[str, np.ndarray] = {}
    for classes in splits.values():
        parts = classes.features[:, 0].split(classes.examples_per_class.tolist())
        found.update({name: part.numpy() for name, part in zip(classes.names, parts, strict=True)})
    return found


def check_contents(splits: dict[Any, FeatureClasses], labels: np.ndarray) -> None:
    found = by_class(splits)
    assert sorted(found) == sorted({str(label) for label in labels})
    for label in set(labels.tolist()):
        np.testing.assert_array_equal(found[str(label)], FEATURES[labels == label])


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(np.int8), NAMES])
def test_npz(tmp_path: Path, labels: np.ndarray):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=labels)
    splits = feature_file(tmp_path / "x.npz")
    check_contents(splits, labels)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [6, 2, 2]
    order = sorted(splits["train"].names, key=int if labels.dtype.kind == "i" else str)
    assert list(splits["train"].names) == order


def test_a_pair_of_npy(tmp_path: Path):
    np.save(tmp_path / "x.npy", FEATURES)
    np.save(tmp_path / "y.npy", NAMES)
    check_contents(feature_file(tmp_path / "x.npy", tmp_path / "y.npy"), NAMES)


def test_safetensors_with_and_without_names(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"features": FEATURES, "labels": LABELS}, file)
    check_contents(feature_file(file), LABELS)
    names = [f"class {label:+}" for label in range(-3, 7)]
    tensors = {"features": torch.from_numpy(FEATURES), "labels": torch.from_numpy(LABELS + 3)}
    safetensors.torch.save_file(tensors, file, metadata={"names": json.dumps(names)})
    named = feature_file(file)
    check_contents(named, NAMES)
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=NAMES)
    assert {split: set(c.names) for split, c in named.items()} == {
        split: set(c.names) for split, c in feature_file(tmp_path / "x.npz").items()
    }


@pytest.mark.parametrize(
    "split", [SPLIT, np.array([["train", "validation", "test"].index(s) for s in SPLIT])]
)
def test_the_files_own_split(tmp_path: Path, split: np.ndarray):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=LABELS, split=split)
    splits = feature_file(tmp_path / "x.npz")
    check_contents(splits, LABELS)
    assert splits["validation"].names == ("-2", "1", "4")
    assert splits["test"].names == ("-1", "2", "5")


@pytest.mark.parametrize(
    ("dtype", "kept"), [(np.float16, torch.float16), (np.float64, torch.float32), (">f4", torch.float32)]
)
def test_other_kinds_of_numbers(tmp_path: Path, dtype: Any, kept: torch.dtype):
    np.savez(tmp_path / "x.npz", features=FEATURES.astype(dtype), labels=LABELS)
    classes = feature_file(tmp_path / "x.npz")["train"]
    assert classes.features.dtype == kept
    assert torch.allclose(
        classes.features[0, 0].float(),
        torch.from_numpy(FEATURES[int(classes.names[0]) == LABELS][0]),
        atol=1e-2,
    )


def test_bfloat16(tmp_path: Path):
    tensors = {"features": torch.from_numpy(FEATURES).bfloat16(), "labels": torch.from_numpy(LABELS)}
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    assert feature_file(tmp_path / "x.safetensors")["train"].features.dtype == torch.float32


def test_the_hash_deals_out_classes_and_a_new_one_moves_few(tmp_path: Path):
    many = np.array([f"class {number}" for number in range(200)])
    parts: list[dict[str, str]] = []
    for labels in (many, many[:-1]):
        np.savez(tmp_path / "x.npz", features=np.ones((len(labels), 2)), labels=labels)
        splits = feature_file(tmp_path / "x.npz", validation=0.1, test=0.3)
        parts.append({name: split for split, classes in splits.items() for name in classes.names})
        if len(labels) == 200:
            assert [len(splits[split]) for split in ("train", "validation", "test")] == [120, 20, 60]
    assert sum(parts[0][name] != split for name, split in parts[1].items()) <= 2


def test_what_is_written_is_read(tmp_path: Path):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=NAMES, split=SPLIT)
    splits = feature_file(tmp_path / "x.npz")
    write_feature_file(tmp_path / "y.safetensors", splits)
    again = feature_file(tmp_path / "y.safetensors")
    for split, classes in splits.items():
        assert again[split].names == classes.names
        assert torch.equal(again[split].features, classes.features)
        assert torch.equal(again[split].examples_per_class, classes.examples_per_class)
    with pytest.raises(InvalidValueError, match=r"must end in \.safetensors"):
        write_feature_file(tmp_path / "y.npz", splits)
    with pytest.raises(InvalidValueError, match="must hold classes"):
        write_feature_file(tmp_path / "y.safetensors", {})


def test_an_empty_split_is_written_too(tmp_path: Path):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=NAMES)
    splits = feature_file(tmp_path / "x.npz", validation=0, test=0)
    assert len(splits["test"]) == 0
    write_feature_file(tmp_path / "y.safetensors", splits)
    assert feature_file(tmp_path / "y.safetensors")["train"].names == splits["train"].names


def with_row(row: int, value: float) -> np.ndarray:
    changed = FEATURES.astype(np.float64)
    changed[row, 2] = value
    return changed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": FEATURES}, "must hold `features` and `labels`, got features"),
        ({"x": FEATURES, "labels": LABELS}, "must hold `features` and `labels`, got x, labels"),
        ({"features": FEATURES[0], "labels": LABELS}, r"must have shape \(n, dim\).*got \(5,\)"),
        ({"features": FEATURES[:0], "labels": LABELS[:0]}, r"not be empty, got \(0, 5\)"),
        ({"features": FEATURES, "labels": LABELS[:-1]}, r"`labels` must have shape \(60,\).*got \(59,\)"),
        ({"features": FEATURES, "labels": LABELS[:, None]}, r"got \(60, 1\)"),
        ({"features": FEATURES.astype(int), "labels": LABELS}, "must be floating point, got int64"),
        ({"features": FEATURES.astype(complex), "labels": LABELS}, "must be floating point, got complex128"),
        ({"features": FEATURES, "labels": LABELS.astype(float)}, "must be integers or strings, got float64"),
        ({"features": FEATURES, "labels": NAMES.astype("S")}, "must be integers or strings, got |S"),
        (
            {"features": FEATURES, "labels": NAMES.astype(object)},
            r"`labels` are Python objects, .*; `labels\.astype\(str\)` saves as numpy's own$",
        ),
        (
            {"features": FEATURES.astype(object), "labels": LABELS},
            r"`features` are Python objects, .*; `features\.astype\(np\.float32\)` saves",
        ),
        (
            {"features": FEATURES, "labels": LABELS, "split": SPLIT.astype(object)},
            "`split` are Python objects",
        ),
        ({"features": with_row(7, np.nan), "labels": LABELS}, "NaN or infinity in row 7"),
        ({"features": with_row(9, -np.inf), "labels": LABELS}, "NaN or infinity in row 9"),
        ({"features": with_row(9, 1e39), "labels": LABELS}, "within the range of float32"),
        ({"features": FEATURES, "labels": LABELS, "split": SPLIT[1:]}, r"`split` must have shape \(60,\)"),
        (
            {"features": FEATURES, "labels": LABELS, "split": LABELS},
            "must hold train, validation, test, or 0",
        ),
        (
            {"features": FEATURES, "labels": LABELS, "split": np.char.upper(SPLIT)},
            ", got '(TRAIN|TEST|VALIDATION)'$",
        ),
        (
            {"features": FEATURES, "labels": LABELS, "split": np.roll(SPLIT, 1)},
            "the same for all examples of a class, got two of",
        ),
        ({"features": FEATURES, "labels": np.zeros(60, int)}, None),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str | None):
    np.savez(tmp_path / "x.npz", **arrays)
    if message is None:  # a single class: nothing can be held out of it, and nothing is
        assert [len(classes) for classes in feature_file(tmp_path / "x.npz").values()] == [1, 0, 0]
        return
    with pytest.raises(DataError, match=message) as told:
        feature_file(tmp_path / "x.npz")
    assert str(tmp_path / "x.npz") in str(told.value)


def test_wrong_files(tmp_path: Path):
    np.save(tmp_path / "x.npy", FEATURES)
    np.save(tmp_path / "y.npy", LABELS)
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=LABELS)
    np.save(tmp_path / "objects.npy", NAMES.astype(object))
    for name in ("x.csv", "text.npz", "text.npy"):
        (tmp_path / name).write_text("1,2")
    cases: list[tuple[str, str | None, str]] = [
        ("x.npy", None, "`labels` (`data.labels` of an experiment) must be the .npy of the labels, as "),
        ("x.npz", "y.npy", "`labels` (`data.labels` of an experiment) must be left out, as "),
        ("text.npz", None, "it is no .npz file, whatever it is called"),
        ("text.npy", "y.npy", "text.npy: it is no .npy file, whatever it is called"),
        ("x.npy", "text.npy", "text.npy: it is no .npy file, whatever it is called"),
        ("x.npy", "objects.npy", "objects.npy: `labels` are Python objects"),
        ("objects.npy", "y.npy", "objects.npy: `features` are Python objects"),
        ("x.csv", None, "must end in .npz, .npy or .safetensors"),
        ("none.npz", None, "there is no such file"),
        ("none.safetensors", None, "there is no such file"),
        ("x.npy", "none.npy", "there is no such file"),
        ("x.npy", "x.npz", "must hold one array, got an archive"),
    ]
    for features, labels, message in cases:
        with pytest.raises(DataError, match=re.escape(message)):
            feature_file(tmp_path / features, tmp_path / labels if labels else None)
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npy").read_bytes())
    with pytest.raises(DataError, match="must be an archive of arrays, got one array"):
        feature_file(tmp_path / "x.npz")
    for validation, test in ((-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.1)):
        with pytest.raises(InvalidValueError, match="sum to less than 1"):
            feature_file(tmp_path / "x.npz", validation=validation, test=test)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"] * 10, r"`names` must be distinct, .*; got 'a' twice"),
        (["a", "b"], "`labels` must be from 0 to 1, as it has 2 names, got 0 to 9"),
        ({"a": 1}, "`names` must be a list of names"),
        ([1, 2], "`names` must be a list of names"),
    ],
)
def test_wrong_names(tmp_path: Path, names: Any, message: str):
    tensors = {"features": FEATURES, "labels": LABELS + 3}
    safetensors.numpy.save_file(tensors, tmp_path / "x.safetensors", metadata={"names": json.dumps(names)})
    with pytest.raises(DataError, match=message):
        feature_file(tmp_path / "x.safetensors")


def saved_npz(file: Path) -> None:
    np.savez_compressed(file, features=FEATURES[:6], labels=LABELS[:6])


def saved_safetensors(file: Path) -> None:
    safetensors.numpy.save_file({"features": FEATURES[:6], "labels": LABELS[:6]}, file)


def saved_npy(file: Path) -> None:
    np.save(file, FEATURES[:6])


SAVED: dict[str, Callable[[Path], None]] = {
    ".npz": saved_npz,
    ".safetensors": saved_safetensors,
    ".npy": saved_npy,
}


@pytest.mark.parametrize("ending", SAVED)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_files_are_errors_or_still_make_sense(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
):
    """Cut, changed or random bytes: an error of ours, or features that pass every check."""
    folder = tmp_path_factory.mktemp("damaged")
    file = folder / f"x{ending}"
    SAVED[ending](file)
    good = file.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "changed", "random"]))
    if kind == "cut":
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    elif kind == "changed":
        changed = bytearray(good)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
        bad = bytes(changed)
    else:
        bad = data.draw(st.binary(max_size=200))
    file.write_bytes(bad)
    labels = None
    if ending == ".npy":
        labels = folder / "y.npy"
        np.save(labels, LABELS[:6])
    try:
        splits = feature_file(file, labels)
    except DataError as error:
        told = str(error)
    else:
        told = str(folder)
        assert kind != "cut"
        for classes in splits.values():
            assert classes.features.isfinite().all()
            assert int(classes.examples_per_class.sum()) == len(classes.features)
    assert str(folder) in told


def experiment(**data: Any) -> Experiment:
    return Experiment.from_table(
        {
            "name": "mine",
            "model": {"d_model": 16, "encoder": {"kind": "vector", "dim": 5}},
            "train": {"steps": 3, "batch_size": 2, "validation_episodes": 2},
            "data": {
                "kind": "feature-file",
                "dim": 5,
                "tasks": 2,
                "train_shots": 2,
                "test_shots": 2,
                "evaluation_test_shots": 2,
                **data,
            },
        }
    )


def test_a_learner_is_meta_trained_on_a_file(tmp_path: Path):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=NAMES)
    made = experiment(file=str(tmp_path / "x.npz"))
    history = mambacl.meta_train(
        made.learner(0),
        made.source("train", 0),
        made.train,
        validation=made.source("validation"),
        progress=False,
    )
    assert len(history.steps) == 3
    seen = made.source("train", 0).batch(0, 4).train_x.flatten(0, 1).numpy()
    train = np.concatenate(
        [FEATURES[name == NAMES] for name in feature_file(tmp_path / "x.npz")["train"].names]
    )
    assert all((train == row).all(1).any() for row in seen)


def test_settings_of_a_file_are_checked(tmp_path: Path):
    np.savez(tmp_path / "x.npz", features=FEATURES[:, :4], labels=NAMES)
    with pytest.raises(ConfigError, match=r"`data\.dim` must be 4, as the features have, got 5"):
        experiment(file=str(tmp_path / "x.npz")).source("train", 0)
    with pytest.raises(ConfigError, match=r"must take inputs of shape \(4,\)"):
        experiment(file="x.npz", dim=4)
    with pytest.raises(ConfigError, match=r"the setting `data\.dim` is missing"):
        Experiment.from_table({"name": "mine", "data": {"kind": "feature-file", "file": "x.npz"}})
    with pytest.raises(ConfigError, match=r"did you mean `data\.validation`"):
        experiment(file="x.npz", validaton=0.1)
    assert experiment(file="no/such/file.npz").learner(0)  # a learner can be made without its data


@pytest.mark.parametrize(
    ("counts", "data", "message"),
    [
        ((3, 1, 2), {}, r"`data\.tasks` must be at most .* classes in the validation split of {}, 1, got 2"),
        ((3, 2, 1), {}, r"`data\.tasks` must be at most .* classes in the test split of {}, 1, got 2"),
        (
            (3, 4, 4),
            {"compound": 2},
            r"`data\.tasks` \* `data\.compound` .* in the train split of {}, 3, got 4",
        ),
        (
            (2, 2, 2),
            {"evaluation_test_shots": 5},
            r"each class in the validation split of {} must have at least `data\.train_shots` \+ "
            r"`data\.evaluation_test_shots` = 7 examples, got 6 of 'class 2'",
        ),
        ((2, 2, 0), {}, None),  # it may have no test
    ],
)
def test_splits_that_are_too_small_are_told_before_training(
    tmp_path: Path, counts: tuple[int, ...], data: dict[str, Any], message: str | None
):
    file, classes = tmp_path / "x.npz", sum(counts)
    names = np.repeat([f"class {number}" for number in range(classes)], 6)
    split = np.repeat(np.repeat([0, 1, 2], counts), 6)
    np.savez(file, features=np.resize(FEATURES, (len(names), 5)), labels=names, split=split)
    made = experiment(file=str(file), **data)
    if message is None:
        TrainingRun.begin(made, 0, tmp_path / "run", resume=False)
        return
    with pytest.raises(InvalidValueError, match=f"experiment: {message.format(re.escape(str(file)))}"):
        TrainingRun.begin(made, 0, tmp_path / "run", resume=False)
    with pytest.raises(InvalidValueError):
        train_seeds(made, "mine.toml", {0: tmp_path / "run"})
    assert not (tmp_path / "run").exists()


def test_other_sizes_than_those_of_the_settings_are_named_so(tmp_path: Path):
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=NAMES)
    made = experiment(file=str(tmp_path / "x.npz"))
    with pytest.raises(InvalidValueError, match=r"experiment: `tasks` must be at most .*, 2, got 3"):
        made.source("test", tasks=3)
    with pytest.raises(
        InvalidValueError, match=r"least `train_shots` \+ `data\.evaluation_test_shots` = 7 ex"
    ):
        made.source("test", train_shots=5)


def test_a_relative_path_that_leads_nowhere_tells_where_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=re.escape(f"file x.npz: there is no such file in {tmp_path}; a relat")
    ):
        experiment(file="x.npz").source("train", 0)
    with pytest.raises(DataError, match=r"x\.npz: there is no such file$"):
        experiment(file=str(tmp_path / "x.npz")).source("train", 0)


def test_a_file_may_be_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "x.npz", features=FEATURES, labels=NAMES)
    assert experiment(file="~/x.npz").source("train", 0).batch(0, 1).train_x.shape[-1] == FEATURES.shape[1]
