"""Episodes: what they hold, where they come from, and what is refused."""

import dataclasses
import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mambacl import _core
from mambacl.data import AffineJitter, FeatureClasses, ImageClasses, hanzi21
from mambacl.data.classes import rows
from mambacl.episodes import Episode, EpisodeDataset, EpisodeSource, EpisodeSpec
from mambacl.errors import DataError, DtypeError, InvalidValueError, ShapeError

SPEC = EpisodeSpec(tasks=4, train_shots=3, test_shots=2, vocab=16)


def numbered_classes(
    classes: int = 12, examples: int = 6, jitter: AffineJitter | None = None
) -> ImageClasses:
    """Images of 8 x 8 whose every pixel is the image's own number, so that its origin can be read off."""
    count = classes * examples
    return ImageClasses(
        images=torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous(),
        examples_per_class=torch.full((classes,), examples),
        names=tuple(str(c) for c in range(classes)),
        domains=torch.arange(examples).repeat(classes),
        domain_names=tuple(str(e) for e in range(examples)),
        max_level=count,
        jitter=jitter,
    )


def source(spec: EpisodeSpec = SPEC, seed: int = 0, jitter: AffineJitter | None = None) -> EpisodeSource:
    return EpisodeSource(numbered_classes(jitter=jitter), spec, seed, "train")


def features(classes: int = 12, examples: int = 6, views: int = 3) -> FeatureClasses:
    """Vectors (class, example, view)."""
    parts = torch.meshgrid(*(torch.arange(n) for n in (classes, examples, views)), indexing="ij")
    return FeatureClasses(
        features=torch.stack(parts, dim=-1).flatten(0, 1).half(),
        examples_per_class=torch.full((classes,), examples),
        names=tuple(str(c) for c in range(classes)),
        domains=torch.arange(examples).repeat(classes),
        domain_names=tuple(str(e) for e in range(examples)),
    )


def numbers(x: torch.Tensor) -> torch.Tensor:
    """The numbers of the images in (batch, n, 1, 8, 8) inputs."""
    return ((x[:, :, 0, 0, 0] + 1) * (72 / 2)).round().long()


def tensors(episode: Episode) -> dict[str, torch.Tensor]:
    return {f.name: t for f in dataclasses.fields(episode) if (t := getattr(episode, f.name)) is not None}


def assert_same(one: Episode, other: Episode) -> None:
    assert tensors(one).keys() == tensors(other).keys()
    for name, tensor in tensors(one).items():
        assert torch.equal(tensor, tensors(other)[name]), name


def test_an_episode_has_its_shapes_and_is_valid():
    episode = source(jitter=AffineJitter()).batch(5, 3).validate()
    assert {name: tuple(tensor.shape) for name, tensor in tensors(episode).items()} == {
        "train_x": (3, 12, 1, 8, 8),
        "train_y": (3, 12),
        "test_x": (3, 8, 1, 8, 8),
        "test_y": (3, 8),
        "codebook": (3, 16),
    }
    assert episode.train_x.dtype == torch.float32
    assert episode.train_y[2].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert episode.test_y[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**63))
