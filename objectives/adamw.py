"""AdamW on all weights of a network as one flat vector, and its learning rate by step.

After Loshchilov and Hutter, https://arxiv.org/abs/1711.05101. BETA_2 is that of RealMLP (Holzmüller
et al. 2024, arXiv:2407.04491), the other constants are those of Keras: with Keras' 0.999 a sudden
large gradient moves the weights far, and a quarter of the refits of one table never came back
(benchmarks/README.md).
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

WARM_UP = 0.05  # Share of all steps in which the learning rate rises to its highest.
BETA_1, BETA_2, EPSILON = 0.9, 0.95, 1e-7


def learning_rate(step: Any, peak: Any, total: Any) -> Any:
    """Return the rate of `step` (from 1): linear warm-up, then half a cosine down to 0.

    It is 0 one step after `total`, so that the last one is not for nothing. After Loshchilov and
    Hutter, https://arxiv.org/abs/1608.03983.
    """
    warm = tf.maximum(1.0, tf.floor(WARM_UP * total))
    rise = step / warm
    fall = 0.5 * (1 + tf.cos(math.pi * (step - warm) / (total - warm + 1)))
    return peak * tf.where(step < warm, rise, fall)


def update(
    weights: tf.Tensor,
    gradient: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    time: tf.Tensor,
    rate: tf.Tensor,
    decay: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the weights and both moments of their gradients after a step.

    Args:
        weights: (weights,), as are the next three.
        gradient: Of the loss.
        mean: Moving mean of gradients.
        variance: Moving mean of their squares.
        time: The step, counted from 1.
        rate: The learning rate.
        decay: Weight decay of each weight (weights,).
    """
    mean = mean + (gradient - mean) * (1 - BETA_1)
    variance = variance + (tf.square(gradient) - variance) * (1 - BETA_2)
    size = rate * tf.sqrt(1 - tf.pow(BETA_2, time)) / (1 - tf.pow(BETA_1, time))
    weights = weights - weights * (decay * rate)
    return weights - size * mean / (tf.sqrt(variance) + EPSILON), mean, variance
