"""The learner: its verbs and their laws, its state, its training pass."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mambacl import (
    AngleTarget,
    ClassTarget,
    CnnEncoder,
    Episode,
    Keys,
    LayerState,
    Learner,
    LearnerState,
    Selectivity,
    VectorTarget,
)
from mambacl.config import Target
from mambacl.errors import InvalidValueError
from small_learners import CONFIG, DIM, VOCAB, assert_same, small_episode, small_learner, tensors

TARGETS = [CONFIG.target, VectorTarget(3), AngleTarget()]


def assert_states_near(one: LearnerState, other: LearnerState, rtol: float = 1e-5) -> None:
    assert one.examples == other.examples
    for got, want in zip(one.tensors(), other.tensors(), strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=rtol, atol=1e-6)


def doubled(episode: Episode) -> Episode:
    """The same numbers in float64."""
    values = {field.name: getattr(episode, field.name) for field in dataclasses.fields(Episode)}
    wide = {name: t.double() for name, t in values.items() if t is not None and t.is_floating_point()}
    return dataclasses.replace(episode, **wide)


def observed(learner: Learner, episode: Episode) -> LearnerState:
    state = learner.init_state(
        episode.batch_size, codebook=episode.codebook if episode.codebook.numel() else None
    )
    return learner.observe(state, episode.train_x, episode.train_y)


def rows(state: LearnerState, index: int) -> LearnerState:
    """One stream of a batch."""

    def row(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[index : index + 1]

    layers = tuple(LayerState(layer.spec, map(row, layer)) for layer in state.layers)
    return LearnerState(state.examples, row(state.codebook), row(state.seen), layers)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("pieces", [[1] * 8, [3, 5], [7, 1]])
def test_reading_in_pieces_comes_to_the_same(target: Target, pieces: list[int]):
    learner, episode = small_learner(target=target), small_episode(target=target)
    whole = observed(learner, episode)
    state = learner.init_state(2, codebook=whole.codebook)
    for x, y in zip(episode.train_x.split(pieces, 1), episode.train_y.split(pieces, 1), strict=True):
        state = learner.observe(state, x, y)
    assert_states_near(state, whole)
    torch.testing.assert_close(
        learner.predict(state, episode.test_x), learner.predict(whole, episode.test_x), rtol=1e-5, atol=1e-6
    )


def test_the_order_of_examples_counts():
    learner, episode = small_learner(), small_episode()
    turned = dataclasses.replace(episode, train_x=episode.train_x.flip(1), train_y=episode.train_y.flip(1))
    one, other = observed(learner, episode), observed(learner, turned)
    assert not torch.allclose(one.layers[0].ssm_state, other.layers[0].ssm_state, rtol=1e-2)


@pytest.mark.parametrize("target", TARGETS)
def test_the_verbs_leave_the_state_they_are_given(target: Target):
    learner, episode = small_learner(target=target), small_episode(target=target)
    state = observed(learner, episode)
    before = state.clone()
    learner.predict(state, episode.test_x)
    learner.observe(state, episode.test_x, episode.test_y)
    learner.observe_traced(state, episode.test_x, episode.test_y)
    assert state.examples == before.examples == 8
    for got, want in zip(state.tensors(), before.tensors(), strict=True):
        assert torch.equal(got, want)


def test_queries_are_answered_each_alone():
    learner, episode = small_learner(), small_episode(queries=6)
    state = observed(learner, episode)
    answers = learner.predict(state, episode.test_x)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    permuted = learner.predict(state, episode.test_x[:, order])
    torch.testing.assert_close(permuted, answers[:, order], rtol=1e-5, atol=1e-6)
    for query in range(6):
        alone = learner.predict(state, episode.test_x[:, query : query + 1])
        torch.testing.assert_close(alone, answers[:, query : query + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 4, 6, 100])
def test_chunks_give_the_same_answers(chunk_size: int):
    learner, episode = small_learner(), small_episode(queries=6)
    state = observed(learner, episode)
    torch.testing.assert_close(
        learner.predict(state, episode.test_x, chunk_size=chunk_size),
        learner.predict(state, episode.test_x),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_streams_of_a_batch_are_separate(target: Target):
    learner, episode = small_learner(target=target), small_episode(batch=3, target=target)
    together = observed(learner, episode)
    answers = learner.predict(together, episode.test_x)
    for index in range(3):
        single = Episode(
            **{
                field.name: None
                if (value := getattr(episode, field.name)) is None
                else value[index : index + 1]
                for field in dataclasses.fields(Episode)
            }
        )
        state = observed(learner, single)
        assert_states_near(state, rows(together, index))
        torch.testing.assert_close(
            learner.predict(state, single.test_x), answers[index : index + 1], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("target", TARGETS)
def test_a_state_keeps_its_size(target: Target):
    learner = small_learner(target=target)
    state = learner.init_state(2)
    empty = state.nbytes
    for examples, total in ((5, 5), (495, 500)):
        episode = small_episode(examples=examples, target=target)
        state = learner.observe(state, episode.train_x, episode.train_y)
        assert state.examples == total
        assert state.nbytes == empty
    # 2 streams: two layers of a window (16 x 2) and a state (16 x 4) in float32, and of a classifier
    # 8 symbols in int64 and 8 flags.
    labels = VOCAB * (8 + 1) if isinstance(target, ClassTarget) else 0
    assert empty == 2 * (2 * (16 * 2 + 16 * 4) * 4 + labels) == sum(t.nbytes for t in state.tensors())


def test_a_state_knows_the_labels_it_has_seen():
    learner = small_learner()
    state = learner.observe(learner.init_state(1), torch.randn(1, 3, DIM), torch.tensor([[6, 2, 6]]))
    assert state.seen is not None
    assert state.seen[0].nonzero().flatten().tolist() == [2, 6]


def test_a_codebook_renames_symbols_only():
    """Labels and codebook permuted alike show the learner the same stream."""
    learner, episode = small_learner(), small_episode(batch=1)
    rename = torch.randperm(VOCAB, generator=torch.Generator().manual_seed(3))  # label l becomes rename[l]
    renamed = dataclasses.replace(
        episode, train_y=rename[episode.train_y], codebook=episode.codebook[:, rename.argsort()]
    )
    answers = learner.predict(observed(learner, episode), episode.test_x)
    got = learner.predict(observed(learner, renamed), episode.test_x)
    torch.testing.assert_close(got[..., rename], answers)


def test_codebooks_are_drawn_by_seed():
    learner = small_learner()
    book = learner.init_state(3, seed=5).codebook
    assert book is not None
    assert torch.equal(book.sort(1).values, torch.arange(VOCAB).expand(3, -1))
    assert torch.equal(book[:2], learner.init_state(2, seed=5).codebook)
    assert not torch.equal(book, learner.init_state(3, seed=6).codebook)
    assert not torch.equal(book[0], book[1])


def test_states_move_copy_and_detach():
    learner, episode = small_learner(), small_episode()
    state = observed(learner, episode)
    assert all(t.device.type == "meta" for t in state.to("meta").tensors())
    copy = state.clone()
    for got, want in zip(copy.tensors(), state.tensors(), strict=True):
        assert torch.equal(got, want)
        assert got.data_ptr() != want.data_ptr()
    memory = [tensor for layer in state.layers for tensor in (layer.conv_window, layer.ssm_state)]
    assert all(tensor.requires_grad for tensor in memory)
    assert not any(tensor.requires_grad for tensor in state.detach().tensors())
    assert (state.batch_size, copy.examples) == (2, 8)


@pytest.mark.parametrize("target", TARGETS)
def test_evaluation_changes_nothing_and_draws_nothing(target: Target):
    learner, episode = small_learner(target=target).eval(), small_episode(target=target)
    before, random = tensors(learner), torch.get_rng_state()
    learner(episode)
    learner.observe(learner.init_state(2), episode.train_x, episode.train_y)
    assert_same(tensors(learner), before)
    assert torch.equal(torch.get_rng_state(), random)


def test_running_statistics_come_from_the_stream_alone():
    one, other = small_learner().train(), small_learner().train()
    episode = small_episode()
    before = tensors(one)
    one(episode)
    queries = dataclasses.replace(episode, test_x=100 * episode.test_x, test_y=episode.test_y.flip(1))
    other(queries)
    assert_same(tensors(one), tensors(other))
    changed = {name for name, tensor in tensors(one).items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if name.endswith(("running_mean", "running_var"))}
    third = small_learner().train()
    third(dataclasses.replace(episode, train_x=2 * episode.train_x))
    assert not torch.equal(tensors(third)["encoder.layers.0.norm.running_var"], before[sorted(changed)[1]])


def test_running_statistics_are_those_of_batch_norm():
    learner, episode = small_learner().train(), small_episode()
    norm = torch.nn.BatchNorm1d(6)
    norm.load_state_dict(
        {k.removeprefix("encoder.layers.0.norm."): t for k, t in tensors(learner).items() if ".0.norm." in k
         and k.startswith("encoder")},
        strict=False,
    )  # fmt: skip
    norm(episode.train_x.flatten(0, 1) @ learner.state_dict()["encoder.layers.0.linear.weight"].T)
    learner(episode)
    after = tensors(learner)
    torch.testing.assert_close(after["encoder.layers.0.norm.running_mean"], norm.running_mean)
    torch.testing.assert_close(after["encoder.layers.0.norm.running_var"], norm.running_var)


def test_queries_are_independent_in_training_too():
    learner, episode = small_learner().train(), small_episode(queries=6)
    output = learner(episode).output
    changed = torch.cat([episode.test_x[:, :3], 50 * episode.test_x[:, 3:]], 1)
    torch.testing.assert_close(
        learner(dataclasses.replace(episode, test_x=changed)).output[:, :3],
        output[:, :3],
        rtol=1e-5,
        atol=1e-6,
    )


def objective(target: Target, output: Tensor, y: Tensor) -> Tensor:
    if isinstance(target, ClassTarget):
        return F.cross_entropy(output.flatten(0, 1), y.flatten())
    if isinstance(target, VectorTarget):
        return (output - y).square().mean()
    return (1 - (output * y).sum(-1) / (output.norm(dim=-1) * y.norm(dim=-1))).mean()


@pytest.mark.parametrize("target", TARGETS)
def test_forward_in_evaluation_is_the_two_verbs_and_the_loss(target: Target):
    learner, episode = small_learner(target=target).eval(), small_episode(target=target)
    result = learner(episode)
    state = observed(learner, episode)
    output = learner.predict(state, episode.test_x)
    assert torch.equal(result.output, output)
    torch.testing.assert_close(result.objective, objective(target, output, episode.test_y))
    torch.testing.assert_close(learner.loss(output, episode.test_y), result.objective)
    assert torch.equal(result.loss, result.objective)
    assert result.penalty is None
    if state.seen is None:
        assert result.accuracy is result.vocabulary_accuracy is None
        return
    assert result.accuracy is not None
    assert result.vocabulary_accuracy is not None
    among_seen = output.masked_fill(~state.seen.unsqueeze(1), -torch.inf).argmax(-1)
    assert result.accuracy.item() == pytest.approx((among_seen == episode.test_y).float().mean().item())
    right = (output.argmax(-1) == episode.test_y).float().mean().item()
    assert result.vocabulary_accuracy.item() == pytest.approx(right)


def test_accuracy_is_among_labels_seen_and_over_the_vocabulary():
    learner = small_learner().eval()
    x, y = torch.randn(1, 4, DIM), torch.zeros(1, 4, dtype=torch.int64)
    with torch.no_grad():
        learner.get_parameter("head.weight").zero_()
        learner.get_parameter("head.bias").copy_(torch.arange(VOCAB))
    result = learner(Episode(x, y, x, y, codebook=torch.arange(VOCAB)[None]))
    assert result.accuracy.item() == 1.0
    assert result.vocabulary_accuracy.item() == 0.0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("association", ["content", "gated", "decayed"])
def test_training_reaches_every_parameter(target: Target, association: str):
    selectivity = Selectivity(association, layers="all", weight=1.0)
    learner = small_learner(target=target, selectivity=selectivity).train()
    result = learner(small_episode(target=target))
    assert result.penalty is not None
    result.loss.backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_training_learns_an_image_episode():
    """The whole path, images included: a few steps on one episode lower its loss."""
    encoder = CnnEncoder(image_size=8, channels=(4, 8))
    learner = small_learner(encoder=encoder, selectivity=None).train()
    episode = dataclasses.replace(
        small_episode(), train_x=torch.randn(2, 8, 1, 8, 8), test_x=torch.randn(2, 6, 1, 8, 8)
    )
    optimiser = torch.optim.AdamW(learner.parameter_groups(0.01), lr=1e-2)
    losses: list[float] = []
    for _ in range(25):
        loss = learner(episode).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_agree_with_finite_differences(target: Target):
    learner, episode = small_learner(target=target).double().train(), doubled(small_episode(target=target))
    assert learner(episode).loss.dtype == torch.float64
    learner(episode).loss.backward()
    for name, parameter in learner.named_parameters():
        generator = torch.Generator().manual_seed(1)
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
        assert parameter.grad is not None
        slope = (parameter.grad * direction).sum()
        own, values = parameter.detach().clone(), []
        with torch.no_grad():
            for step in (1e-4, -1e-4):
                parameter.copy_(own + step * direction)
                values.append(learner(episode).loss)
            parameter.copy_(own)
        torch.testing.assert_close(
            (values[0] - values[1]) / 2e-4,
            slope,
            rtol=1e-4,
            atol=1e-7,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_the_regulariser_has_its_weight_and_its_end():
    episode = small_episode()
    results = {
        (weight, step): small_learner(selectivity=Selectivity(weight=weight, end_step=10)).train()(
            episode, step
        )
        for weight in (0.0, 0.5, 2.0)
        for step in (0, 9, 10)
    }
    first = results[0.5, 0]
    assert first.penalty.item() > 0
    torch.testing.assert_close(first.loss, first.objective + 0.5 * first.penalty)
    torch.testing.assert_close(results[2.0, 9].loss, first.objective + 2 * first.penalty)
    for key in ((0.5, 10), (2.0, 10), (0.0, 0)):
        assert results[key].penalty is None
        torch.testing.assert_close(results[key].loss, first.objective)
    unending = small_learner(selectivity=Selectivity(weight=0.5)).train()(episode, 10**9)
    assert unending.penalty is not None
    assert small_learner(selectivity=None).train()(episode).penalty is None


def by_hand(association: Tensor, episode: Episode, selectivity: Selectivity) -> Tensor:
    """The regulariser of one layer, from its association (batch, heads, Q, tokens), in plain words."""
    stream = episode.train_y if episode.train_task is None else episode.train_task
    asked = episode.test_y if episode.test_task is None else episode.test_task
    terms: list[Tensor] = []
    for b in range(len(stream)):
        for q in range(asked.shape[1]):
            weights = association[b, 0, q]
            if selectivity.keys == "label":
                weights = weights[1::2] / weights[1::2].sum()
                same = stream[b] == asked[b, q]
            else:
                same = (stream[b] == asked[b, q]).repeat_interleave(2)
            if not same.any():
                continue
            found = weights[same]
            share = 1 / same.sum()
            terms.append(
                -found.sum().log() if selectivity.target == "mass" else (share * (share / found).log()).sum()
            )
    return torch.stack(terms).mean()


@pytest.mark.parametrize("association", ["content", "gated", "decayed"])
@pytest.mark.parametrize("target", ["mass", "uniform"])
@pytest.mark.parametrize("keys", ["all", "label"])
def test_the_regulariser_guides_the_association(association: str, target: str, keys: str):
    selectivity = Selectivity(association, target, keys)
    learner, episode = small_learner(selectivity=selectivity).train(), small_episode()
    penalty = learner(episode).penalty
    state, trace = learner.observe_traced(
        learner.init_state(codebook=episode.codebook), episode.train_x, episode.train_y
    )
    layers = learner.associate(state, episode.test_x, trace)
    assert layers[0] is None
    assert layers[1].shape == (2, 1, 6, 16)
    torch.testing.assert_close(layers[1].sum(-1), torch.ones(2, 1, 6))
    torch.testing.assert_close(penalty, by_hand(layers[1], episode, selectivity), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("layers", "taken"), [("last", [1]), ("all", [0, 1]), ((0,), [0]), ((1, 0), [0, 1])])
def test_the_regulariser_looks_at_the_layers_named(layers: str | tuple[int, ...], taken: list[int]):
    learner, episode = small_learner(selectivity=Selectivity(layers=layers)).train(), small_episode()
    state, trace = learner.observe_traced(learner.init_state(2), episode.train_x, episode.train_y)
    assert [i for i, keys in enumerate(trace.keys) if keys is not None] == taken
    rows = learner.associate(state, episode.test_x, trace)
    assert [i for i, row in enumerate(rows) if row is not None] == taken
    assert all(isinstance(keys, Keys) for keys in trace.keys if keys is not None)


def test_vector_targets_need_tasks_for_the_regulariser_only():
    target = VectorTarget(3)
    episode = dataclasses.replace(small_episode(target=target), train_task=None, test_task=None)
    assert small_learner(target=target, selectivity=None).train()(episode).loss.isfinite()
    assert small_learner(target=target).eval()(episode).loss.isfinite()


def test_threads_share_a_learner():
    learner = small_learner().eval()
    episodes = [small_episode(seed=seed) for seed in range(16)]
    alone = [learner(episode).output for episode in episodes]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda episode: learner(episode).output, episodes))
    for got, want in zip(together, alone, strict=True):
        assert torch.equal(got, want)


def test_threads_differentiate_at_once():
    """Backward runs in the engine's threads and Python's: neither may wait for the other's lock."""
    episodes = [small_episode(seed=seed) for seed in range(8)]

    def gradient(episode: Episode) -> Tensor:
        learner = small_learner().train()
        learner(episode).loss.backward()
        return learner.get_parameter("backbone.layers.0.mixer.A_log").grad

    alone = [gradient(episode) for episode in episodes]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(gradient, episodes))
    for got, want in zip(together, alone, strict=True):
        assert torch.equal(got, want)


