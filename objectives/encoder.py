"""A fitted preprocessor as ordinary Keras layers: the first part of a network taken away.

Everything here loads with `keras.models.load_model` in safe mode where this project is not
installed: `StringLookup`, `TextVectorization` and `keras.ops`, with what was learned as constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers, ops

from objectives.layout import LARGEST
from objectives.preprocessing import CLIP, Preprocessor
from objectives.quantiles import KNOTS, WIDEST, Quantiles
from objectives.table import Feature

DTYPES = {"numeric": "float64", "boolean": "float64", "categorical": "string", "text": "string"}


def encode(
    preprocessor: Preprocessor,
) -> tuple[dict[str, keras.KerasTensor], list[keras.KerasTensor]]:
    """Build `preprocessor.transform` as a functional piece of a network.

    The layers lie in one nested model, so that only it and the inputs have names in the network
    built on top; the names of its inputs are those of the columns.

    Returns:
        One input (rows, 1) for each feature, by the feature's name: float64 with NaN for missing
        for numeric and boolean ones, string with "" for missing for categorical and text ones.
        And what they become: numeric (float32), dense (float32) and codes (int32), each
        (rows, columns), where there may be no columns.
    """
    features = preprocessor.layout.features
    raw = {f.name: keras.Input((1,), dtype=DTYPES[f.kind]) for f in features}
    names = {f.name for f in features}
    inner = keras.Model(
        list(raw.values()), _arrays(preprocessor, raw), name=free_name("preprocessing", names)
    )
    inputs = {f.name: _input(f, names) for f in features}
    return inputs, inner(list(inputs.values()))


def typed_columns(frame: pd.DataFrame, features: Sequence[Feature]) -> dict[str, Any]:
    """Take typed columns as the tensors that a network with such inputs takes: (rows, 1) each.

    Call the network with them, or its `predict_on_batch`. `predict` would round float64 arrays to
    float32 first (a `tf.data.Dataset` of them it leaves alone), which loses columns such as time
    stamps, whose values differ by little beside their size.
    """
    return {
        f.name: ops.convert_to_tensor(
            frame[f.name].to_numpy(dtype="float64" if DTYPES[f.kind] == "float64" else object)[
                :, np.newaxis
            ],
            dtype=DTYPES[f.kind],
        )
        for f in features
    }


def _input(feature: Feature, names: set[str]) -> keras.KerasTensor:
    """Make an input; Keras names cannot hold a slash, keys can."""
    name = feature.name
    if "/" in name:
        name = free_name(name.replace("/", "\N{DIVISION SLASH}"), names)
    return keras.Input((1,), dtype=DTYPES[feature.kind], name=name)


def free_name(name: str, taken: set[str]) -> str:
    """Return `name`, with underscores added until it is not in `taken`."""
    while name in taken:
        name += "_"
    return name


def _arrays(
    preprocessor: Preprocessor, raw: dict[str, keras.KerasTensor]
) -> list[keras.KerasTensor]:
    """Build numeric, dense and codes, their columns in the order of the layout."""
    layout = preprocessor.layout
    numeric, dense, codes = [], [], []
    if layout.numeric:
        numbers, missing = _numbers(raw, layout.numeric)
        numeric.append(_scaled(numbers, missing, preprocessor))
        dense += _flags(missing, layout.numeric_flags)
    if layout.boolean:
        numbers, missing = _numbers(raw, layout.boolean)
        dense.append(ops.cast(ops.where(missing, 0.0, 2 * numbers - 1), "float32"))
        dense += _flags(missing, layout.boolean_flags)
    for levels, columns in zip(layout.one_hot, preprocessor.columns, strict=True):
        places = _places(raw[levels.name], levels.levels, columns, unknown=-1)
        dense.append(ops.one_hot(ops.squeeze(places, 1), len(columns) + levels.rare))
    for terms, weights in zip(layout.text, preprocessor.weights, strict=True):
        dense.append(_term_weights(raw[terms.name], terms.terms, weights))
    for levels, places in zip(layout.embedded, preprocessor.codes, strict=True):
        codes.append(_places(raw[levels.name], levels.levels, places, unknown=0))
    some = (numeric + dense + codes)[0]
    return [
        _joined(parts, dtype, some)
        for parts, dtype in ((numeric, "float32"), (dense, "float32"), (codes, "int32"))
    ]


def _joined(
    parts: list[keras.KerasTensor], dtype: str, some: keras.KerasTensor
) -> keras.KerasTensor:
    """Put columns side by side; without any, take none of another tensor's."""
    return ops.cast(ops.concatenate(parts, axis=1) if parts else some[:, :0], dtype)


