"""Numbers of other types than Python's own, registered like those of numpy, which the tests do not install."""

from __future__ import annotations

from numbers import Integral, Real


class NumpyFloat:
    """A number like ``numpy.float32``: not a float, but a real number."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return float(self._value)

    def __str__(self) -> str:
        return str(self._value)

    __repr__ = __str__


class NumpyInteger(NumpyFloat):
    """A number like ``numpy.int64``: not an int, but a whole number."""

    def __int__(self) -> int:
        return int(self._value)


Real.register(NumpyFloat)
Integral.register(NumpyInteger)
