"""The REST calls of operators: all studies, the fleet, and what happened."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from apiflask import APIBlueprint

from storage import events, listing
from storage.listing import Listed
from storage.tables import STUDY_STATES
from topo_search import fleet
from topo_search.web.access import need_operator, service
from topo_search.web.wording import Integer, Length, OneOf, Range, Strict, String

v1_operators = APIBlueprint("v1_operators", __name__, url_prefix="/v1", tag="Operators")
v1_operators.before_request(need_operator)


class StudiesQuery(Strict):
    """Which studies."""

    page = Integer(
        load_default=1, validate=Range(1, 1_000_000), metadata={"description": "From 1."}
    )
    size = Integer(
        load_default=25,
        validate=Range(1, 500),
        metadata={"description": "Studies a page."},
    )
    state = String(
        load_default="",
        validate=OneOf(["", *STUDY_STATES]),
        metadata={"description": "Only studies in this state."},
    )


class EventsQuery(Strict):
    """Which events."""

    after = Integer(
        load_default=None,
        validate=Range(0, 2**63 - 1),
        metadata={"description": "Id of the last event that the caller has."},
    )
    count = Integer(
        load_default=100, validate=Range(1, 1_000), metadata={"description": "At most."}
    )
    study = String(
        load_default=None,
        validate=Length(max=8),
        metadata={"description": "Only of the study with this id."},
    )


@v1_operators.get("/studies")
@v1_operators.input(StudiesQuery, location="query")
@v1_operators.doc(summary="A page of all studies, newest first", security="key")
def list_studies(query_data: dict[str, Any]) -> dict[str, Any]:
    """Answer with some of the studies."""
    page, size, state = query_data["page"], query_data["size"], query_data["state"]
    found = listing.page(
        service().storage, states=(state,) if state else None, page=page, size=size
    )
    return {
        "total": found.total,
        "page": page,
        "size": size,
        "studies": [_listed(study) for study in found.studies],
    }


@v1_operators.get("/fleet")
@v1_operators.doc(summary="The workers, and what they train", security="key")
def see_fleet() -> dict[str, Any]:
    """Answer with what `topo-search fleet --json` prints, without the events."""
    seen = fleet.look(service().storage, 0).to_json()
    del seen["events"]
    return seen


@v1_operators.get("/events")
@v1_operators.input(EventsQuery, location="query")
@v1_operators.doc(
    summary="What happened to workers and studies",
    description="The last `count` events, oldest first. With `after`, the id of the last event of "
    "the answer before, or 0 at first: the first `count` after it, of which none is missed.",
    security="key",
)
def list_events(query_data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the latest events."""
    after = query_data.pop("after")
    if after is None:
        found = events.latest(service().storage, **query_data)
    else:
        found = events.following(service().storage, after, **query_data)
    return {"events": [{**asdict(event), "at": event.at.isoformat()} for event in found]}


def _listed(study: Listed) -> dict[str, Any]:
    moments = {
        name: moment.isoformat() if moment else None
        for name in ("created_at", "last_active_at", "expires_at")
        for moment in [getattr(study, name)]
    }
    return {**asdict(study), **moments}
