"""The command, line for line, but with a fork server that does not load TensorFlow."""

from topo_search import pool
from topo_search.cli import main

pool.PRELOAD = "light_preload"
main()
