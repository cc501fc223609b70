"""What a fork server loads where no network is trained: slots as they are, but for TensorFlow.

Toy objectives need none, and to import it takes seconds of a core, for every worker anew. Slots are
forked from here and so inherit the change.
"""

from topo_search import slot

slot.configure_tensorflow = lambda: None
