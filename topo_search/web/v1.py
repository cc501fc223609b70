"""The REST calls of studies; the pages use the same ones."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from apiflask import APIBlueprint
from flask import Response, request, send_file

from storage import artifacts, datasets, studies
from storage.rows import StudyRow
from topo_search.predictor import NETWORK, READING
from topo_search.web import schemas, watching
from topo_search.web.access import (
    CHANGES,
    FILES,
    PREDICTIONS,
    READINGS,
    UPLOADS,
    asker,
    limited,
    may_go_on,
    service,
    study_of,
    watch_of,
)
from topo_search.web.clients import client_address
from topo_search.web.headers import in_header
from topo_search.web.service import Network
from topo_search.web.v1_tables import sent

v1 = APIBlueprint("v1", __name__, url_prefix="/v1", tag="Studies")

CSV, JSON, HTML = "text/csv; charset=utf-8", "application/json", "text/html; charset=utf-8"


@v1.post("/studies")
@limited(UPLOADS)
@v1.input(schemas.StudyIn)
@v1.doc(summary="Create a study", responses={201: "Its id and key", 503: "Full"})
def create(json_data: dict[str, Any]) -> tuple[dict[str, str], int]:
    """Create a study; answer with its public id and its secret key, shown only now."""
    key = json_data.pop("parent_key", None)
    made = service().create(json_data, None if key is None else study_of(key))
    return {**made, "page": f"/s/{made['key']}"}, 201


@v1.get("/studies/<string:study>")
@v1.doc(summary="How far a study is")
def read(study: str) -> Response:
    """Answer with the state, the progress and the best network so far."""
    return Response(watch_of(study).current().state_json, mimetype=JSON)


@v1.post("/studies/<string:study>/choices")
@limited(READINGS)
@v1.input(schemas.AgainIn)
@v1.doc(summary="What there is to choose for a study that begins with its trials")
def choices_again(study: str, json_data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the ranges of the space, and the limits that the study had."""
    return service().choices_again(study_of(study), json_data)


@v1.get("/studies/<string:study>/results")
@limited(FILES)
@v1.doc(summary="Everything a study found")
def results(study: str) -> Response:
    """Answer with what `topo-search results --json` prints."""
    found = watch_of(study).current().found.file("trials.json")
    return send_file(io.BytesIO(found), mimetype=JSON)  # Not copied for each who reads it slowly.


@v1.get("/studies/<string:study>/trials")
@v1.input(schemas.TrialsQuery, location="query")
@v1.doc(summary="A page of the trials")
def trials(study: str, query_data: dict[str, Any]) -> Response:
    """Answer with some of the trials, sorted and filtered."""
    return Response(watch_of(study).current().found.trials_json(**query_data), mimetype=JSON)


@v1.get("/studies/<string:study>/figures")
@v1.doc(summary="The charts there are, with what tells whether they have changed")
def figures(study: str) -> dict[str, str]:
    """Answer with a digest of each chart."""
    return watch_of(study).current().found.digests


@v1.get("/studies/<string:study>/figures/<string:name>")
@v1.input(schemas.FigureQuery, location="query")
@v1.doc(summary="A chart as plotly JSON, or what is new in it")
def figure(study: str, name: str, query_data: dict[str, Any]) -> Response:
    """Answer with one chart; to who had it lately, with `patch` instead of `data`."""
    found = watch_of(study).current().found
    return Response(found.figure(name, query_data["had"]), mimetype=JSON)


@v1.get("/studies/<string:study>/events")
@v1.doc(summary="A study's changes as server-sent events", responses={200: "text/event-stream"})
def events(study: str) -> Response:
    """Stream what changes: `change` with the state and new fragments; `gone` when deleted."""
    row, watches = study_of(study), service().watches
    allowed = may_go_on()
    seen = request.headers.get("Last-Event-ID") or request.args.get("seen")
    gone = request.environ.get("waitress.client_disconnected", lambda: False)
    leave = watches.enter(client_address())
    response = Response(
        watching.stream(watches, row.id, seen, lambda: gone() or not allowed()),
        mimetype="text/event-stream",
    )
    response.call_on_close(leave)  # Also where the stream never began.
    response.headers["X-Accel-Buffering"] = "no"  # nginx is to pass it on as it comes.
    return response


@v1.post("/studies/<string:study>/pause")
@limited(CHANGES)
@v1.doc(summary="Hand out no more of its trials")
def pause(study: str) -> dict[str, Any]:
    """Pause a study; what runs goes on to its end."""
    return _changed(study, lambda row: studies.pause(service().storage, row.id, f"by {asker()}"))


@v1.post("/studies/<string:study>/resume")
@limited(CHANGES)
@v1.input(schemas.MoreIn)
@v1.doc(summary="Go on, with more trials or time where asked for")
def resume(study: str, json_data: dict[str, Any]) -> dict[str, Any]:
    """Open a study again."""
    more = {"trials": json_data["trials"], "seconds": json_data["timeout"]}
    return _changed(study, lambda row: service().resume(row, **more))


