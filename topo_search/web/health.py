"""Whether the service is well, for whoever watches it: a container engine, a proxy."""

from __future__ import annotations

import logging

from apiflask import APIBlueprint
from flask import Response

from storage import connection
from storage.errors import StorageError
from topo_search.web.access import service

logger = logging.getLogger(__name__)

health = APIBlueprint("health", __name__, enable_openapi=False)


@health.get("/healthz")
def healthz() -> Response:
    """Answer 200, or 503 when the database does not answer; strangers learn no more."""
    try:
        connection.schema(service().storage)
    except StorageError as error:
        logger.warning("%s", error)
        return Response("The database does not answer.\n", 503, mimetype="text/plain")
    return Response("ok\n", mimetype="text/plain")
