"""`fma`: a * b + c with one rounding, for compiled functions."""

from __future__ import annotations

from typing import Any


class _Fma:
    """A call for compiled code; numba is loaded only where something is compiled."""

    def for_numba(self) -> Any:
        """The processor's instruction where it has one."""
        from numba.core import types
        from numba.extending import intrinsic

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.fma(*arguments)

        @intrinsic  # numba passes the typing context itself, which type checkers cannot know
        def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
            return types.float64(types.float64, types.float64, types.float64), generate

        return fma


#: a * b + c with one rounding; typed for the callers, which pass three numbers.
fma: Any = _Fma()
