import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from objectives.encoder import encode, typed_columns
from objectives.preprocessing import Arrays, Layout, Preprocessor, Variant
from objectives.table import Feature

VARIANTS = (
    Variant(scaling="standard", rare_levels="keep"),
    Variant(scaling="robust", rare_levels="merge"),
    Variant(scaling="quantile", rare_levels="keep"),
)
ODD_TEXTS = [
    "",
    "Hello, world!",
    "HELLO world — naïve café",
    "ÄÖÜ äöü İstanbul ß",
    "tab\tnew\nline\x0bvertical\x0cfeed\r\nend",
    "no\xa0break thin\u2009space\x1cfile\x85next",
    "it's e-mail@example.com 100% {ok} [yes] \\ back^slash `tick` ~ |",
    "日本語 テキスト hello",
    "🙂 emoji hello 🙂",
    "   hello   hello   world   ",
    "!!! ... ???",
]
UNKNOWN = ["[UNK]", "[UNK]_"]  # Keras' own name for unknown levels; sorts before small letters.
LEVELS = ["", " lead", 'quote"d', "it's", "new\nline", "[UNK]", "é", "a,b", "A", "a"]


def example(rows: int = 400) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
    """A table with everything that is hard: missing and huge values, odd names, levels, texts."""
    random = np.random.default_rng(0)
    holes = random.normal(1e9, 3.0, rows)
    holes[random.random(rows) < 0.2] = np.nan
    heavy = random.standard_cauchy(rows) * 1e6
    heavy[:3] = [np.inf, -np.inf, 1e300]
    many = [*UNKNOWN * 3, *(f"level {i}" for i in random.integers(0, 60, rows - 6))]
    columns: dict[str, tuple[str, Any]] = {
        "holes": ("numeric", holes),
        "rate km/h": ("numeric", heavy),
        "constant": ("numeric", np.full(rows, 3.5)),
        "wo\"rk? 'é' {x}": ("boolean", random.choice([0.0, 1.0, np.nan], rows)),
        "where": ("boolean", random.choice([0.0, 1.0], rows)),
        "preprocessing": ("categorical", random.choice(LEVELS, rows)),
        "日本\tlevels": ("categorical", many),
        "first": ("categorical", (UNKNOWN + ["a"]) * (rows // 3) + ["a"] * (rows % 3)),
        "rare": ("categorical", ["common"] * (rows - 3) + ["rare"] * 3),
        "the text": ("text", random.choice(ODD_TEXTS, rows)),
        "rate km∕h": ("text", random.choice(["yes no", "no", "maybe yes"], rows)),
    }
    frame = pd.DataFrame(
        {
            name: pd.Series(values, dtype=np.float64 if kind in ("numeric", "boolean") else object)
            for name, (kind, values) in columns.items()
        }
    )
    features = tuple(
        Feature(name=name, kind=kind, column=name)  # type: ignore[arg-type]
        for name, (kind, _) in columns.items()
    )
    return frame, features


def unknown(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with levels and words that no training row has."""
    rows = frame[-50:].copy()
    rows["preprocessing"] = "never seen"
    rows["日本\tlevels"] = ["", "never"] * 25
    rows["first"] = ["[UNK]__", "never"] * 25
    rows["the text"] = "wholly different words"
    rows["holes"] = np.nan
    return rows


def model_of(preprocessor: Preprocessor) -> keras.Model:
    inputs, outputs = encode(preprocessor)
    with warnings.catch_warnings():
        # Keras wants inputs named like their keys, and names without slashes.
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        return keras.Model(inputs, outputs)


def assert_equal(encoded: list[np.ndarray], arrays: Arrays) -> None:
    for ours, theirs in zip((arrays.numeric, arrays.dense, arrays.codes), encoded, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=["standard keep", "robust merge", "quantile keep"]
)
def test_the_encoder_gives_what_the_preprocessor_gives(variant: Variant) -> None:
    frame, features = example()
    preprocessor = Preprocessor.fit(frame[:250], Layout.of(frame[:350], features), variant)
    model = model_of(preprocessor)
    for rows in (frame, unknown(frame)):
        encoded = model.predict_on_batch(typed_columns(rows, features))
        assert_equal(encoded, preprocessor.transform(rows))


def test_odd_texts_are_split_into_the_same_words() -> None:
    kinds = (Feature(name="t", kind="text", column="t"),)
    frame = pd.DataFrame({"t": pd.Series(ODD_TEXTS * 2, dtype=object)})
    preprocessor = Preprocessor.fit(frame, Layout.of(frame, kinds), Variant())
    terms = preprocessor.layout.text[0].terms
    assert {"hello", "its", "emailexamplecom", "ÄÖÜ", "日本語", "no\xa0break", "vertical"} <= set(
        terms
    )
    encoded = model_of(preprocessor).predict_on_batch(typed_columns(frame, kinds))
    assert_equal(encoded, preprocessor.transform(frame))


@pytest.mark.parametrize(
    "names", [["holes"], ["where"], ["rare"], ["日本\tlevels"], ["the text"], ["rate km/h", "rare"]]
)
def test_arrays_without_columns_are_kept_empty(names: list[str]) -> None:
    frame, features = example()
    features = tuple(f for f in features if f.name in names)
    preprocessor = Preprocessor.fit(frame, Layout.of(frame, features), VARIANTS[0])
    encoded = model_of(preprocessor).predict_on_batch(typed_columns(frame, features))
    assert_equal(encoded, preprocessor.transform(frame))


def test_inputs_carry_the_columns_names_and_kinds() -> None:
    frame, features = example()
    inputs, _ = encode(Preprocessor.fit(frame, Layout.of(frame, features), VARIANTS[0]))
    assert {name: tensor.dtype for name, tensor in inputs.items()} == {
        f.name: "float64" if f.kind in ("numeric", "boolean") else "string" for f in features
    }
    assert all(t.name == name for name, t in inputs.items() if "/" not in name)


LOAD = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf

model = keras.models.load_model(sys.argv[1], safe_mode=True)
columns = json.load(open(sys.argv[2]))
rows = {name: tf.constant(values, dtype=dtype) for name, (dtype, values) in columns.items()}
np.save(sys.argv[3], model.predict_on_batch(rows))
assert not any(name.split(".")[0] == "objectives" for name in sys.modules)
print(json.dumps(sorted(model.input)))
"""


# TensorFlow's variables do not know NumPy's `copy` yet.
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_a_saved_network_loads_in_safe_mode_without_this_project(tmp_path: Path) -> None:
    frame, features = example()
    preprocessor = Preprocessor.fit(frame, Layout.of(frame, features), VARIANTS[1])
    inputs, (numeric, dense, codes) = encode(preprocessor)
    keras.utils.set_random_seed(0)
    levels = keras.layers.Embedding(preprocessor.sizes.codes[0], 3)(codes[:, 0])
    hidden = keras.layers.Concatenate()([numeric, dense, levels])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(hidden))
    expected = model.predict_on_batch(typed_columns(frame, features))
    network, values, out = tmp_path / "network.keras", tmp_path / "rows.json", tmp_path / "p.npy"
    model.save(network)
    values.write_text(
        json.dumps(
            {
                f.name: (
                    "float64" if frame[f.name].dtype == np.float64 else "string",
                    frame[[f.name]].to_numpy().tolist(),
                )
                for f in features
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, network, values, out],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == sorted(f.name for f in features)
    np.testing.assert_allclose(np.load(out), expected, rtol=1e-5, atol=1e-6)


def test_a_wide_table_is_one_group_of_operations() -> None:
    names = [f"column {i}" for i in range(300)]
    features = tuple(Feature(name=n, kind="numeric", column=n) for n in names)
    values = np.random.default_rng(0).normal(size=(30, 300))
    values[0] = np.nan
    frame = pd.DataFrame(values, columns=names)
    preprocessor = Preprocessor.fit(frame, Layout.of(frame, features), VARIANTS[0])
    model = model_of(preprocessor)
    assert len(model.get_layer("preprocessing").operations) < len(names) + 30
    assert_equal(
        model.predict_on_batch(typed_columns(frame, features)), preprocessor.transform(frame)
    )
