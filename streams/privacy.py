"""Differential privacy for counts that leave the house: noise whose distribution is exact.

A count that one person changes by at most Δ, with noise of P(x) ∝ exp(−|x|·ε/Δ) on the integers, is
ε-differentially private (Dwork, McSherry, Nissim & Smith 2006; on the integers Ghosh, Roughgarden &
Sundararajan 2009). Sampled as Canonne, Kamath & Steinke 2020 ("The Discrete Gaussian for
Differential Privacy", algorithms 1 and 2) do: whole numbers and the system's randomness, no float
whose last bits could tell. The library for it, opendp, is a wheel of 47 MB; this is the one thing
needed of it.
"""

from __future__ import annotations

import secrets
from fractions import Fraction


def discrete_laplace(scale: Fraction) -> int:
    """Noise of P(x) = (1 − e^(−1/scale)) / (1 + e^(−1/scale)) · e^(−|x|/scale).

    Raises:
        ValueError: `scale` is not above zero.
    """
    t, s = scale.numerator, scale.denominator
    if t <= 0:
        raise ValueError(f"a scale is above zero, not {scale}")
    while True:
        start = secrets.randbelow(t)
        if not _with_probability_exp(Fraction(start, t)):
            continue
        rounds = 0
        while _with_probability_exp(Fraction(1)):
            rounds += 1
        size = (start + t * rounds) // s
        negative = bool(secrets.randbits(1))
        if size or not negative:  # zero has one sign
            return -size if negative else size


def _with_probability_exp(gamma: Fraction) -> bool:
    """True with probability e^(−γ), 0 ≤ γ ≤ 1 (von Neumann's series)."""
    k = 1
    while secrets.randbelow(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1
