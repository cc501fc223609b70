"""What a user may limit a space to, in words: the same on the command line and in the browser."""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """A limit on one parameter of a space."""

    label: str
    text: str  # What it is, in a plain sentence.
    example: str  # How it is written.


# By parameter; what each takes is said by the space itself where it is wrong.
LIMITS = {
    "depth": Limit("Hidden layers", "How many layers lie between input and output.", "1:6 or 3"),
    "width": Limit("Width", "How many units each hidden layer has.", "16:512"),
    "activation": Limit(
        "Activation",
        "The function that each unit applies to what it is given.",
        "any of relu,gelu,silu,selu,tanh,mish",
    ),
    "normalisation": Limit(
        "Normalisation",
        "Keeps the numbers inside a deep network at one scale.",
        "any of none,batch,layer",
    ),
    "residual": Limit(
        "Residual links", "Links that lead past each layer; they help deep networks.", "true,false"
    ),
    "dropout": Limit(
        "Dropout", "The share of units left out at random in training, against overfitting.",
        "0:0.5",
    ),
    "embedding": Limit(
        "Embedding of numbers",
        "Whether numeric columns are first spread over waves of several lengths.",
        "any of none,periodic",
    ),
    "label-smoothing": Limit(
        "Label smoothing", "How far a network is kept from being too sure.", "0:0.2"
    ),
    "learning-rate": Limit(
        "Learning rate", "How large the first steps of training are.", "0.0003:0.03"
    ),
    "weight-decay": Limit(
        "Weight decay", "How strongly weights are pulled towards zero.", "0.00001:0.1"
    ),
    "batch-size": Limit("Batch size", "How many rows one step of training looks at.", "32:512"),
    "scaling": Limit(
        "Scaling of numbers",
        "How numeric columns are brought to one scale.",
        "any of standard,robust,quantile",
    ),
    "rare-levels": Limit(
        "Rare categories", "Whether categories of very few rows are put together.",
        "any of keep,merge",
    ),
    "class-weights": Limit(
        "Class weights", "Whether rare classes count for more in training.",
        "any of none,balanced",
    ),
}  # fmt: skip
KINDS = ("numeric", "categorical", "boolean", "datetime", "text", "identifier")
SPACES = {
    "mlp": "One width and activation for all hidden layers. The usual choice.",
    "layers": "Each hidden layer has a width and an activation of its own.",
    "depth": "Plain networks of each depth in turn: what do more layers bring?",
}
SPACE_NAMES = {"mlp": "Usual", "layers": "Each layer its own", "depth": "Depth alone"}
FIRST = ("depth", "width", "activation")  # What a page shows before all others.
# What the values of other options mean, for who does not know them by name.
VALUES = {
    "task": {
        "binary": "one of two classes",
        "multiclass": "one of several classes",
        "regression": "a number",
    },
    "validation": {
        "auto": "as suits the rows",
        "holdout": "on rows held out",
        "cv": "on each fifth in turn",
    },
    "sampler": {"tpe": "guided by earlier trials", "random": "by chance"},
    "pruner": {"asha": "end what falls behind", "none": "let all go on to the end"},
}
