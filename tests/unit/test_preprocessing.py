import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives import layout as layout_module
from objectives.preprocessing import Layout, Preprocessor, TargetScaler, Variant
from objectives.sizes import TERMS
from objectives.table import Feature

STANDARD = Variant(scaling="standard", rare_levels="keep")
ROBUST = Variant(scaling="robust", rare_levels="merge")
QUANTILE = Variant(scaling="quantile", rare_levels="keep")


def features(**kinds: str) -> tuple[Feature, ...]:
    return tuple(Feature(name=n, kind=k, column=n) for n, k in kinds.items())  # type: ignore[arg-type]


def frame(columns: Mapping[str, Sequence[object]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=object if isinstance(values[0], str) else np.float64)
            for name, values in columns.items()
        }
    )


def fitted(
    table: pd.DataFrame, kinds: tuple[Feature, ...], variant: Variant = STANDARD
) -> Preprocessor:
    return Preprocessor.fit(table, Layout.of(table, kinds), variant)


def test_standard_numbers_equal_scikit_learns_median_imputation_and_scaling() -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    values = random.lognormal(size=(300, 3))
    values[random.random(values.shape) < 0.1] = np.nan
    table = pd.DataFrame(values, columns=["a", "b", "c"])
    train, rest = table[:200], table[200:]
    kinds = features(a="numeric", b="numeric", c="numeric")
    arrays = Preprocessor.fit(train, Layout.of(table, kinds), STANDARD).transform(rest)
    expected = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(
        train.to_numpy()
    )
    np.testing.assert_allclose(arrays.numeric, expected.transform(rest.to_numpy()), rtol=1e-5)
    np.testing.assert_array_equal(arrays.dense, np.isnan(rest.to_numpy()))


def test_robust_numbers_are_centred_on_the_median_and_clipped_smoothly() -> None:
    table = frame({"x": [1.0, 2.0, 3.0, 4.0, 1e9]})
    numeric = fitted(table, features(x="numeric"), ROBUST).transform(table).numeric[:, 0]
    scaled = (np.array([1, 2, 3, 4, 1e9]) - 3) / (4 - 2)
    np.testing.assert_allclose(numeric[:4], (scaled / np.sqrt(1 + (scaled / 3) ** 2))[:4], 1e-6)
    assert 2.99 < numeric[4] <= 3


def test_robust_scaling_falls_back_to_the_range_where_quartiles_agree() -> None:
    table = frame({"x": [0.0] * 9 + [10.0]})
    numeric = fitted(table, features(x="numeric"), ROBUST).transform(table).numeric[:, 0]
    assert numeric[0] == 0
    assert numeric[9] == pytest.approx(2 / np.sqrt(1 + (2 / 3) ** 2))