def _numbers(
    raw: dict[str, keras.KerasTensor], names: Sequence[str]
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Join columns to (rows, names) in float64, and say which values are missing."""
    numbers = ops.concatenate([raw[name] for name in names], axis=1)
    return numbers, ops.logical_not(ops.isfinite(numbers))


def _scaled(
    numbers: keras.KerasTensor, missing: keras.KerasTensor, preprocessor: Preprocessor
) -> keras.KerasTensor:
    numbers = ops.where(missing, preprocessor.fill, ops.clip(numbers, -LARGEST, LARGEST))
    scaled = (numbers - preprocessor.centre) * preprocessor.factor
    bound = CLIP if preprocessor.quantiles is None else WIDEST
    scaled = ops.clip(scaled, -bound, bound)
    if preprocessor.quantiles is not None:
        scaled = _along(scaled, preprocessor.quantiles)
    elif preprocessor.variant.scaling == "robust":
        scaled = scaled / ops.sqrt(1 + ops.square(scaled / 3))
    return ops.cast(scaled, "float32")


def _along(numbers: keras.KerasTensor, quantiles: Quantiles) -> keras.KerasTensor:
    """Follow each column's curve: find its knot by halves, then go along the piece behind it."""
    knots, values = quantiles.knots.ravel(), quantiles.values.ravel()
    first = np.arange(len(quantiles.knots)) * KNOTS
    # Below the first knot the share is negative, and clipped.
    left = ops.cast(ops.zeros_like(numbers), "int64") + first
    half = KNOTS // 2
    while half:
        left = ops.where(numbers >= ops.take(knots, left + half), left + half, left)
        half //= 2
    begin, start = ops.take(knots, left), ops.take(values, left)
    share = (numbers - begin) / (ops.take(knots, left + 1) - begin)
    return start + ops.clip(share, 0.0, 1.0) * (ops.take(values, left + 1) - start)


def _flags(missing: keras.KerasTensor, positions: Sequence[int]) -> list[keras.KerasTensor]:
    if not positions:
        return []
    return [ops.cast(ops.take(missing, list(positions), axis=1), "float32")]


def _places(
    values: keras.KerasTensor, levels: Sequence[str], places: np.ndarray, unknown: int
) -> keras.KerasTensor:
    """Look up each row's place: (rows, 1), int64."""
    # The lookup answers 0 for a level it does not know, 1 for the first level. Its own name for the
    # unknown must be no level: it would take the first for its own, and count from there.
    lookup = layers.StringLookup(vocabulary=list(levels), oov_token=free_name("[UNK]", set(levels)))
    return ops.take(np.concatenate([[unknown], places]), lookup(values))


def _term_weights(
    texts: keras.KerasTensor, terms: Sequence[str], weights: np.ndarray
) -> keras.KerasTensor:
    """Count terms, weigh them by their rarity and bring each row to length one."""
    counts = layers.TextVectorization(vocabulary=list(terms), output_mode="count")(texts)
    # Keras takes the result for (rows, 1, terms); its first column counts unknown words.
    counts = ops.reshape(counts, (-1, 1 + len(terms)))[:, 1:]
    values = ops.cast(counts, "float64") * weights
    norms = ops.sqrt(ops.sum(ops.square(values), axis=1, keepdims=True))
    return ops.cast(values / ops.maximum(norms, 1e-12), "float32")
