"""The REST calls of tables: sent, read, and what there is to choose for them."""

from __future__ import annotations

from typing import IO, Any

from apiflask import APIBlueprint
from flask import request

from topo_search import examples
from topo_search.formats import format_name
from topo_search.web import schemas
from topo_search.web.access import READINGS, UPLOADS, limited, service

v1_tables = APIBlueprint("v1_tables", __name__, url_prefix="/v1", tag="Tables")


@v1_tables.post("/uploads")
@limited(UPLOADS)
@v1_tables.doc(
    summary="Upload a table",
    description="As the file `file` of a form, or as the whole body with its name in `?name=`. "
    "Where its rows cannot be made out, the problem has an `upload`, to be inspected with a "
    "`reading` that says how it is written.",
    responses={201: "How it was read", 413: "Too large", 422: "Not a table", 503: "Full"},
)
def upload() -> tuple[dict[str, Any], int]:
    """Keep a table; answer with the text that names it, and how it was read."""
    stream, name = sent()
    return service().upload(stream, _file_name(name)), 201


@v1_tables.get("/examples")
@v1_tables.doc(summary="Tables to try it with")
def list_examples() -> list[dict[str, str]]:
    """List the tables that come with topo-search."""
    return [{"name": example.name, "text": example.text} for example in examples.EXAMPLES]


@v1_tables.post("/examples/<string:name>")
@limited(UPLOADS)
@v1_tables.doc(summary="Take an example", responses={201: "As of an upload"})
def take_example(name: str) -> tuple[dict[str, Any], int]:
    """Upload a table that comes with topo-search."""
    return service().example(name), 201


@v1_tables.post("/uploads/<string:upload>/inspect")
@limited(READINGS)
@v1_tables.input(schemas.InspectIn)
@v1_tables.doc(summary="Read a table again, corrected")
def inspect(upload: str, json_data: dict[str, Any]) -> dict[str, Any]:
    """Answer with how a table is read."""
    return service().inspect(upload, json_data["reading"])


@v1_tables.post("/uploads/<string:upload>/choices")
@limited(READINGS)
@v1_tables.input(schemas.ChoicesIn)
@v1_tables.doc(summary="What there is to choose for a table and its target")
def choices(upload: str, json_data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the task, the metrics and the ranges of the space."""
    return service().choices(upload, json_data)


def sent() -> tuple[IO[bytes], str | None]:
    """Return the table in a request: the file `file` of a form, or the whole body; and its name."""
    if request.mimetype != "multipart/form-data":
        return request.stream, request.args.get("name")
    file = request.files.get("file")
    if file is None:
        raise ValueError("Expected a table as the form's file `file`. Received none.")
    return file.stream, file.filename


def _file_name(name: str | None) -> str:
    """Return someone's name of a file as one harmless line, without a path."""
    last = (name or "").replace("\\", "/").rpartition("/")[2].strip()
    return format_name(last or "table.csv", 120)
