# SPDX-License-Identifier: MIT
"""Random numbers for the vectors: splitmix64 and integer arithmetic only, the same with every NumPy."""
import numpy as np


class Bits:
    """A stream of 64-bit numbers keyed by a text."""

    def __init__(self, key):
        state = 0xCBF29CE484222325
        for byte in key.encode():
            state = ((state ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
        self.state = state

    def u64(self, n):
        """n numbers, uint64."""
        with np.errstate(over="ignore"):
            z = np.uint64(self.state) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        self.state = (self.state + n * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        return z ^ (z >> np.uint64(31))

    def ints(self, shape, low, high):
        """Integers low .. high - 1, int64."""
        n = int(np.prod(shape))
        return (low + (self.u64(n) % np.uint64(high - low)).astype(np.int64)).reshape(shape)

    def real(self, shape, scale=1.0):
        """F32 in [-scale, scale), 24 random bits each."""
        return (self.ints(shape, -(1 << 23), 1 << 23) * (scale / (1 << 23))).astype(np.float32)

    def wide(self, shape, low, high):
        """F32 of either sign whose binary exponents lie in low .. high - 1."""
        mantissa = self.ints(shape, 1 << 23, 1 << 24).astype(np.float64)
        sign = np.where(self.ints(shape, 0, 2) == 0, -1.0, 1.0)
        return (sign * np.ldexp(mantissa, self.ints(shape, low, high) - 23)).astype(np.float32)
