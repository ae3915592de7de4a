"""Mamba (arXiv:2312.00752) as a layer, with the constructor and parameter names of `mamba_ssm.Mamba`.

Weights of mamba-ssm and of transformers' `MambaMixer` can be loaded by name.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambacl.errors import ConfigError, ShapeError
from mambacl.nn.children import convolve, is_causal_convolution, is_its_weights, project
from mambacl.ops import causal_conv1d, selective_scan


class MambaState(NamedTuple):
    """All that a Mamba layer keeps of the tokens it has read.

    Attributes:
        conv_window: The last d_conv - 1 inputs of the convolution, (groups, d_inner, d_conv - 1).
        ssm_state: The state h of the recurrence, (groups, d_inner, d_state).
    """

    conv_window: Tensor
    ssm_state: Tensor


class Mamba(nn.Module):
    """A selective state-space model as a sequence mixer: section 3.4 of Mamba (arXiv:2312.00752).

        x, z = in_proj(tokens)
        u = silu(conv1d(x))
        delta, B, C = x_proj(u);  delta = softplus(dt_proj(delta))
        tokens' = out_proj(selective_scan(u, delta, -exp(A_log), B, C, D, z))

    The scan computes in float32 at least, whatever the dtype of the layer.

    What stands in a child's place takes part: an adapter (LoRA), a wrapper, a parametrization, a dynamically
    quantised module, hooks. A plain `conv1d` or `dt_proj` is computed within the fused operations; any other
    is called, as the projections always are. In place of `conv1d` may stand what gives (batch, d_inner,
    n + d_conv - 1) for (batch, d_inner, n), causally, from d_conv inputs each; it sees the inputs kept in the
    state in front of a continued sequence.

    `torch.func` works, by the kernels in reverse mode and under vmap; see `mambacl.ops.selective_scan`.
    `torch.onnx.export` writes torch's own operations, a loop over time that is unrolled: the file is for the
    length of the example. A module that reads one token with `state` and `return_state` goes on from call to
    call.

    Args:
        d_model: Width of a token.
        d_state: States of a channel.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        dt_rank: Rank of delta's projection; "auto" is d_model / 16, rounded up.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        dt_init: "random" or "constant" weights of delta's projection at the start.
        dt_scale: Scale of those weights.
        dt_init_floor: Step sizes at the start are at least this.
        conv_bias: Whether the convolution has a bias.
        bias: Whether the input and output projections have one.
        use_fast_path: Taken for mamba-ssm's sake; there is one path here.
        layer_idx: Which entry of a cache is this layer's; needed with `inference_params` only.
        device: Where parameters lie.
        dtype: Their type; A_log and D stay float32 unless it is float64.

    Raises:
        ConfigError: If a setting is out of range.

    Examples:
        >>> import torch
        >>> from mambacl.nn import Mamba
        >>> layer, tokens = Mamba(d_model=8), torch.randn(2, 5, 8)
        >>> layer(tokens).shape
        torch.Size([2, 5, 8])
        >>> first, state = layer(tokens[:, :3], return_state=True)
        >>> rest = layer(tokens[:, 3:], state=state)
        >>> torch.allclose(torch.cat([first, rest], 1), layer(tokens), rtol=1e-4, atol=1e-6)
        True
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: float = 2,
        dt_rank: int | Literal["auto"] = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init: str = "random",
        dt_scale: float = 1.0,
        dt_init_floor: float = 1e-4,
        conv_bias: bool = True,
        bias: bool = False,
        use_fast_path: bool = True,
        layer_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_state = d_state
        self.d_conv = d_conv
        self.expand = expand
        self.d_inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        self.use_fast_path = use_fast_path
        self.layer_idx = layer_idx
        for name in ("d_model", "d_state", "d_conv", "d_inner", "dt_rank"):
            size = getattr(self, name)
            if size < 1:
                raise ConfigError(f"Mamba: `{name}` must be at least 1, got {size}")
        if not 0 < dt_min <= dt_max < math.inf:
            raise ConfigError(f"Mamba: `dt_min` must lie in (0, dt_max = {dt_max}], got {dt_min}")
        if dt_init not in ("random", "constant"):
            raise ConfigError(f'Mamba: `dt_init` must be "random" or "constant", got {dt_init!r}')

        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=bias, **factory)
        # Holds the taps under their upstream names and shapes.
        self.conv1d = nn.Conv1d(
            self.d_inner,
            self.d_inner,
            d_conv,
            groups=self.d_inner,
            padding=d_conv - 1,
            bias=conv_bias,
            **factory,
        )
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + 2 * d_state, bias=False, **factory)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner, bias=True, **factory)
        dtype = self.x_proj.weight.dtype  # torch's default when None was given
        rates = torch.arange(1, d_state + 1, device=device, dtype=_at_least_float32(dtype))
        self.A_log = nn.Parameter(rates.log().repeat(self.d_inner, 1))
        self.D = nn.Parameter(torch.ones(self.d_inner, device=device, dtype=rates.dtype))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias, **factory)

        self._initialise_dt(dt_min, dt_max, dt_init, dt_scale, dt_init_floor)
        # Marks that training loops written for mamba-ssm look for.
        for parameter, mark in (
            (self.A_log, "_no_weight_decay"),
            (self.D, "_no_weight_decay"),
            (self.dt_proj.bias, "_no_reinit"),
        ):
            setattr(parameter, mark, True)

    @torch.no_grad()
    def _initialise_dt(self, low: float, high: float, scheme: str, scale: float, floor: float) -> None:
        """Step sizes log-uniform in [low, high]: dt_proj.bias is their inverse through softplus."""
        std = scale * self.dt_rank**-0.5
        if scheme == "constant":
            self.dt_proj.weight.fill_(std)
        else:
            self.dt_proj.weight.uniform_(-std, std)
        bias = self.dt_proj.bias
        uniform = torch.rand(self.d_inner, device=bias.device, dtype=_at_least_float32(bias.dtype))
        dt = torch.exp(uniform * (math.log(high) - math.log(low)) + math.log(low)).clamp(min=floor)
        bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    @overload
    def forward(
        self,
        hidden_states: Tensor,
        inference_params: Any = None,
        *,
        state: MambaState | None = None,
        return_state: Literal[False] = False,
        lengths: Tensor | None = None,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        hidden_states: Tensor,
        inference_params: Any = None,
        *,
        state: MambaState | None = None,
        return_state: Literal[True],
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, MambaState]: ...

    def forward(
        self,
        hidden_states: Tensor,
        inference_params: Any = None,
        state: MambaState | None = None,
        return_state: bool = False,
        lengths: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, MambaState]:
        """Reads a sequence, and answers at each of its tokens.

        Args:
            hidden_states: Tokens, (batch, length, d_model).
            inference_params: mamba-ssm's cache: an object with `key_value_memory_dict`, which maps
                `layer_idx` to the tensors of `allocate_inference_cache`, and `seqlen_offset`, 0 at the
                start of a sequence. The cache is updated in place.
            state: What was read before, of `groups` sequences where batch = groups x g: sequence i
                continues state i // g. Nothing when absent. Left as it was.
            return_state: Whether to return the state after the last token too.
            lengths: Real length of each sequence, (batch) int64. Finite padding beyond changes nothing
                (in_proj's gradient would carry NaN along).

        Returns:
            Tokens, (batch, length, d_model); with `return_state` the pair of them and the state of `batch`
            sequences, float32 or float64. Beyond a sequence's length the tokens are out_proj's bias, or 0.

        Raises:
            ShapeError: If the tokens or the state have another shape.
            ConfigError: If `inference_params` comes together with explicit states, or has no entry for
                the layer.
        """
        if inference_params is not None:
            if state is not None or return_state or lengths is not None:
                raise ConfigError("Mamba: `inference_params` excludes `state`, `return_state` and `lengths`")
            conv_state, ssm_state = self._cached(hidden_states, inference_params)
            if inference_params.seqlen_offset == 0:
                conv_state.zero_()
                ssm_state.zero_()
            return self._advance(hidden_states, conv_state, ssm_state)
        x, z = self._project(hidden_states)
        # A tensor when torch's exporter to ONNX by TorchScript passes the defaults.
        y, state = self._mix(x, z, state, lengths, bool(return_state))
        return (y, state) if state is not None else y

    def step(
        self, hidden_states: Tensor, conv_state: Tensor, ssm_state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reads one token of each sequence and updates the given states in place, as mamba-ssm's `step`.

        Args:
            hidden_states: Tokens, (batch, 1, d_model).
            conv_state: The last d_conv inputs of the convolution, (batch, d_inner, d_conv).
            ssm_state: State of the scan, (batch, d_inner, d_state).

        Returns:
            Tokens, (batch, 1, d_model), and the two states given.

        Raises:
            ShapeError: If there is not one token, or a shape does not fit.

        Examples:
            >>> import torch
            >>> from mambacl.nn import Mamba
            >>> layer = Mamba(d_model=8)
            >>> states = layer.allocate_inference_cache(batch_size=2, max_seqlen=5)
            >>> token, *states = layer.step(torch.randn(2, 1, 8), *states)
            >>> token.shape
            torch.Size([2, 1, 8])
        """
        if hidden_states.dim() != 3 or hidden_states.shape[1] != 1:
            raise ShapeError(
                "Mamba.step: argument `hidden_states` must have shape (batch, 1, d_model), "
                f"got {list(hidden_states.shape)}"
            )
        return self._advance(hidden_states, conv_state, ssm_state), conv_state, ssm_state

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: torch.dtype | None = None, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Empty states for `step`, as mamba-ssm's.

        Args:
            batch_size: Number of sequences.
            max_seqlen: Taken for mamba-ssm's sake; the states do not grow.
            dtype: Type of the states; those of `conv1d.weight` and `dt_proj.weight` when absent.
            **kwargs: Taken for mamba-ssm's sake.

        Returns:
            conv_state, (batch, d_inner, d_conv), and ssm_state, (batch, d_inner, d_state): zeros.
        """
        conv, dt = (self._floating_of(child) for child in (self.conv1d, self.dt_proj))
        conv_state = conv.new_zeros((batch_size, self.d_inner, self.d_conv), dtype=dtype or conv.dtype)
        ssm_state = dt.new_zeros((batch_size, self.d_inner, self.d_state), dtype=dtype or dt.dtype)
        return conv_state, ssm_state

    def _floating_of(self, child: nn.Module) -> Tensor:
        """A child's weight; the layer's D where it has none, as when it is quantised."""
        weight = getattr(child, "weight", None)
        for tensor in (weight, *child.parameters()):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                return tensor
        return self.D

    def _cached(self, hidden_states: Tensor, inference_params: Any) -> tuple[Tensor, Tensor]:
        """This layer's tensors of a cache, made when the layer first asks."""
        if self.layer_idx is None:
            raise ConfigError("Mamba: `inference_params` needs a layer with a `layer_idx`")
        caches: dict[int, tuple[Tensor, Tensor]] = inference_params.key_value_memory_dict
        if self.layer_idx not in caches:
            if inference_params.seqlen_offset != 0:
                raise ConfigError(
                    f"Mamba: `inference_params` has no entry for layer {self.layer_idx} in mid-sequence"
                )
            caches[self.layer_idx] = self.allocate_inference_cache(hidden_states.shape[0], 0)
        return caches[self.layer_idx]

    def _advance(self, hidden_states: Tensor, conv_state: Tensor, ssm_state: Tensor) -> Tensor:
        """Reads tokens from mamba-ssm's two states, which are updated in place."""
        x, z = self._project(hidden_states)
        batch = hidden_states.shape[0]
        for name, given, width in (
            ("conv_state", conv_state, self.d_conv),
            ("ssm_state", ssm_state, self.d_state),
        ):
            if given.shape != (batch, self.d_inner, width):
                raise ShapeError(
                    f"Mamba: argument `{name}` must have shape {(batch, self.d_inner, width)}, "
                    f"got {list(given.shape)}"
                )
        # Copies: the graph of the backward pass must not hold what is overwritten below.
        state = MambaState(conv_state[:, :, 1:].clone(), ssm_state.clone())
        y, state = self._mix(x, z, state, None, return_state=True)
        assert state is not None
        conv_state.copy_(torch.cat([conv_state, x.transpose(1, 2)], dim=-1)[:, :, -self.d_conv :])
        ssm_state.copy_(state.ssm_state)
        return y

    def _project(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        if hidden_states.is_nested:
            raise ShapeError(
                "Mamba: argument `hidden_states` must be a padded tensor, with `lengths`, got a nested one"
            )
        if hidden_states.dim() != 3 or hidden_states.shape[2] != self.d_model:
            raise ShapeError(
                "Mamba: argument `hidden_states` must have shape (batch, length, d_model) = "
                f"(batch, length, {self.d_model}), got {list(hidden_states.shape)}"
            )
        x, z = project("in_proj", self.in_proj, hidden_states, 2 * self.d_inner).chunk(2, dim=-1)
        return x, z

    def _mix(
        self, x: Tensor, z: Tensor, state: MambaState | None, lengths: Tensor | None, return_state: bool
    ) -> tuple[Tensor, MambaState | None]:
        """From the projected tokens to the output; the state only if asked for."""
        window, ssm_state = (None, None) if state is None else state
        u, window = self._convolve(x, window, lengths, return_state)
        sizes = [self.dt_rank, self.d_state, self.d_state]
        dt, B, C = project("x_proj", self.x_proj, u, sum(sizes)).split(sizes, dim=-1)
        dt_proj, A_log = self.dt_proj, self.A_log
        fused = is_its_weights(dt_proj, nn.Linear)
        delta = F.linear(dt, dt_proj.weight) if fused else project("dt_proj", dt_proj, dt, self.d_inner)
        y, ssm_state = _pair(
            selective_scan(
                u,
                delta,
                -torch.exp(A_log.to(_at_least_float32(A_log.dtype))),
                B,
                C,
                D=self.D,
                z=z,
                delta_bias=dt_proj.bias if fused else None,
                delta_softplus=True,
                initial_state=ssm_state,
                return_final_state=return_state,
                lengths=lengths,
            )
        )
        y = project("out_proj", self.out_proj, y, self.d_model)
        return y, None if window is None or ssm_state is None else MambaState(window, ssm_state)

    def _convolve(
        self, x: Tensor, window: Tensor | None, lengths: Tensor | None, return_window: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The convolution and its SiLU, and the window of inputs that it leaves."""
        conv1d = self.conv1d
        if not is_causal_convolution(conv1d, self.d_inner, self.d_conv):
            u, window = convolve(conv1d, x, self.d_conv, window, return_window, lengths)
            return F.silu(u), window
        return _pair(
            causal_conv1d(
                x,
                conv1d.weight.squeeze(1),
                conv1d.bias,
                activation="silu",
                initial_window=window,
                return_final_window=return_window,
                lengths=lengths,
            )
        )


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _pair(result: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    return (result, None) if isinstance(result, Tensor) else result
