"""What does not fit is refused: by an exception that says which argument, what it must be and what came."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mambacl
from mambacl import (
    CnnEncoder,
    Episode,
    Learner,
    LearnerState,
    MambaMixer,
    Selectivity,
    SequenceConfig,
    VectorEncoder,
    VectorTarget,
    errors,
)
from mambacl.config import ClassTarget
from mambacl.errors import ConfigError, DeviceError, DtypeError, InvalidValueError, ShapeError
from small_learners import (
    CONFIG,
    DIM,
    VOCAB,
    assert_same,
    small_config,
    small_episode,
    small_learner,
    tensors,
)

LEARNER = small_learner().eval()
VECTOR_LEARNER = small_learner(target=VectorTarget(3)).eval()
X = torch.zeros(2, 4, DIM)
Y = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
VECTORS = torch.zeros(2, 4, 3)
BOOK = torch.arange(VOCAB).repeat(2, 1)
NAN = torch.full((2, 4, DIM), torch.nan)

BAD_INPUTS = [
    (X[..., :4], ShapeError, "`x` must have shape (batch = 2, n >= 1, 5), got [2, 4, 4]"),
    (X[0], ShapeError, "`x` must have shape (batch = 2, n >= 1, 5), got [4, 5]"),
    (X[:1], ShapeError, "`x` must have shape (batch = 2, n >= 1, 5), got [1, 4, 5]"),
    (X[:, :0], ShapeError, "`x` must have shape (batch = 2, n >= 1, 5), got [2, 0, 5]"),
    (torch.tensor(1.0), ShapeError, "`x` must have shape (batch = 2, n >= 1, 5), got []"),
    (X.double(), DtypeError, "`x` must have dtype float32, as the model's parameters, got float64"),
    (X.long(), DtypeError, "`x` must have dtype float32, as the model's parameters, got int64"),
    (X.bool(), DtypeError, "`x` must have dtype float32, as the model's parameters, got bool"),
    (X.to(torch.complex64), DtypeError, "`x` must have dtype float32, as the model's parameters, got "),
    (X.to("meta"), DeviceError, "`x` must be on device cpu, as `parameters`, got meta"),
    (NAN, InvalidValueError, "`x` must be finite numbers, got NaN or infinity"),
    (X + torch.inf, InvalidValueError, "`x` must be finite numbers, got NaN or infinity"),
    (X.tolist(), TypeError, "`x` must be a torch.Tensor, got list"),
    (X.numpy(), TypeError, "`x` must be a torch.Tensor, got ndarray"),
    (None, TypeError, "`x` must be a torch.Tensor, got NoneType"),
]

BAD_LABELS = [
    (Y[:, :3], ShapeError, "`y` must have shape (batch, n) = (2, 4), as `x`, got [2, 3]"),
    (Y[:1], ShapeError, "`y` must have shape (batch, n) = (2, 4), as `x`, got [1, 4]"),
    (Y.unsqueeze(-1), ShapeError, "`y` must have shape (batch, n) = (2, 4), as `x`, got [2, 4, 1]"),
    (Y.float(), DtypeError, "`y` must have dtype int64, got float32"),
    (Y.int(), DtypeError, "`y` must have dtype int64, got int32"),
    (Y.to("meta"), DeviceError, "`y` must be on device cpu, as `parameters`, got meta"),
    (Y + 6, InvalidValueError, "`y` must be labels in [0, 8), the vocabulary, got labels from 6 to 9"),
    (Y - 1, InvalidValueError, "`y` must be labels in [0, 8), the vocabulary, got labels from -1 to 2"),
    (Y.tolist(), TypeError, "`y` must be a torch.Tensor, got list"),
]

BAD_VECTORS = [
    (VECTORS[..., :2], ShapeError, "`y` must have shape (batch, n, dim) = (2, 4, 3), got [2, 4, 2]"),
    (Y, ShapeError, "`y` must have shape (batch, n, dim) = (2, 4, 3), got [2, 4]"),
    (VECTORS.long(), DtypeError, "`y` must have dtype float32, as the model's parameters, got int64"),
    (VECTORS + torch.nan, InvalidValueError, "`y` must be finite numbers, got NaN or infinity"),
]


def refuses(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=re.escape(message)) as caught:
        call()
    assert len(str(caught.value)) < 300  # a sentence, and no trace of C++


def streams(learner: Learner, batch: int = 2) -> LearnerState:
    """A state that has seen examples."""
    return dataclasses.replace(learner.init_state(batch), examples=4)


@pytest.mark.parametrize(("x", "error", "message"), BAD_INPUTS)
def test_bad_inputs(x: Any, error: type[Exception], message: str):
    state = LEARNER.init_state(2)
    refuses(error, f"observe: argument {message}", lambda: LEARNER.observe(state, x, Y))
    refuses(error, f"observe: argument {message}", lambda: LEARNER.observe_traced(state, x, Y))
    state, trace = LEARNER.observe_traced(state, X, Y)
    refuses(error, f"predict: argument {message}", lambda: LEARNER.predict(state, x))
    refuses(error, "predict: argument `x` must ", lambda: LEARNER.predict(state, x, chunk_size=2))
    refuses(error, message, lambda: LEARNER.associate(state, x, trace))


@pytest.mark.parametrize("learner", [LEARNER, VECTOR_LEARNER])
def test_predict_before_observe(learner: Learner):
    message = "predict: argument `state` must be a state that has observed examples, got an initial state"
    refuses(InvalidValueError, message, lambda: learner.predict(learner.init_state(2), X))


@pytest.mark.parametrize(
    ("learner", "y", "error", "message"),
    [(LEARNER, *rest) for rest in BAD_LABELS] + [(VECTOR_LEARNER, *rest) for rest in BAD_VECTORS],
)
def test_bad_targets(learner: Learner, y: Any, error: type[Exception], message: str):
    state = learner.init_state(2)
    refuses(error, f"observe: argument {message}", lambda: learner.observe(state, X, y))
    refuses(error, f"observe: argument {message}", lambda: learner.observe_traced(state, X, y))


def test_refused_examples_leave_the_running_statistics():
    learner = small_learner().train()
    before = tensors(learner)
    refuses(InvalidValueError, "`y`", lambda: learner.observe_traced(learner.init_state(2), X, Y + 6))
    refuses(InvalidValueError, "`x`", lambda: learner.observe_traced(learner.init_state(2), NAN, Y))
    assert_same(tensors(learner), before)


@pytest.mark.parametrize(
    ("codebook", "error", "message"),
    [
        (torch.zeros_like(BOOK), InvalidValueError, "must be a permutation of 0..8 in each row, got "),
        (BOOK + 1, InvalidValueError, "must be a permutation of 0..8 in each row, got "),
        (BOOK[:, :7], ShapeError, "must have shape (batch, vocab = 8), got [2, 7]"),
        (BOOK[0], ShapeError, "must have shape (batch, vocab = 8), got [8]"),
        (BOOK[0, 0], ShapeError, "must have shape (batch, vocab = 8), got []"),
        (BOOK.float(), DtypeError, "must have dtype int64, got float32"),
        (BOOK.to("meta"), DeviceError, "must be on device cpu, as `parameters`, got meta"),
        (BOOK.tolist(), TypeError, "must be a torch.Tensor or None, got list"),
    ],
)
def test_bad_codebooks(codebook: Any, error: type[Exception], message: str):
    refuses(
        error, f"init_state: argument `codebook` {message}", lambda: LEARNER.init_state(codebook=codebook)
    )


@pytest.mark.parametrize("learner", [LEARNER, VECTOR_LEARNER])
@pytest.mark.parametrize("batch_size", [0, -1])
def test_bad_batch_sizes(learner: Learner, batch_size: int):
    message = f"init_state: argument `batch_size` must be at least 1, got {batch_size}"
    refuses(InvalidValueError, message, lambda: learner.init_state(batch_size))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_bad_seeds(seed: int):
    message = f"argument `seed` must be from 0 to 2^64 - 1, got {seed}"
    refuses(InvalidValueError, message, lambda: Learner(CONFIG, seed=seed))
    refuses(InvalidValueError, message, lambda: LEARNER.init_state(seed=seed))


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_bad_chunk_sizes(chunk_size: int):
    message = f"predict: argument `chunk_size` must be at least 1, got {chunk_size}"
    refuses(InvalidValueError, message, lambda: LEARNER.predict(streams(LEARNER), X, chunk_size=chunk_size))


@pytest.mark.parametrize("state", [None, (4, []), "state"])
def test_what_is_no_state(state: Any):
    message = f"argument `state` must be of type LearnerState, got {type(state).__name__}"
    refuses(TypeError, f"observe: {message}", lambda: LEARNER.observe(state, X, Y))
    refuses(TypeError, f"predict: {message}", lambda: LEARNER.predict(state, X))


def test_states_on_another_device():
    message = "argument `state` must be on device cpu, as `parameters`, got meta"
    state = streams(LEARNER).to("meta")
    refuses(DeviceError, f"observe: {message}", lambda: LEARNER.observe(state, X, Y))
    refuses(DeviceError, f"predict: {message}", lambda: LEARNER.predict(state, X))


def foreign(**changes: Any) -> LearnerState:
    return streams(Learner(small_config(**changes)))


def of_double() -> LearnerState:
    return streams(Learner(CONFIG).double())


def mixed_batch() -> LearnerState:
    """Two streams' labels and one stream's memory: never made by a learner."""
    return dataclasses.replace(streams(LEARNER), layers=streams(LEARNER, 1).layers)


def symbol_out_of_range() -> LearnerState:
    return dataclasses.replace(streams(LEARNER), codebook=BOOK + 1)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: foreign(mixer=MambaMixer(d_state=5, d_conv=3)), ShapeError),
        (lambda: foreign(mixer=MambaMixer(d_state=4, d_conv=4)), ShapeError),
        (lambda: foreign(d_model=16), ShapeError),
        (of_double, DtypeError),
    ],
)
def test_states_of_another_learner(make: Callable[[], LearnerState], error: type[Exception]):
    state = make()
    refuses(error, " must have ", lambda: LEARNER.observe(state, X, Y))
    refuses(error, " must have ", lambda: LEARNER.predict(state, X))


def test_a_state_of_another_depth():
    state = foreign(n_layer=3)
    refuses(ConfigError, "`state", lambda: LEARNER.observe(state, X, Y))
    refuses(ConfigError, "`state", lambda: LEARNER.predict(state, X))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: foreign(target=VectorTarget(3)), ConfigError),
        (lambda: foreign(target=ClassTarget(9)), ShapeError),
        (lambda: foreign(target=ClassTarget(4)), ShapeError),
        (mixed_batch, ShapeError),
        (symbol_out_of_range, InvalidValueError),
    ],
)
def test_states_that_fit_no_learner(make: Callable[[], LearnerState], error: type[Exception]):
    state = make()
    refuses(error, "`state", lambda: LEARNER.observe(state, X, Y))
    refuses(error, "`state", lambda: LEARNER.predict(state, X))


def test_bad_traces():
    state, trace = LEARNER.observe_traced(LEARNER.init_state(2), X, Y)
    short = dataclasses.replace(trace, moments=trace.moments[:1])
    refuses(
        ConfigError,
        "`trace` has fewer moments than the encoder has norms",
        lambda: LEARNER.predict(state, X, short),
    )
    refuses(
        TypeError,
        "associate: argument `trace` must be of type Trace, got NoneType",
        lambda: LEARNER.associate(state, X, None),  # pyright: ignore[reportArgumentType]
    )


EPISODE = Episode(X, Y, X, Y, BOOK)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"train_x": X[:, :0], "train_y": Y[:, :0]},
            ShapeError,
            "`x` must have shape (batch = 2, n >= 1, 5)",
        ),
        ({"test_x": X[:, :0], "test_y": Y[:, :0]}, ShapeError, "`x` must have shape (batch = 2, n >= 1, 5)"),
        ({"train_x": X[:0], "train_y": Y[:0]}, InvalidValueError, "`batch` must be at least 1, got 0"),
        ({"train_x": NAN}, InvalidValueError, "observe: argument `x` must be finite numbers"),
        ({"test_x": NAN}, InvalidValueError, "predict: argument `x` must be finite numbers"),
        ({"train_y": Y + 6}, InvalidValueError, "observe: argument `y` must be labels in [0, 8)"),
        ({"test_y": Y + 6}, InvalidValueError, "argument `y` must be labels in [0, 8)"),
        ({"test_y": Y.float()}, DtypeError, "argument `y` must have dtype int64, got float32"),
        ({"test_y": Y[:1]}, ShapeError, "argument `y` must have shape (batch, n) = (2, 4)"),
        ({"test_x": X[:1]}, ShapeError, "predict: argument `x` must have shape (batch = 2,"),
        ({"codebook": BOOK[:1]}, ShapeError, "argument `codebook` must have shape (batch = 2, vocab = 8)"),
        ({"codebook": BOOK[:, :0]}, ShapeError, "argument `codebook` must have shape (batch, vocab = 8)"),
        ({"codebook": BOOK.tolist()}, TypeError, "`codebook` must be a torch.Tensor or None, got list"),
        ({"train_x": None}, TypeError, "Learner: argument `train_x` must be a torch.Tensor, got NoneType"),
        ({"test_y": Y.to("meta")}, DeviceError, "Learner: argument `test_y` must be on device cpu"),
        ({"train_task": Y.to("meta")}, DeviceError, "Learner: argument `train_task` must be on device cpu"),
    ],
)
def test_bad_episodes(mode: bool, changes: dict[str, Any], error: type[Exception], message: str):
    learner = small_learner().train(mode)
    refuses(error, message, lambda: learner(dataclasses.replace(EPISODE, **changes)))


def test_queries_and_answers_of_other_lengths():
    episode = dataclasses.replace(EPISODE, test_y=Y[:, :3])
    message = "argument `y` must have shape (batch, n) = (2, 4), as `x`, got [2, 3]"
    refuses(ShapeError, message, lambda: small_learner().eval()(episode))
    refuses(ShapeError, message, lambda: small_learner().train()(episode))


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (Y[:, :3], ShapeError),
        (Y[:1], ShapeError),
        (Y.float(), DtypeError),
    ],
)
@pytest.mark.parametrize("name", ["train_task", "test_task"])
def test_bad_tasks(name: str, task: torch.Tensor, error: type[Exception]):
    episode = dataclasses.replace(EPISODE, **{name: task})
    refuses(error, f"`{name}`", lambda: small_learner().train()(episode))


def test_a_regulariser_of_vectors_without_tasks():
    target = VectorTarget(3)
    episode = dataclasses.replace(small_episode(target=target), train_task=None, test_task=None)
    message = "`selectivity` needs tasks for vector targets: give `train_task` and `test_task`"
    refuses(ConfigError, message, lambda: small_learner(target=target).train()(episode))


def test_what_is_no_episode():
    refuses(TypeError, "`episode` must be of type Episode, got NoneType", lambda: LEARNER(None))
    refuses(TypeError, "`episode` must be of type Episode, got tuple", lambda: LEARNER((X, Y, X, Y)))


@pytest.mark.parametrize(
    ("learner", "output", "y", "error", "message"),
    [
        (LEARNER, X, Y[:, :3], ShapeError, "`y` must have shape [2, 4], as `output` [2, 4, 5], got [2, 3]"),
        (LEARNER, X[0], Y[0], ShapeError, "`y` must have shape"),
        (VECTOR_LEARNER, VECTORS, VECTORS[..., :1], ShapeError, "must have shape [2, 4, 3], as `output`"),
        (VECTOR_LEARNER, VECTORS, VECTORS[:1], ShapeError, "must have shape [2, 4, 3], as `output`"),
        (LEARNER, X, Y.to("meta"), DeviceError, "`y` must be on device cpu"),
        (LEARNER, X, None, TypeError, "`y` must be a torch.Tensor, got NoneType"),
    ],
)
def test_bad_arguments_of_the_loss(
    learner: Learner, output: Any, y: Any, error: type[Exception], message: str
):
    refuses(error, message, lambda: learner.loss(output, y))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"d_model": 0}, "d_model"),
        ({"n_layer": 0}, "n_layer"),
        ({"n_layer": -2}, "n_layer"),
        ({"mixer": MambaMixer(d_state=0)}, "mixer.d_state"),
        ({"mixer": MambaMixer(d_conv=0)}, "mixer.d_conv"),
        ({"mixer": MambaMixer(expand=0)}, "mixer.expand"),
        ({"mixer": MambaMixer(dt_rank=0)}, "mixer.dt_rank"),
        ({"mixer": MambaMixer(dt_min=0.0)}, "mixer.dt_min"),
        ({"mixer": MambaMixer(dt_min=0.2)}, "mixer.dt_min"),
        ({"mixer": MambaMixer(dt_min=float("nan"))}, "mixer.dt_min"),
        ({"mixer": MambaMixer(dt_max=float("inf"))}, "mixer.dt_max"),
        ({"encoder": VectorEncoder(0)}, "encoder.dim"),
        ({"encoder": VectorEncoder(5, hidden=(0,))}, "encoder.hidden"),
        ({"encoder": CnnEncoder(channels=())}, "encoder.channels"),
        ({"encoder": CnnEncoder(channels=(4, 0))}, "encoder.channels"),
        ({"encoder": CnnEncoder(in_channels=0)}, "encoder.in_channels"),
        ({"encoder": CnnEncoder(image_size=0)}, "encoder.image_size"),
        ({"target": ClassTarget(0)}, "target.vocab"),
        ({"target": VectorTarget(0)}, "target.dim"),
        ({"selectivity": Selectivity(weight=-0.5)}, "selectivity.weight"),
        ({"selectivity": Selectivity(weight=float("nan"))}, "selectivity.weight"),
        ({"selectivity": Selectivity(layers=(2,))}, "selectivity.layers"),
        ({"selectivity": Selectivity(layers=())}, "selectivity.layers"),
        ({"d_model": torch.tensor(8)}, "d_model"),
        ({"encoder": VectorEncoder(5, hidden=(torch.tensor(3),))}, "encoder.hidden"),  # pyright: ignore
    ],
)
def test_bad_settings(changes: dict[str, Any], field: str):
    refuses(ConfigError, f"configuration: `{field}` must ", lambda: Learner(small_config(**changes)))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"selectivity": Selectivity(association="attention")}, "selectivity.association"),  # pyright: ignore
        ({"selectivity": Selectivity(target="most")}, "selectivity.target"),  # pyright: ignore
        ({"selectivity": Selectivity(keys="values")}, "selectivity.keys"),  # pyright: ignore
        ({"selectivity": Selectivity(layers="first")}, "selectivity.layers"),  # pyright: ignore
        ({"selectivity": Selectivity(layers=(-1,))}, "selectivity.layers"),
        ({"selectivity": Selectivity(end_step=1.5)}, "selectivity.end_step"),  # pyright: ignore
        ({"d_model": 8.0}, "d_model"),
        ({"d_model": "8"}, "d_model"),
        ({"encoder": None}, "encoder"),
        ({"encoder": CnnEncoder(channels=("4",))}, "encoder"),  # pyright: ignore
        ({"target": VectorEncoder(5)}, "target"),
    ],
)
def test_settings_of_a_wrong_type(changes: dict[str, Any], field: str):
    refuses(ConfigError, f"configuration: `{field}", lambda: Learner(small_config(**changes)))


def test_every_exception_is_of_one_family_and_a_builtin():
    family = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    builtin = {name: error.__mro__[2].__name__ for name, error in family.items() if name != "MambaclError"}
    want = {
        "ShapeError": "ValueError",
        "DtypeError": "TypeError",
        "DeviceError": "ValueError",
        "InvalidValueError": "ValueError",
        "ConfigError": "ValueError",
        "DataError": "ValueError",
        "NonFiniteError": "ArithmeticError",
        "KernelError": "RuntimeError",
        "TorchError": "RuntimeError",
    }
    # Raised in this file: the first five. DataError in test_episodes.py, NonFiniteError in test_train.py.
    # KernelError, of what CUDA's compiler or driver says, in test_cuda_without_gpu.py; it stands also for a
    # panic inside a kernel, which nothing from outside is known to cause.
    assert want.items() <= builtin.items()
    assert all(issubclass(error, errors.MambaclError) for error in family.values())


def test_an_error_of_torch_is_one_of_ours():
    with pytest.raises(errors.TorchError, match="out of bounds"):
        LEARNER.loss(X, Y + 90)


ODD = [
    torch.empty(0),
    torch.tensor(1.0),
    torch.zeros(2, 0, DIM),
    torch.zeros(0, 4, DIM),
    torch.zeros(2, 4, 0),
    torch.zeros(2, 4, DIM, 1),
    X.long(),
    X.half(),
    X.to(torch.complex64),
    X.to("meta"),
    X.to_sparse(),
    Y,
    Y.float(),
    Y - 5,
    NAN,
    None,
    3,
    "x",
    [X],
]


@pytest.mark.filterwarnings("ignore")  # of sparse tensors, which torch calls unfinished
def test_no_odd_argument_ends_in_a_panic():
    """`PanicException` is a `BaseException`: nothing but an `Exception` may come out."""
    state, trace = LEARNER.observe_traced(LEARNER.init_state(2), X, Y)
    for odd in ODD:
        replaced = [
            {name: odd}
            for name in ("train_x", "train_y", "test_x", "test_y", "codebook", "train_task", "test_task")
        ]
        calls: list[Callable[[], Any]] = [
            lambda odd=odd: LEARNER.init_state(codebook=odd),
            lambda odd=odd: LEARNER.init_state(odd),
            lambda odd=odd: LEARNER.observe(state, odd, Y),
            lambda odd=odd: LEARNER.observe(state, X, odd),
            lambda odd=odd: LEARNER.observe(odd, X, Y),
            lambda odd=odd: LEARNER.observe_traced(state, odd, odd),
            lambda odd=odd: LEARNER.predict(state, odd),
            lambda odd=odd: LEARNER.predict(state, X, odd),
            lambda odd=odd: LEARNER.associate(state, odd, trace),
            lambda odd=odd: LEARNER.loss(odd, Y),
            lambda odd=odd: LEARNER.loss(X, odd),
            lambda odd=odd: LEARNER.observe(dataclasses.replace(state, codebook=odd), X, Y),
            lambda odd=odd: LEARNER.predict(dataclasses.replace(state, seen=odd, layers=()), X),
            lambda odd=odd: Learner(SequenceConfig(d_model=odd)),
            lambda odd=odd: Learner(odd),
            *(
                lambda change=change, mode=mode: small_learner().train(mode)(
                    dataclasses.replace(EPISODE, **change)
                )
                for change in replaced
                for mode in (True, False)
            ),
        ]
        for call in calls:
            with contextlib.suppress(Exception):
                call()


def test_a_learner_is_whole_after_refusals():
    learner = small_learner().eval()
    want = learner(EPISODE).output
    for change in ({"train_x": NAN}, {"test_y": Y + 90}):
        with pytest.raises(mambacl.errors.MambaclError):
            learner(dataclasses.replace(EPISODE, **change))
    assert torch.equal(learner(EPISODE).output, want)