@v1.post("/studies/<string:study>/cancel")
@limited(CHANGES)
@v1.doc(summary="End it for good; its results stay")
def cancel(study: str) -> dict[str, Any]:
    """Cancel a study."""
    return _changed(study, lambda row: studies.cancel(service().storage, row.id))


@v1.patch("/studies/<string:study>")
@limited(CHANGES)
@v1.input(schemas.NameIn)
@v1.doc(summary="Rename it")
def rename(study: str, json_data: dict[str, Any]) -> dict[str, Any]:
    """Give a study another name, or none."""
    name = json_data["name"]
    return _changed(study, lambda row: studies.rename(service().storage, row.id, name))


@v1.delete("/studies/<string:study>")
@limited(CHANGES)
@v1.doc(summary="Delete it with all it found", responses={204: "Deleted"})
def delete(study: str) -> tuple[str, int]:
    """Delete a study."""
    service().delete(study_of(study).id)
    return "", 204


@v1.get("/studies/<string:study>/columns")
@limited(READINGS)
@v1.doc(summary="The columns that its network takes")
def columns(study: str) -> dict[str, Any]:
    """Answer with each column's name, kind, an example and its levels."""
    return {"columns": service().columns(study_of(study))}


@v1.post("/studies/<string:study>/predict")
@limited(PREDICTIONS)
@v1.doc(
    summary="Predict rows with the study's network",
    description="JSON `{rows: [{column: text}]}` is answered with JSON; a CSV with the same table "
    "and the predictions as further columns, and `line` where rows had to be left out. What is "
    "doubtful about it is counted in the header `X-Warnings`, and the first of it told in "
    "`X-Warning-Texts`: a list as JSON, percent-encoded.",
)
def predict(study: str) -> Any:
    """Predict rows, or a CSV."""
    row = study_of(study)
    if request.mimetype == "application/json":
        wanted = schemas.RowsIn().load(request.get_json())
        found = service().predictions.rows(*_network(row), wanted["rows"], asker=client_address())
        return {
            "predicted": list(found.predicted),
            "rows": found.rows,
            "warnings": list(found.warnings),
        }
    stream, _ = sent()
    return _predicted(row, service().predict(_network(row), stream))


@v1.get("/studies/<string:study>/downloads/<string:name>")
@limited(FILES)
@v1.doc(
    summary="A file of a study",
    description="`model.keras` (the network), `reading.json` (how a CSV is read for it), "
    "`predictions.csv` (of the study's own table), `report.html`, `trials.csv` or `trials.json`.",
)
def download(study: str, name: str) -> Response:
    """Answer with a file."""
    row = study_of(study)
    if name not in DOWNLOADS:
        raise LookupError(f"Expected one of {', '.join(DOWNLOADS)}. Received: {name}.")
    media_type, content = DOWNLOADS[name]
    found = content(row)
    if isinstance(found, Response):
        return found
    return _file(io.BytesIO(found), f"{row.id}-{name}", media_type)


def _found(name: str) -> Callable[[StudyRow], bytes]:
    return lambda row: service().watches.of(row.id).current().found.file(name)


def _predictions(row: StudyRow) -> Response:
    if row.dataset is None:
        raise LookupError("This study has no table.")
    path = datasets.fetch(service().storage, row.dataset, service().home / "datasets")
    return _predicted(row, service().predicted(_network(row), path))


DOWNLOADS: Mapping[str, tuple[str, Callable[[StudyRow], bytes | Response]]] = {
    "model.keras": ("application/octet-stream", lambda row: _artifact(row, NETWORK)),
    "reading.json": (JSON, lambda row: _artifact(row, READING)),
    "report.html": (HTML, _found("report.html")),
    "trials.csv": (CSV, _found("trials.csv")),
    "trials.json": (JSON, _found("trials.json")),
    "predictions.csv": (CSV, _predictions),
}


def _changed(study: str, change: Callable[[StudyRow], StudyRow]) -> dict[str, Any]:
    row = change(study_of(study))
    return service().watches.of(row.id).look(now=True).state


def _artifact(row: StudyRow, name: str) -> bytes:
    _need_network(row)
    return artifacts.get(service().storage, row.id, name)


def _need_network(row: StudyRow) -> None:
    if row.outcome is None or not row.outcome.get("test"):
        raise LookupError("This study has no network to hand over yet: it has not finished.")


def _network(row: StudyRow) -> Network:
    """Return what names a study's network, and how to come by it."""
    _need_network(row)
    storage = service().storage
    kept = {file.name: file for file in artifacts.list_artifacts(storage, row.id)}
    mark = kept[NETWORK].created_at.isoformat()
    names = (NETWORK, READING)
    return row.id, mark, lambda: {name: artifacts.get(storage, row.id, name) for name in names}


def _predicted(row: StudyRow, found: tuple[IO[bytes], Sequence[str]]) -> Response:
    csv, warnings = found
    response = _file(csv, f"{row.id}-predictions.csv", CSV)
    response.headers["X-Warnings"] = str(len(warnings))
    response.headers["X-Warning-Texts"] = in_header(warnings)
    return response


def _file(data: IO[bytes], name: str, media_type: str) -> Response:
    return send_file(data, mimetype=media_type, as_attachment=True, download_name=name, max_age=0)
