"""What the OpenAPI document says beside what the calls' decorators do: bodies, answers, keys."""

from __future__ import annotations

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from topo_search.web import replies, schemas

_FORM = {"type": "object", "properties": {"file": replies.BYTES}, "required": ["file"]}
_TABLE = {"text/csv": {"schema": replies.BYTES}, "multipart/form-data": {"schema": _FORM}}


def complete(document: dict[Any, Any] | str) -> dict[Any, Any] | str:
    """Add bodies and parameters that no schema reads, all answers, and who is let in by what."""
    assert isinstance(document, dict)  # As SPEC_FORMAT says.
    paths, version = document["paths"], document["openapi"]
    marshmallow = MarshmallowPlugin()
    APISpec("", "", version, plugins=[marshmallow])  # It tells the plugin the version.
    assert marshmallow.converter is not None
    rows = marshmallow.converter.schema2jsonschema(schemas.RowsIn)  # type: ignore[no-untyped-call]
    study = "/v1/studies/{study}"
    bodies = {
        "/v1/uploads": _TABLE,
        f"{study}/predict": {"application/json": {"schema": rows}, **_TABLE},
    }
    for path, content in bodies.items():
        paths[path]["post"]["requestBody"] = {"required": True, "content": content}
    _asks(paths["/v1/uploads"]["post"], "name", "The file's name, where it is the whole body.")
    _asks(paths[f"{study}/events"]["get"], "seen", "Id of the event that the caller had last.")
    known = document["components"]["schemas"]
    for invented in ("HTTPError", "ValidationError"):  # All errors are problems: problems.py.
        known.pop(invented, None)
    known.update(replies.SCHEMAS)
    for path, methods in paths.items():
        for method, operation in methods.items():
            _answers(operation["responses"], replies.CONTENT.get((path, method)))
            if path.startswith(study):  # Or the key itself is in the path.
                operation["security"] = [{"key": []}, {}]
    return document


def _answers(responses: dict[str, Any], content: dict[str, Any] | None) -> None:
    """Say what each answer holds: any error a problem, any other what it was asked for."""
    responses["default"] = {"description": "A problem"}
    for status, response in responses.items():
        if status == "default" or int(status) >= 400:
            response["content"] = replies.PROBLEM
        elif content is not None:
            response["content"] = content


def _asks(operation: dict[str, Any], name: str, text: str) -> None:
    """Add a parameter in the query."""
    asked = {"in": "query", "name": name, "description": text, "schema": {"type": "string"}}
    operation.setdefault("parameters", []).append(asked)
