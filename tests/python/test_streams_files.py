"""Estimators as files, and copies in memory."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from mambacl import (
    AttentionMixer,
    ContinualClassifier,
    ContinualRegressor,
    Learner,
    PerformerMixer,
    VectorTarget,
    container,
    load_learner,
    save_learner,
)
from mambacl.errors import FileError
from small_learners import DIM, assert_same, small_learner

X = np.random.default_rng(0).normal(size=(30, DIM))
Y = np.array(["ash", "elm", "oak"])[np.arange(30) % 3]


def fitted(features: int = DIM, **changes: Any) -> ContinualClassifier:
    return ContinualClassifier(small_learner(**changes), random_state=7).fit(X[:, :features], Y)


def assert_goes_on_alike(one: ContinualClassifier, other: ContinualClassifier) -> None:
    x = X[:, : one.n_features_in_]
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))
    for classifier in (one, other):
        classifier.partial_fit(x[:4], ["new", "ash", "new", "fir"])
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))
    assert one.state_nbytes_ == other.state_nbytes_
    assert one.get_params().keys() == other.get_params().keys()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"features": 3},
        {"mixer": AttentionMixer(n_head=2)},
        {"mixer": PerformerMixer(n_head=2)},
    ],
    ids=str,
)
def test_a_file_goes_on_where_the_classifier_was(tmp_path: Path, changes: dict[str, Any]):
    classifier = fitted(**changes)
    classifier.save(tmp_path / "stream.safetensors")
    again = ContinualClassifier.load(tmp_path / "stream.safetensors")
    assert (again.random_state, again.adapt) == (7, "auto")
    assert_goes_on_alike(classifier, again)
    assert again.fit(X, Y).n_samples_seen_ == 30


def test_before_any_example_and_in_float64(tmp_path: Path):
    classifier = ContinualClassifier(small_learner().double(), random_state=np.random.RandomState(0))
    classifier.save(tmp_path / "fresh")
    again = ContinualClassifier.load(tmp_path / "fresh")
    assert not hasattr(again, "classes_")
    assert isinstance(again.learner, Learner)
    assert_same(again.learner.state_dict(), small_learner().double().state_dict())
    classifier.fit(X, Y).save(tmp_path / "fresh")
    assert_goes_on_alike(classifier, ContinualClassifier.load(tmp_path / "fresh"))


@pytest.mark.parametrize(
    "labels", [[True, False], [-1, 2**62], [0.0, 3.0], np.array(["é", "a"], dtype=object)], ids=str
)
def test_labels_of_all_kinds(tmp_path: Path, labels: Any):
    classifier = ContinualClassifier(small_learner()).fit(X[:2], labels)
    classifier.feature_names_in_ = np.array(list("abcde"), dtype=object)  # as of a pandas frame
    classifier.save(tmp_path / "stream")
    again = ContinualClassifier.load(tmp_path / "stream")
    assert again.classes_.dtype == classifier.classes_.dtype
    assert again.classes_.tolist() == sorted(np.asarray(labels).tolist())
    assert again.feature_names_in_.tolist() == list("abcde")


@pytest.mark.parametrize("features", [DIM, 3])
def test_copies_in_memory_share_nothing(features: int):
    classifier = fitted(features)
    for copied in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        assert copied.learner is not classifier.learner
        assert copied.learner is copied._find_learner()
        assert_goes_on_alike(copy.deepcopy(classifier), copied)
    assert pickle.dumps(classifier) == pickle.dumps(classifier)
    assert b"safetensors" not in pickle.dumps(classifier)  # bytes of such a file, and no class of torch's
    assert b"torch" not in pickle.dumps(classifier).replace(b"torch.float", b"")


def test_clones_are_fresh():
    cloned = clone(fitted())
    assert not hasattr(cloned, "classes_")
    assert cloned.random_state == 7
    assert clone(ContinualClassifier("some/path")).learner == "some/path"


def test_joblib_and_spawned_processes(tmp_path: Path):
    classifier = fitted()
    expected = classifier.predict(X).tolist()
    joblib.dump(classifier, tmp_path / "stream.joblib")
    assert joblib.load(tmp_path / "stream.joblib").predict(X).tolist() == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(classifier.predict, (X,)).tolist() == expected


def test_a_learner_in_a_pickle_by_path(tmp_path: Path):
    save_learner(tmp_path / "learner", small_learner())
    classifier = ContinualClassifier(tmp_path / "learner").fit(X, Y)
    (tmp_path / "learner").unlink()
    again = pickle.loads(pickle.dumps(classifier))
    assert again.learner == tmp_path / "learner"
    assert_goes_on_alike(classifier, again)  # it has the weights


def test_a_derived_learner_is_refused(tmp_path: Path):
    class Derived(Learner):
        pass

    classifier = ContinualClassifier(Derived(small_learner().config)).fit(X, Y)
    with pytest.raises(TypeError, match=r"must be of a mambacl\.Learner itself, got Derived"):
        classifier.save(tmp_path / "stream")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_by_halves(tmp_path: Path):
    with pytest.raises(FileError, match="could not be written"):
        fitted().save(tmp_path / "no folder" / "stream")
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileError, match="could not be written"):
        fitted().save(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_files_of_something_else(tmp_path: Path):
    fitted().save(tmp_path / "stream")
    save_learner(tmp_path / "learner", small_learner())
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "tensors")
    with pytest.raises(FileError, match="must hold a ContinualRegressor, got 'ContinualClassifier'"):
        ContinualRegressor.load(tmp_path / "stream")
    with pytest.raises(FileError, match="must hold a ContinualClassifier, got 'learner'"):
        ContinualClassifier.load(tmp_path / "learner")
    with pytest.raises(FileError, match='must hold a learner, got "ContinualClassifier"'):
        load_learner(tmp_path / "stream")
    with pytest.raises(FileError, match="is no file of mambacl"):
        ContinualClassifier.load(tmp_path / "tensors")
    with pytest.raises(FileError, match="cannot be read"):
        ContinualClassifier.load(tmp_path / "nothing")


WHOLE = fitted(3)._packed()


@given(cut=st.integers(0, len(WHOLE) - 1))
@settings(deadline=None, max_examples=60)
def test_a_truncated_file_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int):
    path = tmp_path_factory.getbasetemp() / "truncated"
    path.write_bytes(WHOLE[:cut])
    with pytest.raises(FileError):
        ContinualClassifier.load(path)


@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=150)
def test_a_changed_bit_is_found(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int):
    changed = bytearray(WHOLE)
    changed[place] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(changed)
    with pytest.raises(FileError):
        ContinualClassifier.load(path)


def state_of(streams: int) -> bytes:
    """A state of this learner: of so many streams; of none an empty one of one stream."""
    learner = small_learner()
    state = learner.init_state(max(streams, 1))
    if streams:
        y = torch.arange(3).repeat(streams, 1)
        state = learner.observe(state, torch.zeros(streams, 3, DIM), y)
    return learner.state_to_bytes(state)


def forged(change: Any) -> bytes:
    """A file whose facts or tensors were changed, and its digest with them."""
    facts, tensors = container.unpack(WHOLE, "ContinualClassifier", "it")
    facts = json.loads(json.dumps(facts))
    change(facts, tensors)
    return container.pack("ContinualClassifier", facts, tensors)


def _set(place: str, value: Any) -> Any:
    def change(facts: Any, tensors: dict[str, torch.Tensor]) -> None:
        *path, last = place.split("/")
        for key in path:
            facts = facts[key]
        facts[last] = value

    return change


def _tensor(name: str, value: torch.Tensor | None) -> Any:
    def change(facts: Any, tensors: dict[str, torch.Tensor]) -> None:
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("adapt", "maybe"),
        _set("surprise", 1),
        _set("fitted/features", 0),
        _set("fitted/features", 4),
        _set("fitted/features", 10**15),
        _set("fitted/names", ["a"]),
        _set("fitted/labels", ["ash", "elm"]),
        _set("fitted/labels", ["ash", "elm", "ash"]),
        _set("fitted/labels", ["ash", "elm", 3]),
        _set("fitted/labels", ["ash"] * 9),
        _set("fitted/labels_dtype", "<i8"),
        _set("fitted/labels_dtype", "<U1000000000"),
        _set("fitted/labels_dtype", "nonsense"),
        _set("fitted/stream/seed", -1),
        _set("fitted/stream/adapted", False),
        _set("fitted", None),
        _tensor("adapter.mean", torch.full((3,), torch.nan, dtype=torch.float64)),
        _tensor("adapter.squares", -torch.ones(3, dtype=torch.float64)),
        _tensor("opening.x", torch.zeros(3, dtype=torch.float64)),
        _tensor("other", torch.zeros(1)),
        _tensor("learner", None),
        _tensor("learner", torch.zeros(3)),
        _tensor("learner", torch.zeros(0, dtype=torch.uint8)),
        _tensor("learner", container.as_tensor(small_learner(seed=1).to_bytes())),
        _tensor("state", None),
        _tensor("state", torch.zeros(3, 3, dtype=torch.uint8)),
        _tensor("state", container.as_tensor(small_learner().to_bytes())),
        _tensor("state", container.as_tensor(state_of(0))),
        _tensor("state", container.as_tensor(state_of(2))),
    ],
)
def test_a_forged_file_is_refused(tmp_path: Path, change: Any):
    (tmp_path / "forged").write_bytes(forged(change))
    with pytest.raises(FileError):
        ContinualClassifier.load(tmp_path / "forged")


def test_a_newer_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(container, "FORMAT", 2)
    fitted().save(tmp_path / "newer")
    monkeypatch.undo()
    with pytest.raises(FileError, match="a format of at most 1, got 2: a newer mambacl wrote it"):
        ContinualClassifier.load(tmp_path / "newer")


def test_regression_has_a_vector_target(tmp_path: Path):
    regressor = ContinualRegressor(small_learner(target=VectorTarget(1))).fit(X, X[:, 0])
    regressor.save(tmp_path / "stream")
    again = pickle.loads(pickle.dumps(ContinualRegressor.load(tmp_path / "stream")))
    np.testing.assert_array_equal(again.predict(X), regressor.predict(X))
