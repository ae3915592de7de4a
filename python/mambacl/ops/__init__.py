"""The operations under a selective state-space model, each a fused kernel with a plain reference."""

from mambacl.ops import fake as _fake  # noqa: F401  (tells torch.compile what the operators give)
from mambacl.ops import reference
from mambacl.ops.causal_conv1d import causal_conv1d
from mambacl.ops.selective_scan import selective_scan

__all__ = ["causal_conv1d", "reference", "selective_scan"]