def test_backward_runs_python_hooks():
    learner, called = small_learner().train(), []
    parameter = learner.get_parameter("encoder.layers.0.linear.weight")
    parameter.register_hook(lambda gradient: called.append(gradient.shape))
    learner(small_episode()).loss.backward()
    assert called == [parameter.shape]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_continues_its_own_state(dtype: torch.dtype):
    learner = small_learner().eval().to(dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, DIM, generator=generator)
    y = torch.randint(VOCAB, (2, 6), generator=generator)
    with torch.no_grad():
        state = learner.observe(learner.init_state(2), x[:, :3].to(dtype), y[:, :3])
        state = learner.observe(state, x[:, 3:].to(dtype), y[:, 3:])
        assert {tensor.dtype for layer in state.layers for tensor in layer} == {torch.float32}
        halved = learner.predict(state, x.to(dtype))
        plain = small_learner().eval()
        expected = plain.predict(plain.observe(plain.init_state(2), x, y), x)
    assert halved.dtype == dtype
    torch.testing.assert_close(halved.float(), expected, rtol=0.1, atol=0.1)


def test_inputs_far_from_zero_are_normalised_as_well():
    """In training an offset of the inputs changes nothing; sums of squares in float32 would lose it."""
    learner = small_learner().train()
    x = torch.randn(2, 8, DIM, generator=torch.Generator().manual_seed(0))
    y = torch.arange(8).expand(2, 8) % VOCAB
    with torch.no_grad():
        _, near = learner.observe_traced(learner.init_state(2), x, y)
        _, far = learner.observe_traced(learner.init_state(2), x + 1000, y)
    torch.testing.assert_close(far.moments[0][1], near.moments[0][1], rtol=2e-3, atol=1e-5)


def test_one_kind_of_tasks_without_the_other_is_refused():
    learner = small_learner().train()
    episode = dataclasses.replace(small_episode(), test_task=None)
    task = torch.zeros_like(episode.train_y)
    with pytest.raises(InvalidValueError, match="`test_task` must be given, as `train_task` is"):
        learner(dataclasses.replace(episode, train_task=task))
