"""What the fork server imports once, so that every slot starts with TensorFlow loaded.

Nothing here may run an operation: TensorFlow survives a fork only before its first one.
"""

import gc

import keras  # noqa: F401
import sklearn.ensemble  # noqa: F401
import sklearn.impute  # noqa: F401
import sklearn.linear_model  # noqa: F401
import sklearn.preprocessing  # noqa: F401
import tensorflow  # noqa: F401

import objectives.finishing
import objectives.tabular  # noqa: F401
from objectives.memory import let_go_of_files

# What is loaded here is never freed. Were it collected in the slots, each would have a copy of it:
# https://docs.python.org/3/library/gc.html#gc.freeze
gc.collect()
gc.freeze()
let_go_of_files()  # Slots map what they use of them for themselves.
