"""Fused element-wise kernels: native on CPUs with a C++ compiler, plain torch everywhere else, the same numbers."""

from tunesmith.engine.kernels.operations import (
    ACTIVATIONS,
    argmax,
    cross_entropy_,
    gated,
    gated_backward,
    gated_forward,
    rms_norm,
    rotary,
)

__all__ = ["ACTIVATIONS", "argmax", "cross_entropy_", "gated", "gated_backward", "gated_forward", "rms_norm", "rotary"]
