"""The classifier of a stream: what it learns, what it refuses, what it forgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import exceptions
from sklearn.neighbors import NearestCentroid

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import (
    AttentionMixer,
    BayesConfig,
    ClassTarget,
    CnnEncoder,
    ContinualClassifier,
    GemclConfig,
    Learner,
    OmlConfig,
    PrototypeConfig,
    TrainConfig,
    VectorEncoder,
    meta_train,
    save_learner,
)
from mambacl.errors import DataError, FileError, InvalidValueError, MambaclError, ShapeError
from mambacl.streams import NotFittedError
from small_learners import DIM, VOCAB, small_learner

X = np.random.default_rng(0).normal(size=(30, DIM))
Y = np.random.default_rng(1).integers(0, 4, size=30)
QUERIES = np.random.default_rng(2).normal(size=(7, DIM))


def small(**changes: Any) -> ContinualClassifier:
    return ContinualClassifier(small_learner(), **changes)


@pytest.fixture(scope="module")
def trained() -> Learner:
    """Meta-trained on Gaussian classes for seconds."""
    learner = gaussian_learner()
    config = TrainConfig(steps=300, batch_size=32, lr=3e-3, warmup_steps=20)
    meta_train(learner, GaussianEpisodes(seed=0), config, progress=False)
    return learner.eval()


def test_a_meta_trained_learner_beats_chance_by_far(trained: Learner):
    right: list[float] = []
    for index in range(40):
        episode = GaussianEpisodes(seed=99).batch(index, 1)
        names = np.array(["ash", "elm", "oak"])
        classifier = ContinualClassifier(trained, random_state=index)
        classifier.partial_fit(episode.train_x[0], names[episode.train_y[0]])
        right.append(classifier.score(episode.test_x[0], names[episode.test_y[0]]))
    assert np.mean(right) > 0.8  # chance is 1 / 3


def test_it_answers_as_the_learner_does():
    learner = small_learner()
    classifier = ContinualClassifier(learner, random_state=5).fit(X, Y)
    first_seen = list(dict.fromkeys(Y.tolist()))
    numbers = torch.tensor([[first_seen.index(label) for label in Y]])
    with torch.no_grad():
        state = learner.observe(
            learner.init_state(seed=5), torch.tensor(X[None], dtype=torch.float32), numbers
        )
        logits = learner.predict(state, torch.tensor(QUERIES[None], dtype=torch.float32))
    answers = [first_seen[number] for number in state.answers(logits)[0].tolist()]
    assert classifier.predict(QUERIES).tolist() == answers
    expected = state.log_probabilities(logits)[0].exp()[:, [first_seen.index(c) for c in sorted(first_seen)]]
    np.testing.assert_allclose(classifier.predict_proba(QUERIES), expected, atol=1e-6)
    unseen = logits[0].softmax(-1)[:, ~state.seen[0]].sum(-1)  # pyright: ignore[reportOptionalSubscript]
    np.testing.assert_allclose(classifier.unseen_proba(QUERIES), unseen, atol=1e-6)


def test_prototypes_are_the_nearest_centroids_of_their_space():
    learner = Learner(PrototypeConfig(VectorEncoder(DIM), d_model=256)).double()
    classifier = ContinualClassifier(learner).fit(X, Y)
    with torch.no_grad():
        weight = learner.state_dict()["encoder.layers.0.linear.weight"].numpy()
    centroids = NearestCentroid().fit(X @ weight.T, Y)
    assert classifier.predict(QUERIES).tolist() == centroids.predict(QUERIES @ weight.T).tolist()


@pytest.mark.parametrize("features", [DIM, 3, 11])
def test_one_by_one_and_in_pieces_come_to_the_same_as_at_once(features: int):
    x = np.random.default_rng(3).normal(size=(30, features)) * 5 + 2
    queries = np.random.default_rng(4).normal(size=(7, features)) * 5 + 2
    for examples in (3, 30):  # before and after the opening
        whole = small().fit(x[:examples], Y[:examples])
        pieces = small()
        for size in (1, 7):
            pieces.reset()
            for start in range(0, examples, size):
                part = slice(start, min(start + size, examples))
                pieces.partial_fit(x[part], Y[part])
            np.testing.assert_allclose(pieces.predict_proba(queries), whole.predict_proba(queries), atol=1e-5)
            assert pieces.n_samples_seen_ == examples


def test_new_classes_come_at_any_time():
    classifier = small().partial_fit(X[:2], ["b", "b"])
    assert classifier.classes_.tolist() == ["b"]
    assert set(classifier.predict(QUERIES)) == {"b"}
    classifier.partial_fit(X[2:4], ["a", "longer"])
    assert classifier.classes_.tolist() == ["a", "b", "longer"]
    assert classifier.predict_proba(QUERIES).shape == (7, 3)
    np.testing.assert_allclose(classifier.predict_proba(QUERIES).sum(1), 1)


def test_declared_classes_have_no_probability_until_they_are_seen():
    classifier = small().partial_fit(X[:2], ["b", "c"], classes=["a", "b", "c"])
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    assert (classifier.predict_proba(QUERIES)[:, 0] == 0).all()
    assert np.isneginf(classifier.predict_log_proba(QUERIES)[:, 0]).all()
    classifier.partial_fit(X[2:3], ["a"])
    assert (classifier.predict_proba(QUERIES)[:, 0] > 0).all()


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["ash", "elm", "oak"]),
        np.array(["ash", "elm", "oak"], dtype=object),
        np.array([-3, 7, 2**40]),
        np.array([1, 200, 3], dtype=np.uint8),
        np.array([0.0, 1.0, 5.0]),
        np.array([False, True, True]),
        ["ash", "elm", "oak"],
        torch.tensor([4, 2, 9]),
        torch.tensor([True, False, True]),
    ],
    ids=str,
)
def test_labels_come_back_as_they_were(labels: Any):
    classifier = small().fit(X[:3], labels)
    expected = np.unique(np.asarray(labels))
    assert classifier.classes_.tolist() == expected.tolist()
    assert classifier.classes_.dtype == expected.dtype
    assert set(classifier.predict(QUERIES).tolist()) <= set(expected.tolist())


def test_inputs_of_all_kinds_are_the_same():
    expected = small().fit(X, Y).predict_proba(QUERIES)
    for x in (X.tolist(), torch.tensor(X), torch.tensor(X, requires_grad=True), np.asfortranarray(X)):
        np.testing.assert_array_equal(small().fit(x, torch.tensor(Y)).predict_proba(QUERIES), expected)
    single = small().fit(X.astype(np.float32), Y).predict_proba(torch.tensor(QUERIES, dtype=torch.float32))
    np.testing.assert_allclose(single, expected, atol=1e-5)
    assert small().fit(torch.tensor(X, dtype=torch.bfloat16), Y).predict(
        np.ones((1, DIM), dtype=int)
    ).shape == (1,)


def test_images_may_lie_in_rows():
    learner = Learner(PrototypeConfig(CnnEncoder(1, 8, channels=(4,))))
    images = torch.rand(6, 1, 8, 8)
    classifier = ContinualClassifier(learner).fit(images, [0, 1, 2] * 2)
    rows = ContinualClassifier(learner).fit(images.reshape(6, 64), [0, 1, 2] * 2)
    np.testing.assert_array_equal(classifier.predict_proba(images), rows.predict_proba(images.flatten(1)))
    for wrong in (torch.rand(6, 3, 8, 8), torch.rand(6, 63)):
        with pytest.raises(ValueError, match="X"):
            classifier.predict(wrong)
    with pytest.raises(ShapeError, match="which cannot be adapted"):
        ContinualClassifier(learner).fit(torch.rand(2, 9), [0, 1])
    with pytest.raises(InvalidValueError, match="images cannot be adapted"):
        ContinualClassifier(learner, adapt=True).fit(images, [0, 1, 2] * 2)


def test_asked_too_early():
    for ask in ("predict", "predict_proba", "predict_log_proba", "unseen_proba"):
        with pytest.raises(NotFittedError, match="has read no example") as raised:
            getattr(small(), ask)(QUERIES)
        assert isinstance(raised.value, exceptions.NotFittedError | MambaclError)
    assert not hasattr(small(), "classes_")
    assert not hasattr(small(), "state_")


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (X[:2], np.array(["a", 1], dtype=object), "must be strings, or numbers.*int, str"),
        (X[:2], [0.5, 1.5], "Unknown label type"),
        (X[:2], [0], "inconsistent numbers of samples"),
        (X[:2], [["a", "b"], ["c", "d"]], "1d array"),
        (X[:2], None, "requires y"),
        (X[:2], ["x", "y"], "must be numbers, as earlier labels, got strings"),
        (X[:2, :3], [0, 1], "X has 3 features, but ContinualClassifier is expecting 5"),
        (X[0], [0], "Reshape your data"),
        (np.full((1, DIM), np.nan), [0], "NaN"),
        (np.full((1, DIM), np.inf), [0], "infinity"),
        (np.full((1, DIM), 1e39), [0], "too large"),
        (X[:0], [], "0 sample"),
        ([[10**400] * DIM], [0], "must be numbers that float64 holds"),
        (X[:6], [10, 11, 12, 13, 14, 15], rf"has {VOCAB} symbols.*class 14"),
        (torch.rand(2, 1, 4, 4), [0, 1], r"must have shape \(n, features\)"),
    ],
)
def test_what_is_refused_changes_nothing(x: Any, y: Any, told: str):
    classifier = small().fit(X, Y)
    before, expected = dict(vars(classifier)), classifier.predict_proba(QUERIES)
    for learn in (classifier.partial_fit, classifier.fit):
        if learn == classifier.fit and ("expecting" in told or "earlier" in told or "symbols" in told):
            continue  # no mistake in a new stream
        with pytest.raises(ValueError, match=told):
            learn(x, y)
        assert vars(classifier) == before
        np.testing.assert_array_equal(classifier.predict_proba(QUERIES), expected)


def test_columns_of_a_frame_have_names_and_an_order():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    classifier = small().fit(frame, Y)
    assert classifier.feature_names_in_.tolist() == list("abcde")
    before = classifier.predict_proba(frame)
    for other in (frame[list("edcba")], frame[list("abcd")], frame.rename(columns={"a": "z"})):
        for call in (classifier.predict, lambda x: classifier.partial_fit(x, Y)):
            with pytest.raises(ValueError, match="feature"):
                call(other)
    np.testing.assert_array_equal(classifier.predict_proba(frame), before)


def test_names_given_to_features():
    classifier = small().fit(X, Y)
    with pytest.raises(ShapeError, match="must have 5 names, one for each feature of X, got 2"):
        classifier.feature_names_in_ = np.array(["a", "b"])
    classifier.feature_names_in_ = np.array(list("abcde"))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        classifier.predict(X)


def test_one_class_too_many_in_a_call_leaves_the_others_unlearnt():
    classifier = small().fit(X[:1], [0])
    message = r"none is left for class 8\. No example of this call was learnt"
    with pytest.raises(InvalidValueError, match=message):
        classifier.partial_fit(X[:10], np.arange(10))
    assert classifier.classes_.tolist() == [0]
    assert classifier.n_samples_seen_ == 1
    classifier.partial_fit(X[:8], np.arange(8))
    assert (classifier.unseen_proba(QUERIES) == 0).all()


def test_a_state_is_never_spoilt():
    fast = Learner(OmlConfig(VectorEncoder(DIM), ClassTarget(VOCAB), d_model=16))
    classifier = ContinualClassifier(fast).fit(X, Y)
    expected = classifier.predict_proba(QUERIES)
    with pytest.raises(InvalidValueError, match="its state would not be finite"):
        classifier.partial_fit(np.full((2, DIM), 1e38), [0, 1])
    np.testing.assert_array_equal(classifier.predict_proba(QUERIES), expected)


def test_queries_that_are_too_large():
    with pytest.raises(InvalidValueError, match="too large"):
        small().fit(X, Y).predict(np.full((1, DIM), 1e200))
    prototypes = ContinualClassifier(Learner(PrototypeConfig(VectorEncoder(DIM)))).fit(X, Y)
    with pytest.raises(InvalidValueError, match="too large"):
        prototypes.predict(np.full((1, DIM), 1e30))


@pytest.mark.parametrize(
    ("learner", "error", "told"),
    [
        (3, TypeError, "argument `learner` must be"),
        ("nowhere", FileError, "`nowhere`, which does not exist"),
    ],
)
def test_a_wrong_learner(learner: Any, error: type[Exception], told: str):
    with pytest.raises(error, match=told):
        ContinualClassifier(learner).fit(X, Y)


def test_wrong_parameters():
    with pytest.raises(InvalidValueError, match="`random_state` must be from 0 to"):
        small(random_state=-1).fit(X, Y)
    with pytest.raises(InvalidValueError, match="`adapt` must be True, False or 'auto', got 'yes'"):
        small(adapt="yes").fit(X, Y)
    with pytest.raises(ShapeError, match="X has 3 features, but the learner takes 5 and adapt=False"):
        small(adapt=False).fit(X[:, :3], Y)


def test_the_codebook_is_by_random_state():
    def codebook(random_state: Any) -> list[int]:
        codebook = small(random_state=random_state).fit(X, Y).state_.codebook
        assert codebook is not None
        return codebook[0].tolist()

    assert codebook(3) == codebook(np.int64(3)) != codebook(4)
    assert codebook(np.random.RandomState(3)) == codebook(np.random.RandomState(3))
    assert len({tuple(codebook(None)) for _ in range(4)}) > 1


def test_fit_forgets_and_reset_too():
    classifier = small().fit(X, Y)
    again = classifier.fit(X[:3], ["a", "b", "c"])
    assert again.classes_.tolist() == ["a", "b", "c"]
    assert again.n_samples_seen_ == 3
    with pytest.raises(NotFittedError):
        again.reset().predict(QUERIES)
    assert not hasattr(again, "n_features_in_")
    assert again.fit(X[:, :3], Y).n_features_in_ == 3


@pytest.mark.parametrize("features", [DIM, 9])
@pytest.mark.parametrize(
    "kind", [PrototypeConfig, GemclConfig, BayesConfig, OmlConfig], ids=lambda kind: kind.__name__
)
def test_the_size_stays(kind: Any, features: int):
    x = np.random.default_rng(3).normal(size=(40, features))
    classifier = ContinualClassifier(Learner(kind(VectorEncoder(DIM), ClassTarget(VOCAB), d_model=16)))
    size = classifier.partial_fit(x[:1], [0]).state_nbytes_
    for start in range(0, 40, 8):
        assert classifier.partial_fit(x[start : start + 8], np.arange(8)).state_nbytes_ == size


def test_attention_grows_and_says_so():
    classifier = ContinualClassifier(small_learner(mixer=AttentionMixer(n_head=2)))
    size = classifier.partial_fit(X[:1], [0]).state_nbytes_
    assert classifier.partial_fit(X[:1], [0]).state_nbytes_ > size
    assert classifier.state_.grows


def test_undo_and_redo():
    classifier = small()
    empty = classifier.snapshot()
    before = classifier.partial_fit(X[:10], Y[:10]).snapshot()
    expected = classifier.predict_proba(QUERIES)
    after = classifier.partial_fit(X[10:12], [100, 101]).snapshot()
    assert not np.array_equal(classifier.predict_proba(QUERIES)[:, :4], expected)
    np.testing.assert_array_equal(classifier.restore(before).predict_proba(QUERIES), expected)
    assert 100 not in classifier.classes_
    assert 100 in classifier.restore(after).classes_
    with pytest.raises(NotFittedError):
        classifier.restore(empty).predict(QUERIES)
    with pytest.raises(InvalidValueError, match="of this object's learner, got another's"):
        small().restore(before)
    with pytest.raises(TypeError, match="must be a Snapshot, got int"):
        classifier.restore(3)  # pyright: ignore[reportArgumentType]


def test_a_learner_by_path(tmp_path: Any):
    save_learner(tmp_path / "learner.safetensors", small_learner())
    by_path = ContinualClassifier(str(tmp_path / "learner.safetensors")).fit(X, Y)
    np.testing.assert_array_equal(by_path.predict_proba(QUERIES), small().fit(X, Y).predict_proba(QUERIES))


def test_without_a_pretrained_learner_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
):
    from mambacl.streams import pretrained

    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    pretrained.load.cache_clear()
    with pytest.raises(DataError, match=r"prototype\.toml cannot be read: .*; pass a learner"):
        ContinualClassifier().fit(X, Y)


def test_a_pretrained_learner_is_loaded_once_and_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    import hashlib

    from mambacl.streams import pretrained

    save_learner(tmp_path / "prototype.safetensors", small_learner())
    digest = hashlib.sha256((tmp_path / "prototype.safetensors").read_bytes()).hexdigest()
    (tmp_path / "prototype.toml").write_text(f'sha256 = "{digest}"\n')
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    pretrained.load.cache_clear()
    try:
        expected = small(adapt=True).fit(X, Y).predict_proba(QUERIES)
        np.testing.assert_array_equal(ContinualClassifier().fit(X, Y).predict_proba(QUERIES), expected)
        assert pretrained.load("prototype") is pretrained.load("prototype")
        pretrained.load.cache_clear()
        (tmp_path / "prototype.toml").write_text('sha256 = "other"\n')
        with pytest.raises(DataError, match="its sha256 must be other"):
            pretrained.load("prototype")
    finally:
        pretrained.load.cache_clear()


def odd_rows() -> list[Any]:
    row = X[:1]
    return [
        row[0],
        row[:, :-1],
        X[:0],
        row.tolist(),
        row.astype(np.float16),
        row.astype(">f8"),
        np.where(row > 0, np.nan, row),
        np.full_like(row, np.inf),
        row.astype(complex),
        row.astype(object),
        np.ma.masked_array(row),
        np.asfortranarray(row)[:, ::-1],
        torch.tensor(row).requires_grad_(),
        torch.tensor(row, dtype=torch.bfloat16),
        None,
    ]


@pytest.mark.parametrize("number", range(15))
@pytest.mark.parametrize("label", [np.array([1]), np.array(["a"]), np.array([0.5]), np.array([[1]]), [1], 1])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_single_rows_skip_checks_and_lose_none(monkeypatch: pytest.MonkeyPatch, number: int, label: Any):
    """What the quick way makes of one row, or the error, is what scikit-learn's checks would make of it."""

    def told(quick: bool) -> Any:
        with monkeypatch.context() as patched:
            if not quick:
                patched.setattr(ContinualClassifier, "_clean_row", lambda *_: None)
            classifier = small().fit(X, Y)
            row = odd_rows()[number]
            try:
                classifier.partial_fit(row, label)
                answers = classifier.predict_proba(row).tolist()
            except (ValueError, TypeError) as error:
                return type(error), str(error)
            return answers, classifier.classes_.tolist(), classifier.classes_.dtype

    assert told(quick=True) == told(quick=False)


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.float32])
def test_single_clean_rows_are_not_checked_twice(monkeypatch: pytest.MonkeyPatch, kind: Any):
    from mambacl.streams import inputs

    classifier = small().fit(X, Y)
    expected = small().fit(X, Y).partial_fit(X[:2], [3, 900]).predict_proba(X[:1])
    monkeypatch.setattr(inputs, "validate_data", None)
    rows = torch.tensor(X, dtype=kind) if kind is torch.float32 else X.astype(kind)
    classifier.partial_fit(rows[:1], np.array([3])).partial_fit(rows[1:2], np.array([900]))
    np.testing.assert_allclose(classifier.predict_proba(rows[:1]), expected, atol=1e-5)
    assert 900 in classifier.classes_
