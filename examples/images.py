"""An objective of one's own: a small convolutional network on scikit-learn's digits images.

Run it from this folder, which has to be importable where the trials run:

    PYTHONPATH=. topo-search search --objective images:objective --space-file images.toml --epochs 9

An objective is a plain function. It gets an `Assignment` (parameters, seed), calls `report` after
an epoch and stops where that answers no, and returns an `Outcome`. It knows nothing of studies,
workers or databases, and runs as well in a notebook. `topo-search export` writes the weights that
the best trial gave, here a Keras file.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from objectives.objective import Assignment, Outcome, Report

EPOCHS = 9


def objective(assignment: Assignment, report: Report) -> Outcome:
    """Train the assignment's network and return its best accuracy on held-out images."""
    keras.utils.set_random_seed(assignment.seed)
    x, x_valid, y, y_valid = split()
    network = build(**assignment.parameters)
    best, weights = 0.0, network.get_weights()
    for epoch in range(1, EPOCHS + 1):
        network.fit(x, y, batch_size=64, verbose=0)
        _, accuracy = network.evaluate(x_valid, y_valid, batch_size=450, verbose=0)
        if accuracy > best:
            best, weights = accuracy, network.get_weights()
        if not report(epoch, best):
            break  # Pruned: what is returned now is dropped.
    network.set_weights(weights)  # Those that the value is of.
    return Outcome(
        value=best,
        weights=saved(network),
        attributes={"weights": network.count_params(), "epochs": epoch},
    )


def split() -> list[np.ndarray]:
    """Return images to train on and to score by, then their labels: (n, 8, 8, 1) and (n,)."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    return train_test_split(images, labels, stratify=labels, random_state=0)


def build(filters: int, blocks: int, dropout: float, learning_rate: float) -> keras.Model:
    """Build and compile a network of a few convolution blocks."""
    layers = keras.layers
    network = keras.Sequential([keras.Input((8, 8, 1))])
    for block in range(blocks):
        network.add(layers.Conv2D(filters * 2**block, 3, padding="same", activation="relu"))
        network.add(layers.MaxPooling2D())
    network.add(layers.Flatten())
    network.add(layers.Dropout(dropout))
    network.add(layers.Dense(10))
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return network


def saved(network: keras.Model) -> bytes:
    """Return a network as the bytes of a Keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        return path.read_bytes()
