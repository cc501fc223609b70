"""The command, line for line, but with a fork server that does not load TensorFlow."""

from topo_search import forking
from topo_search.cli import main

forking.PRELOAD = "light_preload"
main()