def test_images_belong_to_their_label_and_queries_are_unseen(seed: int, index: int):
    episode = source(seed=seed).episode(index)
    train, test = numbers(episode.train_x)[0], numbers(episode.test_x)[0]
    classes = (train // 6).view(4, 3)
    assert (classes == classes[:, :1]).all()
    assert classes[:, 0].unique().numel() == 4
    assert torch.equal((test // 6).view(4, 2), classes[:, :1].expand(4, 2))
    assert torch.cat([train, test]).unique().numel() == 20


def test_inputs_reach_from_minus_one_to_one():
    classes = numbered_classes()
    classes.images.zero_()
    classes.images[:, :, :4] = classes.max_level
    episode = EpisodeSource(classes, SPEC, 0, "train").episode(0)
    assert episode.train_x[..., :4, :].eq(1).all()
    assert episode.train_x[..., 4:, :].eq(-1).all()


@pytest.mark.parametrize(
    ("seed", "index", "expected"),
    [
        (0, 0, "03f4b94403bc0594b96781af0d9377fdf5c62ba39616c33738ea675c4a3e8aaa"),
        (7, 12345, "1ea33b6101e552ab69a6ac87fdba44d206ce78b8b4fdeb12f96e8fee27c9058b"),
    ],
)
def test_episodes_of_images_are_pinned(seed: int, index: int, expected: str):
    """Whoever changes these digests changes every published figure."""
    spec = EpisodeSpec(tasks=5, train_shots=3, test_shots=2)
    episode = EpisodeSource(hanzi21.load("validation"), spec, seed, "validation").batch(index, 3)
    digest = hashlib.sha256()
    for tensor in tensors(episode).values():
        digest.update(tensor.contiguous().numpy().tobytes())
    assert digest.hexdigest() == expected


def test_jitter_takes_the_numbers_of_the_episode_in_order():
    """From the parts: the plan, its images, and the uniform numbers of each episode, stream first."""
    plain = hanzi21.load("validation")
    spec = EpisodeSpec(tasks=5, train_shots=3, test_shots=2)
    jittery = dataclasses.replace(plain, jitter=AffineJitter())
    episode = EpisodeSource(jittery, spec, 7, "validation").batch(40, 3)
    for offset in range(3):
        classes, train, test, _ = _core.plan_episode(
            7,
            "validation",
            40 + offset,
            plain.examples_per_class.tolist(),
            tasks=5,
            train_shots=3,
            test_shots=2,
            vocab=64,
        )
        owners = torch.cat([classes.repeat_interleave(3), classes.repeat_interleave(2)])
        numbers = rows(plain.examples_per_class, owners, torch.cat([train, test]))
        levels = plain.images[numbers].float()
        uniforms = _core.uniforms(7, "validation", 40 + offset, 25 * 6).view(25, 6)
        expected = AffineJitter()(levels, uniforms) * (2 / 3) - 1
        assert torch.equal(episode.train_x[offset], expected[:15])
        assert torch.equal(episode.test_x[offset], expected[15:])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**63))
def test_features_belong_to_their_label_and_no_image_is_shown_twice(seed: int, index: int):
    episode = EpisodeSource(features(), SPEC, seed, "train").episode(index).validate()
    assert episode.train_x.dtype == torch.float32
    train, test = episode.train_x[0], episode.test_x[0]
    classes = train.view(4, 3, 3)[:, :, 0]
    assert (classes == classes[:, :1]).all()
    assert torch.equal(test.view(4, 2, 3)[:, :, 0], classes[:, :1].expand(4, 2))
    assert torch.cat([train, test])[:, :2].unique(dim=0).shape[0] == 20  # (class, example), whatever the view


def test_every_view_is_shown_and_chosen_by_the_episode():
    source = EpisodeSource(features(), SPEC, 0, "train")
    views = source.batch(0, 200).train_x[:, :, 2]
    assert views.unique().tolist() == [0, 1, 2]
    assert (views.unsqueeze(-1) == torch.arange(3)).double().mean((0, 1)).tolist() == pytest.approx(
        [1 / 3] * 3, abs=0.03
    )
    assert_same(source.episode(5), EpisodeSource(features(), SPEC, 0, "train").episode(5))
    assert torch.equal(source.batch(3, 4).train_x[2:3], source.episode(5).train_x)


@pytest.mark.parametrize("jitter", [None, AffineJitter()])
def test_an_episode_does_not_depend_on_its_batch(jitter: AffineJitter | None):
    whole = source(jitter=jitter).batch(3, 5)
    for offset in range(5):
        single = source(jitter=jitter).episode(3 + offset)
        for name, tensor in tensors(single).items():
            assert torch.equal(tensor, tensors(whole)[name][offset : offset + 1]), name


def test_seed_split_and_index_change_the_episode():
    one = source().episode(0)
    others = [
        source().episode(1),
        source(seed=1).episode(0),
        dataclasses.replace(source(), split="test").episode(0),
    ]
    for other in others:
        assert not torch.equal(one.train_x, other.train_x)
        assert not torch.equal(one.codebook, other.codebook)


def test_jitter_changes_every_image_by_its_own_amount_and_no_label():
    classes = numbered_classes()
    classes.images.copy_(torch.randint(0, 72, (1, 1, 8, 8)).expand_as(classes.images))
    plain = EpisodeSource(classes, SPEC, 0, "train")
    jittery = dataclasses.replace(classes, jitter=AffineJitter())
    jittered = dataclasses.replace(plain, classes=jittery).batch(0, 2)
    inputs = torch.cat([jittered.train_x, jittered.test_x], dim=1).flatten(0, 1).flatten(1)
    assert inputs.unique(dim=0).shape[0] == 40
    assert torch.equal(jittered.train_y, plain.batch(0, 2).train_y)


def test_longer_episodes_hold_the_shorter_one():
    short = source().episode(9)
    long = source(EpisodeSpec(tasks=6, train_shots=4, test_shots=2, vocab=16)).episode(9)
    kept = torch.arange(4).repeat_interleave(3) * 4 + torch.arange(3).repeat(4)
    assert torch.equal(short.train_x, long.train_x[:, kept])
    assert torch.equal(short.test_x, long.test_x[:, :8])
    assert torch.equal(short.codebook, long.codebook)


COMPOUND = EpisodeSpec(tasks=3, train_shots=4, test_shots=2, vocab=8, compound=3)


@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**64 - 1))
def test_a_compound_shows_its_own_classes_and_no_example_twice(seed: int, index: int):
    episode = source(COMPOUND, seed).episode(index).validate()
    shown = torch.cat([numbers(episode.train_x), numbers(episode.test_x)], dim=1)[0]
    labels = torch.cat([episode.train_y, episode.test_y], dim=1)[0]
    assert len(shown.unique()) == 18
    of_label = [set((shown[labels == label] // 6).tolist()) for label in range(3)]
    assert all(1 <= len(classes) <= 3 for classes in of_label)
    assert sum(map(len, of_label)) == len(set().union(*of_label))  # no class in two compounds
    assert episode.codebook[0].sort().values.tolist() == list(range(8))


def test_members_are_shown_by_chance_and_drawn_anew():
    batch = source(dataclasses.replace(COMPOUND, train_shots=3, test_shots=3)).batch(0, 400)
    classes = numbers(batch.train_x).view(400, 3, 3) // 6
    distinct = torch.tensor([len(set(shots)) for shots in classes.flatten(0, 1).tolist()])
    for count, expected in ((1, 1 / 9), (2, 6 / 9), (3, 2 / 9)):  # of three draws among three
        assert float((distinct == count).float().mean()) == pytest.approx(expected, abs=0.05)
    pairs = {tuple(sorted(shots)) for shots in classes.flatten(0, 1).tolist() if len(set(shots)) == 3}
    assert len(pairs) > 100  # of the 220 triples of 12 classes


def test_longer_compound_episodes_hold_the_shorter_one():
    short = source(dataclasses.replace(COMPOUND, tasks=2, train_shots=3)).episode(9)
    long = source(COMPOUND).episode(9)
    kept = torch.arange(2).repeat_interleave(3) * 4 + torch.arange(3).repeat(2)
    assert torch.equal(short.train_x, long.train_x[:, kept])
    assert torch.equal(source(COMPOUND).episode(5).test_x, source(COMPOUND).batch(3, 4).test_x[2:3])


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more than processors
@pytest.mark.parametrize("workers", [1, 2])
def test_spawned_workers_give_the_same_batches(workers: int):
    dataset = EpisodeDataset(source(jitter=AffineJitter()), batch_size=2, batches=4, first_batch=3)
    here = list(DataLoader(dataset, batch_size=None))
    assert_same(here[0], source(jitter=AffineJitter()).batch(6, 2))
    spawned = list(DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context="spawn"))
    assert len(here) == len(spawned) == 4
    for one, other in zip(here, spawned, strict=True):
        assert_same(one, other)


def test_to_moves_every_tensor():
    task = torch.zeros(1, 12, dtype=torch.int64)
    episode = dataclasses.replace(source().episode(0), train_task=task).to("meta")
    assert {tensor.device.type for tensor in tensors(episode).values()} == {"meta"}
    assert episode.train_task is not None
    assert episode.test_task is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (EpisodeSpec(tasks=0), "`tasks` must be at least 1, got 0"),
        (EpisodeSpec(tasks=13), "`tasks` must be at most the number of classes, 12, got 13"),
        (EpisodeSpec(tasks=4, train_shots=0), "`train_shots` must be at least 1, got 0"),
        (EpisodeSpec(tasks=4, train_shots=5, test_shots=2), "= 7 for every class, got 6 for class 0"),
        (EpisodeSpec(tasks=4, train_shots=1, test_shots=1, vocab=3), "`vocab` must be at least .* 4, got 3"),
        (
            EpisodeSpec(tasks=5, compound=3),
            r"`spec\.tasks \* spec\.compound` must be at most the number of classes, 12, got 5 \* 3 = 15",
        ),
        (
            EpisodeSpec(tasks=2, train_shots=1, test_shots=1, vocab=1, compound=2),
            r"`spec\.vocab` must be at least `spec\.tasks`, 2, got 1",
        ),
        (EpisodeSpec(tasks=0, compound=2), "`tasks` must be at least 1, got 0"),
        (EpisodeSpec(tasks=2, compound=0), r"`spec\.compound` must be at least 1, got 0"),
    ],
)
def test_impossible_specs_are_refused(spec: EpisodeSpec, message: str):
    with pytest.raises(InvalidValueError, match=message):
        source(spec).episode(0)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InvalidValueError, match="`seed` must be from 0"):
        source(seed=-1).episode(0)
    with pytest.raises(InvalidValueError, match="`first_index` must be from 0"):
        source().episode(-1)
    with pytest.raises(InvalidValueError, match=r"`first_index \+ batch_size - 1` must be from 0"):
        source().batch(2**64 - 1, 2)
    with pytest.raises(InvalidValueError, match="`batch_size` must be at least 1, got 0"):
        source().batch(0, 0)
    with pytest.raises(IndexError, match="`item` must be from 0 to 1, got 2"):
        EpisodeDataset(source(), batch_size=1, batches=2)[2]


