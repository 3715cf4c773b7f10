"""`fma`: a * b + c with one rounding, for compiled functions."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic


@intrinsic  # numba passes the typing context itself, which type checkers cannot know
def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding (the processor's instruction where it has one)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


#: a * b + c with one rounding; typed for the callers, which pass three numbers.
fma: Any = _fma
