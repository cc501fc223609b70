"""topo-search: from a table and the column to predict to the neural network for it.

import topo_search
result = topo_search.search("iris.csv", "species", trials=30)
result.leaderboard
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topo_search.api import Result as Result
    from topo_search.api import search as search

__all__ = ["Result", "search"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: `topo-search --help` needs neither pandas nor the database.
    if name in __all__:
        from topo_search import api

        return getattr(api, name)
    raise AttributeError(f"Module {__name__!r} has no attribute {name!r}.")
