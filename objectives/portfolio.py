"""The first trials of a study: configurations known to do well, sized for the table."""

from __future__ import annotations

from objectives.defaults import TableFacts, power_of_two, widest
from objectives.metrics import METRICS
from objectives.parameters import Value


def portfolio(facts: TableFacts) -> tuple[dict[str, Value], ...]:
    """Return the first configurations, as values of every parameter of the `mlp` space.

    They keep the sources' shapes and rates where these carry over to AdamW with one learning
    rate, linear warm-up and cosine decay; widths and batches shrink with the table.
    """
    regression = facts.task == "regression"
    metric = METRICS[facts.metric]
    # Smoothed labels give smoothed probabilities, which only the most probable class survives.
    smoothed = not regression and metric.name not in ("log_loss", "roc_auc")
    width = min(256, widest(facts.rows))
    common: dict[str, Value] = {
        "normalisation": "none",
        "residual": False,
        "embedding": "none",
        "label_smoothing": 0.0,
        "batch_size": min(max(power_of_two(facts.rows // 32), 16), 256),
        "scaling": "standard",
        "rare_levels": "keep",
        "class_weights": "balanced" if metric.balanced else "none",
    }
    return (
        # One hidden layer, as scikit-learn's MLPClassifier (1 × 100, relu, decay 1e-4). It is soon
        # through, so that there is something to show, and comes first.
        common
        | {
            "depth": 1,
            "width": min(128, width),
            "activation": "relu",
            "dropout": 0.0,
            "learning_rate": 0.005,
            "weight_decay": 1e-4,
        },
        # RealMLP-TD (Holzmüller et al. 2024, arXiv:2407.04491). Its rates, 0.04 for classes and
        # 0.2 for numbers, are for weights divided by the root of 256: a sixteenth of them here.
        # Its robust scaling is not kept: see benchmarks/README.md.
        common
        | {
            "depth": 3,
            "width": width,
            "activation": "mish" if regression else "selu",
            "embedding": "periodic",
            "dropout": 0.15,
            "label_smoothing": 0.1 if smoothed else 0.0,
            "learning_rate": 0.01 if regression else 0.0025,
            "weight_decay": 0.02,
            "scaling": "quantile",
        },
        # MLP from the middle of the space of Gorishniy et al. (2021, arXiv:2106.11959).
        common
        | {
            "depth": 4,
            "width": width,
            "activation": "relu",
            "dropout": 0.1,
            "learning_rate": 0.001,
            "weight_decay": 1e-5,
            "scaling": "quantile",
        },
        # MLP-PLR (Gorishniy et al. 2022, arXiv:2203.05556), which tunes to 1 to 3 layers.
        common
        | {
            "depth": 2,
            "width": width,
            "activation": "relu",
            "embedding": "periodic",
            "dropout": 0.2,
            "learning_rate": 0.002,
            "weight_decay": 1e-4,
            "scaling": "quantile",
        },
        # ResNet of Gorishniy et al. (2021), smaller, with layer instead of batch norm.
        common
        | {
            "depth": 6,
            "width": min(128, width),
            "activation": "relu",
            "normalisation": "layer",
            "residual": True,
            "dropout": 0.2,
            "learning_rate": 0.001,
            "weight_decay": 1e-4,
        },
        # Batch norm, dropout and weight decay together: a cocktail of Kadra et al. (2021,
        # arXiv:2106.11189), narrower than their 9 × 512.
        common
        | {
            "depth": 2,
            "width": min(64, width),
            "activation": "silu",
            "normalisation": "batch",
            "dropout": 0.3,
            "learning_rate": 0.005,
            "weight_decay": 0.05,
        },
    )
