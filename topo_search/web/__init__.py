"""The web service: pages, REST, operators."""