def test_quantile_numbers_equal_scikit_learns_ranks_turned_normal() -> None:
    from scipy.stats import norm
    from sklearn.preprocessing import QuantileTransformer

    random = np.random.default_rng(0)
    values = np.stack([random.lognormal(sigma=3, size=6000), random.integers(0, 4, 6000)], axis=1)
    table = pd.DataFrame(values, columns=["a", "b"])
    train, rest = table[:5000], table[5000:]
    kinds = features(a="numeric", b="numeric")
    arrays = Preprocessor.fit(train, Layout.of(table, kinds), QUANTILE).transform(rest)
    ranks = QuantileTransformer(n_quantiles=5000 // 30, subsample=None).fit(train).transform(rest)
    expected = norm.ppf(np.clip(ranks, 0.5 / 166, 1 - 0.5 / 166))
    # Between two knots theirs is straight in the rank, ours in what it becomes.
    np.testing.assert_allclose(arrays.numeric, expected, atol=0.2)
    np.testing.assert_allclose(arrays.numeric[:, 1], expected[:, 1], atol=1e-6)


def test_quantile_scaling_keeps_the_order_and_is_flat_beyond_the_ends() -> None:
    values = np.random.default_rng(0).standard_cauchy(500)
    one = fitted(frame({"x": values.tolist()}), features(x="numeric"), QUANTILE)
    beyond = [-1e300, values.min(), *np.sort(values), values.max(), 1e300]
    numeric = one.transform(frame({"x": beyond})).numeric[:, 0]
    assert (np.diff(numeric) >= 0).all()
    assert (numeric[0], numeric[-1]) == (numeric[1], numeric[-2]) == (numeric.min(), numeric.max())
    assert 1.5 < numeric[-1] < 3


def test_statistics_come_from_the_training_rows_only() -> None:
    table = frame(
        {
            "x": [1.0, 3.0, np.nan, 500.0],
            "c": ["a", "a", "b", "b"],
            "t": ["one two", "one", "two three", "three"],
        }
    )
    kinds = features(x="numeric", c="categorical", t="text")
    layout = Layout.of(table, kinds)
    train = table[:2]
    one = Preprocessor.fit(train, layout, STANDARD)
    assert one.fill.tolist() == [2.0]
    assert (one.centre.tolist(), one.factor.tolist()) == ([2.0], [1.0])
    dense = one.transform(table).dense
    assert layout.one_hot[0].levels == ("a", "b")
    assert dense[2, 1:3].tolist() == [0, 0]  # "b" is in no training row
    three = layout.text[0].terms.index("three")
    assert one.weights[0][three] == 0


@pytest.mark.parametrize("variant", [STANDARD, ROBUST, QUANTILE])
@pytest.mark.parametrize(
    "values",
    [
        [0.1] * 6,
        [np.nan] * 6,
        [np.inf, -np.inf, 1.0, 2.0, 3.0, np.nan],
        [1e308, -1e308, 1e300, 0.0, 1.0, 2.0],
        [5e-324, 0.0, 1e-320, 0.0, 0.0, 0.0],
        [1e15, 1e15 + 1, 1e15, 1e15, 1e15, 1e15 + 2],
    ],
    ids=["constant", "missing", "infinite", "huge", "tiny", "far from zero"],
)
def test_no_number_becomes_infinite_or_missing(variant: Variant, values: list[float]) -> None:
    table = frame({"x": values})
    preprocessor = fitted(table, features(x="numeric"), variant)
    unseen = frame({"x": [np.nan, np.inf, 1e308, -1e308, 0.0, 5e-324]})
    for rows in (table, unseen):
        numeric = preprocessor.transform(rows).numeric
        assert np.isfinite(numeric).all()
        assert np.abs(numeric).max() <= 100


def test_a_column_constant_in_the_training_rows_says_nothing_elsewhere() -> None:
    table = frame({"x": [7.0, 7.0, 7.0, 1e6]})
    layout = Layout.of(table, features(x="numeric"))
    for variant in (STANDARD, ROBUST, QUANTILE):
        numeric = Preprocessor.fit(table[:3], layout, variant).transform(table).numeric
        assert numeric.tolist() == [[0]] * 4


def test_infinity_counts_as_missing() -> None:
    table = frame({"x": [1.0, 2.0, np.inf]})
    arrays = fitted(table, features(x="numeric")).transform(table)
    assert arrays.dense[:, 0].tolist() == [0, 0, 1]
    assert arrays.numeric[2, 0] == 0


def test_a_flag_exists_only_where_values_are_missing() -> None:
    table = frame({"full": [1.0, 2.0], "holes": [1.0, np.nan], "yes": [0.0, 1.0]})
    kinds = features(full="numeric", holes="numeric", yes="boolean")
    layout = Layout.of(table, kinds)
    assert (layout.numeric_flags, layout.boolean_flags) == ((1,), ())
    assert (layout.sizes.numeric, layout.sizes.dense) == (2, 2)


def test_booleans_become_minus_one_and_one_with_zero_for_missing() -> None:
    table = frame({"b": [0.0, 1.0, np.nan]})
    dense = fitted(table, features(b="boolean")).transform(table).dense
    assert dense.tolist() == [[-1, 0], [1, 0], [0, 1]]


def test_levels_are_sorted_and_missing_is_a_level_of_its_own() -> None:
    table = frame({"c": ["b", "a", "", "b"] * 5})
    preprocessor = fitted(table, features(c="categorical"))
    assert preprocessor.layout.one_hot[0].levels == ("", "a", "b")
    dense = preprocessor.transform(frame({"c": ["", "a", "b", "never seen"]})).dense
    np.testing.assert_array_equal(dense[:, :3], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert not dense[:, 3:].any()


def test_rare_levels_are_merged_only_when_asked_for_in_arrays_of_equal_shape() -> None:
    table = frame({"c": ["a"] * 50 + ["b"] * 50 + ["c"] * 4 + ["d"] * 3})
    kinds = features(c="categorical")
    kept = fitted(table, kinds, Variant(rare_levels="keep"))
    merged = fitted(table, kinds, Variant(rare_levels="merge"))
    assert kept.sizes == merged.sizes
    one_of_each = frame({"c": ["a", "b", "c", "d", "unknown"]})
    identity = np.eye(5)
    np.testing.assert_array_equal(kept.transform(one_of_each).dense, [*identity[:4], np.zeros(5)])
    np.testing.assert_array_equal(
        merged.transform(one_of_each).dense,
        [identity[0], identity[1], identity[4], identity[4], np.zeros(5)],
    )


def test_frequent_levels_cost_no_column_for_rare_ones() -> None:
    table = frame({"c": ["a", "b"] * 50})
    assert Layout.of(table, features(c="categorical")).sizes.dense == 2


def test_a_level_rare_in_one_fold_only_stays_where_there_is_no_column_to_merge_into() -> None:
    table = frame({"c": ["a", "b"] * 50})
    layout = Layout.of(table, features(c="categorical"))
    fold = frame({"c": ["a"] * 50 + ["b"] * 2})
    merged = Preprocessor.fit(fold, layout, Variant(rare_levels="merge"))
    assert merged.transform(frame({"c": ["a", "b"]})).dense.tolist() == [[1, 0], [0, 1]]


def test_columns_with_many_levels_become_codes_with_zero_for_unknown_and_rare() -> None:
    levels = [f"level {i:02}" for i in range(40)]
    table = frame({"c": levels * 6 + ["once"]})
    kinds = features(c="categorical")
    merged = fitted(table, kinds, Variant(rare_levels="merge"))
    assert merged.sizes.dense == 0
    assert merged.sizes.codes == (42,)
    rows = frame({"c": ["level 00", "level 39", "once", "never", ""]})
    assert merged.transform(rows).codes[:, 0].tolist() == [1, 40, 0, 0, 0]
    kept = fitted(table, kinds, Variant(rare_levels="keep"))
    assert kept.transform(rows).codes[:, 0].tolist() == [1, 40, 41, 0, 0]


def test_text_equals_scikit_learns_tfidf_on_the_same_words() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["The cat sat.", "the CAT ran!", "a dog sat, sat", "", "dog-dog the é"]
    table = frame({"t": texts})
    preprocessor = fitted(table, features(t="text"))
    terms = preprocessor.layout.text[0].terms
    assert terms == ("the", "cat", "sat")
    expected = TfidfVectorizer(
        analyzer=lambda text: [t.decode() for t in layout_module.tokenise(text)], vocabulary=terms
    ).fit_transform(texts)
    np.testing.assert_allclose(
        preprocessor.transform(table).dense, expected.toarray(), rtol=1e-6, atol=1e-7
    )


def test_text_keeps_the_terms_of_most_rows_up_to_a_limit() -> None:
    texts = [" ".join(f"w{j}" for j in range(i, 400)) for i in range(399)]
    terms = Layout.of(frame({"t": texts}), features(t="text")).text[0].terms
    assert len(terms) == TERMS
    assert terms[0] == "w398"


def test_nothing_to_learn_from_is_refused_by_name() -> None:
    table = frame({"notes": ["alpha", "beta"]})
    with pytest.raises(ValueError, match="notes"):
        Layout.of(table, features(notes="text"))


def test_a_fold_has_the_shapes_of_all_rows_for_every_variant() -> None:
    random = np.random.default_rng(1)
    table = frame(
        {
            "x": [*random.normal(size=59), np.nan],
            "c": [*random.choice(["a", "b"], 59).tolist(), "last"],
            "big": [f"l{i}" for i in range(60)],
            "t": ["red green"] * 30 + ["blue"] * 30,
        }
    )
    kinds = features(x="numeric", c="categorical", big="categorical", t="text")
    layout = Layout.of(table, kinds)
    for variant in (STANDARD, ROBUST, QUANTILE):
        for fold in (table[:40], table[40:], table):
            arrays = Preprocessor.fit(fold, layout, variant).transform(table)
            assert arrays.numeric.shape == (60, layout.sizes.numeric)
            assert arrays.dense.shape == (60, layout.sizes.dense)
            assert arrays.codes.shape == (60, len(layout.sizes.codes))
            assert arrays.codes.max() < layout.sizes.codes[0]
            assert (arrays.numeric.dtype, arrays.dense.dtype) == (np.float32, np.float32)
            assert arrays.codes.dtype == np.int32


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=2, max_size=12),
    variant=st.sampled_from((STANDARD, ROBUST, QUANTILE)),
)
def test_any_float_gives_finite_arrays_without_a_warning(
    numbers: list[float], variant: Variant
) -> None:
    table = frame({"x": numbers})
    layout = Layout.of(table, features(x="numeric"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold = Preprocessor.fit(table[: len(table) // 2 + 1], layout, variant)
        arrays = fold.transform(table)
    assert np.isfinite(arrays.numeric).all()
    assert np.isfinite(arrays.dense).all()


def test_a_scaled_target_has_mean_zero_and_deviation_one_and_comes_back() -> None:
    y = np.random.default_rng(0).normal(2e5, 1e5, 1000)
    scaler = TargetScaler.fit(y)
    scaled = scaler.scale(y)
    assert scaled.dtype == np.float32
    assert abs(scaled.mean()) < 1e-6
    assert scaled.std() == pytest.approx(1)
    np.testing.assert_allclose(scaler.restore(scaled), y, rtol=1e-5)


def test_a_constant_target_survives_scaling() -> None:
    y = np.full(5, 3.0)
    scaler = TargetScaler.fit(y)
    assert scaler.restore(scaler.scale(y)).tolist() == y.tolist()


def test_importing_needs_neither_tensorflow_nor_scikit_learn() -> None:
    program = (
        "import sys; import objectives.preprocessing, objectives.splits, objectives.metrics, "
        "objectives.baselines; "
        "print([m for m in ('tensorflow', 'keras', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_texts_are_turned_into_numbers_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.array([f"w{k}" for k in range(30)])
    rng = np.random.default_rng(0)
    table = frame({"t": [" ".join(rng.choice(words, k % 9)) for k in range(50)]})
    kinds = features(t="text")
    whole = fitted(table, kinds)
    dense = whole.transform(table).dense
    monkeypatch.setattr(layout_module, "BLOCK", 7)
    parts = fitted(table, kinds)
    np.testing.assert_array_equal(parts.weights, whole.weights)
    np.testing.assert_array_equal(parts.transform(table).dense, dense)


def test_texts_take_little_more_memory_than_their_numbers() -> None:
    words = np.array([f"w{k}" for k in range(300)])
    rng = np.random.default_rng(0)
    table = frame({"t": [" ".join(rng.choice(words, 3)) for _ in range(20_000)]})
    preprocessor = fitted(table, features(t="text"))
    tracemalloc.start()
    size = preprocessor.transform(table).dense.nbytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 20_000 * TERMS * 4 and peak < 2 * size