def vectors() -> Episode:
    """Two episodes of regression, 6 examples and 4 queries."""
    return Episode(
        train_x=torch.randn(2, 6, 5),
        train_y=torch.randn(2, 6, 3),
        test_x=torch.randn(2, 4, 5),
        test_y=torch.randn(2, 4, 3),
        codebook=torch.zeros(2, 0, dtype=torch.int64),
        train_task=torch.zeros(2, 6, dtype=torch.int64),
        test_task=torch.zeros(2, 4, dtype=torch.int64),
    )


def test_vector_targets_are_valid():
    assert vectors().validate().batch_size == 2


LONG = torch.int64


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_x": torch.zeros(2, 0, 5)}, ShapeError, r"`train_x` .*not be empty, got \(2, 0, 5\)"),
        ({"test_x": torch.zeros(2, 0, 5)}, ShapeError, r"`test_x` .*not be empty, got \(2, 0, 5\)"),
        ({"train_x": torch.zeros(2, 6)}, ShapeError, r"`train_x` must have shape \(batch, length, \.\.\.\)"),
        ({"train_x": torch.zeros(2, 6, 5, dtype=LONG)}, DtypeError, "`train_x` must be floating point"),
        ({"train_x": torch.full((2, 6, 5), torch.nan)}, DataError, "`train_x` must be finite"),
        ({"test_x": torch.full((2, 4, 5), torch.inf)}, DataError, "`test_x` must be finite"),
        ({"test_x": torch.zeros(3, 4, 5)}, ShapeError, r"`test_x` must have shape \(2, 4, 5\)"),
        ({"test_x": torch.zeros(2, 4, 9)}, ShapeError, r"`test_x` must have shape \(2, 4, 5\)"),
        ({"train_y": torch.zeros(2, 6)}, ShapeError, r"`train_y` must have shape \(2, 6, dim_y\)"),
        ({"test_y": torch.zeros(2, 4, 2)}, ShapeError, r"`test_y` must have shape \(2, 4, 3\)"),
        ({"test_y": torch.full((2, 4, 3), torch.nan)}, DataError, "`test_y` must be finite"),
        ({"test_y": torch.zeros(2, 4, dtype=LONG)}, DtypeError, r"`test_y` must be torch\.float32"),
        ({"train_task": torch.zeros(2, 5, dtype=LONG)}, ShapeError, r"`train_task` must have shape \(2, 6\)"),
        (
            {"test_task": torch.full((2, 4), -1)},
            DataError,
            "`test_task` must hold labels from 0, got -1 to -1",
        ),
        ({"test_task": torch.zeros(2, 4)}, DtypeError, "`test_task` must be int64"),
    ],
)
def test_wrong_vector_episodes_are_refused(changes: dict[str, torch.Tensor], error: type, message: str):
    with pytest.raises(error, match=message):
        dataclasses.replace(vectors(), **changes).validate()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_y": torch.full((1, 12), 16)}, DataError, "`train_y` must hold labels from 0 to 15, got 16"),
        ({"test_y": torch.full((1, 8), -1)}, DataError, "`test_y` must hold labels from 0 to 15, got -1"),
        ({"test_y": torch.zeros(1, 7, dtype=LONG)}, ShapeError, r"`test_y` must have shape \(1, 8\)"),
        ({"train_y": torch.zeros(1, 12, dtype=torch.int32)}, DtypeError, "`train_y` must be int64"),
        ({"codebook": torch.arange(16)}, ShapeError, r"`codebook` must have shape \(1, vocab\), got \(16,\)"),
        ({"codebook": torch.zeros(1, 16, dtype=LONG)}, DataError, "permutation .* in episode 0"),
        ({"codebook": torch.arange(16.0)[None]}, DtypeError, "`codebook` must be int64"),
    ],
)
def test_wrong_labelled_episodes_are_refused(changes: dict[str, torch.Tensor], error: type, message: str):
    with pytest.raises(error, match=message):
        dataclasses.replace(source().episode(0), **changes).validate()
