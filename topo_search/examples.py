"""Tables that come with topo-search, to try it with."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Example:
    """A table to try it with."""

    name: str
    text: str  # What it is, in a sentence.
    target: str  # Its last column.

    def read(self) -> bytes:
        """Return it as CSV; its last column is what to predict."""
        from sklearn import datasets

        loaded = getattr(datasets, f"load_{self.name}")(as_frame=True)
        frame: pd.DataFrame = loaded.frame
        names = getattr(loaded, "target_names", None)
        if names is not None and len(names) == frame["target"].nunique():
            frame["target"] = [names[code] for code in frame["target"]]
        text: str = frame.rename(columns={"target": self.target}).to_csv(index=False)
        return text.encode()


EXAMPLES = (
    Example(
        name="iris",
        text="150 flowers of three species, by the sizes of their petals and sepals.",
        target="species",
    ),
    Example(
        name="wine",
        text="178 wines of three growers, by 13 measures of their chemistry.",
        target="grower",
    ),
    Example(
        name="breast_cancer",
        text="569 tumours, benign or not, by 30 measures of their cells.",
        target="diagnosis",
    ),
    Example(
        name="diabetes",
        text="442 patients: how the illness went on in a year, a number.",
        target="progression",
    ),
)


def get(name: str) -> Example:
    """Return the example of this name.

    Raises:
        LookupError: There is none.
    """
    for example in EXAMPLES:
        if example.name == name:
            return example
    raise LookupError(f"Expected one of {', '.join(e.name for e in EXAMPLES)}. Received: {name}.")
