"""Samples that the drift tests share."""

from __future__ import annotations

import numpy as np
import pandas as pd

N = 2000
RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=N), RNG.normal(size=N)
CATEGORIES = RNG.choice(list("abc"), N)


def frame(values) -> pd.DataFrame:
    return pd.DataFrame({"x": values})
