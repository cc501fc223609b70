"""The example tables."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_iris_is_scikit_learns() -> None:
    table, iris = pd.read_csv(EXAMPLES / "iris.csv"), load_iris()
    np.testing.assert_array_equal(table.drop(columns="species"), iris.data)
    assert table["species"].tolist() == iris.target_names[iris.target].tolist()
