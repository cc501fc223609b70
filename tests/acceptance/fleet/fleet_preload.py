"""What the fork server of a fleet's workers loads: slots as they are, but for TensorFlow.

The objectives of these tests need none, and a worker that lives for seconds should not take as
long to start. Slots are forked from here and so inherit the change.
"""

import fleet_clock  # noqa: F401  # isort: skip  (before anything that could read the clock)
import fleet_objectives  # noqa: F401

from topo_search import slot

slot.configure_tensorflow = lambda: None
