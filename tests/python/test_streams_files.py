"""Estimators as files, and copies in memory."""

from __future__ import annotations

import copy
import hashlib
import json
import multiprocessing
import pickle
import threading
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
from mambacl.errors import FileError, InvalidValueError
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
    with pytest.raises(TypeError, match=r"can hold a mambacl\.Learner only, got Derived"):
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
    with pytest.raises(FileError, match="is not a file of mambacl, or is damaged"):
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
        _set("fitted/features", 10**30),
        _set("fitted/labels", [1.5, 2.5, 3.5]),
        _set("fitted/labels", ["ash", "elm", "o" * 300_000]),
        _set("fitted/labels_dtype", "<U2"),
        _set("fitted/labels_dtype", "(3,)U3"),
        _set("fitted/labels_dtype", "M8[s]"),
        _set("fitted/stream/seed", 2**70),
        _set("random_state", -1),
        _set("random_state", 2**32),
        _tensor("opening.y", torch.full((10,), 99)),
        _tensor("opening.y", torch.full((10,), -1)),
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


def resealed(header: Any, body: bytes = b"") -> bytes:
    """A safetensors file with any JSON for a header, and a digest that is right if it has one."""
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + body
    digest = hashlib.sha256(data).hexdigest().encode()
    return data.replace(b"0" * 64, digest, 1)


def header_of(**changes: Any) -> dict[str, Any]:
    own = {"format": 1, "holds": "ContinualClassifier", "facts": {}, "sha256": "0" * 64} | changes
    return {"__metadata__": {"mambacl": json.dumps(own)}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        (2**63).to_bytes(8, "little"),
        (2**64 - 1).to_bytes(8, "little") + b"{}",
        resealed([]),
        resealed({"__metadata__": {"mambacl": "[" * 20_000}}),
        resealed({"__metadata__": {"mambacl": "1" * 5_000}}),
        resealed({"__metadata__": {"mambacl": "null"}}),
        resealed(header_of(format="1")),
        resealed(header_of(format=0)),
        resealed(header_of(format=True)),
        resealed(header_of(sha256=3)),
        resealed(header_of(sha256="")),
        resealed(header_of(facts=[])),
        resealed(header_of(facts={"adapt": float("nan")})),
        resealed(header_of() | {"x": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}}),
        resealed(header_of() | {"x": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}),
        resealed(header_of() | {"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"0"),
        resealed(header_of() | {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    ],
    ids=range(18),
)
def test_files_that_lie_of_their_sizes(tmp_path: Path, data: bytes):
    (tmp_path / "lie").write_bytes(data)
    with pytest.raises(FileError):
        ContinualClassifier.load(tmp_path / "lie")


def test_a_state_that_is_not_finite_is_refused(tmp_path: Path):
    classifier = fitted(3)
    state = classifier.state_
    broken = state._map(lambda t: t * torch.nan if t.is_floating_point() else t)
    (tmp_path / "forged").write_bytes(
        forged(_tensor("state", container.as_tensor(small_learner().state_to_bytes(broken))))
    )
    with pytest.raises(FileError, match="finite"):
        ContinualClassifier.load(tmp_path / "forged")


def test_what_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    classifier = fitted()
    classifier.save(tmp_path / "stream")
    before = (tmp_path / "stream").read_bytes()
    whole = classifier._packed()
    monkeypatch.setattr(classifier, "_packed", lambda: whole[:-1])
    with pytest.raises(FileError, match="was not written"):
        classifier.save(tmp_path / "stream")
    assert (tmp_path / "stream").read_bytes() == before
    for wrong in ({"adapt": "yes"}, {"random_state": -1}):
        with pytest.raises(InvalidValueError, match=next(iter(wrong))):
            ContinualClassifier(small_learner(), **wrong).save(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["stream"]


def test_a_learner_set_in_mid_stream_waits_for_the_next(tmp_path: Path):
    old, new = small_learner(), small_learner(seed=1)
    classifier = ContinualClassifier(old).fit(X, Y)
    expected = classifier.predict_proba(X)
    classifier.set_params(learner=new)
    classifier.save(tmp_path / "stream")
    loaded = ContinualClassifier.load(tmp_path / "stream")
    assert isinstance(loaded.learner, Learner)
    assert loaded.learner.fingerprint() == old.fingerprint()
    for one in (classifier, loaded, pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        np.testing.assert_array_equal(one.predict_proba(X), expected)
        if one is loaded:
            continue
        assert one.learner.fingerprint() == new.fingerprint()  # pyright: ignore
        with pytest.raises(InvalidValueError, match="`learner` was changed in mid-stream"):
            one.partial_fit(X, Y)
        np.testing.assert_array_equal(one.predict_proba(X), expected)
        again = ContinualClassifier(new).fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(one.fit(X, Y).predict_proba(X), again)
    classifier.set_params(learner=old).reset().partial_fit(X, Y)
    np.testing.assert_array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("adapt", [True, 1, np.True_, np.int64(1), False, 0, np.False_, "auto"])
def test_adapt_is_what_equals_true_or_false(tmp_path: Path, adapt: Any):
    classifier = clone(ContinualClassifier(small_learner(), adapt=adapt)).fit(X, Y)
    assert (classifier.state_nbytes_ > classifier.state_.nbytes) == (adapt == 1)
    assert classifier.get_params()["adapt"] is adapt
    classifier.save(tmp_path / "stream")
    assert ContinualClassifier.load(tmp_path / "stream").adapt == adapt


@pytest.mark.parametrize("adapt", ["yes", 2, None, 0.5, [], np.array([True, False])])
def test_adapt_that_is_neither_is_refused(adapt: Any):
    with pytest.raises(InvalidValueError, match="`adapt` must be True, False or 'auto'"):
        ContinualClassifier(small_learner(), adapt=adapt).fit(X, Y)


def test_threads_see_what_was_learnt_before_a_call_or_after_it():
    """One thread changes the classifier between two streams of other widths and labels; the others ask."""
    classifier = ContinualClassifier(small_learner()).fit(X[:6, :3], list("abcabc"))
    one, other = classifier.snapshot(), classifier.fit(X[:8, :4], np.arange(8)).snapshot()
    wrong: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                copied = pickle.loads(pickle.dumps(classifier))
                texts = copied.classes_.dtype.kind == "U"
                assert copied.n_features_in_ == (3 if texts else 4)
                width = classifier.n_features_in_
                assert classifier.predict_proba(X[:1, :width]).shape == (1, 3 if width == 3 else 8)
            except ValueError as error:  # between the width and the question another stream has come
                if "features, but ContinualClassifier is expecting" not in str(error):
                    wrong.append(error)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(60):
        classifier.restore(one if turn % 2 else other)
        classifier.fit(X[:6, :3], list("abcabc")) if turn % 3 else classifier.fit(X[:8, :4], np.arange(8))
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


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
