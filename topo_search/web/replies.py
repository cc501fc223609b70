"""What answers hold, as the OpenAPI document says it (JSON Schema)."""

from __future__ import annotations

from typing import Any

from storage.tables import STUDY_STATES
from topo_search.choices import KINDS
from topo_search.web.schemas import ENDS

Schema = dict[str, Any]
STRING, INTEGER, NUMBER, BOOLEAN = (
    {"type": kind} for kind in ("string", "integer", "number", "boolean")
)
OBJECT: Schema = {"type": "object"}
BYTES: Schema = {"type": "string", "format": "binary"}
TASKS = ("binary", "multiclass", "regression")


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _one(of: tuple[str, ...], text: str = "") -> Schema:
    return _said({"type": "string", "enum": list(of)}, text)


def _said(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text} if text else schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(text: str, /, *, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return _said({"type": "object", "properties": properties, "required": required}, text)


_MOMENT = {"type": ["string", "null"], "format": "date-time"}
_COUNTS = ("finished", "running", "waiting", *ENDS)
_OF_TRIALS: Schema = {
    "type": "object",
    "properties": dict.fromkeys(_COUNTS, INTEGER),
    "required": list(_COUNTS),
}

SCHEMAS: dict[str, Schema] = {
    "Problem": _object(
        "What is wrong, as RFC 9457 has it",
        optional=("errors", "upload"),
        type=STRING,
        title=STRING,
        status=INTEGER,
        detail=_said(STRING, "What was expected, what was received, and what to do"),
        errors=_said(OBJECT, "Of a request that does not fit: what is wrong, by field"),
        upload=_said(STRING, "Names a table that was kept, to be inspected with a `reading`"),
    ),
    "Column": _object(
        "A column as it was read",
        name=STRING,
        kind=_one((*KINDS, "constant", "empty")),
        missing=_said(NUMBER, "Share of the rows, 0 to 1"),
        distinct=INTEGER,
        examples=_list(STRING),
        histogram=_object("", counts=_list(INTEGER), labels=_list(STRING)),
        warnings=_list(STRING),
    ),
    "Table": _object(
        "How a table was read",
        encoding=STRING,
        separator=STRING,
        decimal=STRING,
        quote=STRING,
        header=BOOLEAN,
        skip=INTEGER,
        rows=INTEGER,
        columns=_list(_ref("Column")),
        dropped=_list(_object("A row that was left out", line=INTEGER, reason=STRING)),
        warnings=_list(STRING),
        preview=_said(_list(_list(STRING)), "Its first rows"),
        guess=_said(_or_null(STRING), "The column that most likely is to be predicted"),
    ),
    "Upload": _object(
        "A table that was kept",
        optional=("size",),
        upload=_said(STRING, "Names it from now on"),
        name=STRING,
        size=_said(INTEGER, "Bytes; of an upload"),
        table=_ref("Table"),
    ),
    "Choices": _object(
        "What there is to choose for a table and its target",
        target=STRING,
        task=_one(TASKS),
        classes=_list(STRING),
        rows=_said(INTEGER, "To train on"),
        rest=_said(INTEGER, "Rows to learn from: to train on and to validate with"),
        test=_said(INTEGER, "Rows kept for the final test"),
        inputs=_said(INTEGER, "Numbers that a network takes in of a row"),
        metric=STRING,
        metrics=_list(_object("", name=STRING, label=STRING)),
        validation=STRING,
        warnings=_list(STRING),
        parameters=_said(_list(OBJECT), "What is varied, in which ranges"),
        seconds_per_trial=NUMBER,
        measured=_said(BOOLEAN, "Whether that is known from trials here"),
        slots=_said(INTEGER, "Trials that can be trained at once now"),
    ),
    "Again": _object(
        "What there is to choose for a study that begins with another's trials",
        target=STRING,
        task=_one(TASKS),
        table=STRING,
        rows=INTEGER,
        rest=INTEGER,
        test=INTEGER,
        inputs=INTEGER,
        metric=STRING,
        validation=STRING,
        space=STRING,
        limits=_said(OBJECT, "That the other study had in this space"),
        parameters=_said(_list(OBJECT), "What is varied, in which ranges"),
        seconds_per_trial=NUMBER,
        measured=BOOLEAN,
        slots=INTEGER,
    ),
    "Created": _object(
        "A study that was created",
        study=_said(STRING, "Its public id"),
        key=_said(STRING, "Its secret key, told only now: it opens and changes the study"),
        page=_said(STRING, "Its page, with the key"),
    ),
    "Study": _object(
        "How far a study is",
        study=STRING,
        name=_or_null(STRING),
        state=_one(STUDY_STATES),
        reason=_said(_or_null(STRING), "Why it is paused, or ended as it did"),
        failure=_said(BOOLEAN, "Whether it is paused or finished as it failed"),
        created_at=_MOMENT,
        started_at=_MOMENT,
        ended_at=_MOMENT,
        expires_at=_MOMENT,
        table=_or_null(STRING),
        target=_or_null(STRING),
        task={"type": ["string", "null"], "enum": [*TASKS, None]},
        metric=STRING,
        metric_label=STRING,
        direction=_one(("maximize", "minimize")),
        seconds=_said(_or_null(NUMBER), "That its trials may use"),
        spent_seconds=NUMBER,
        seconds_left=_or_null(NUMBER),
        left=_or_null(STRING),
        workers=_said(INTEGER, "That are there and may serve it"),
        refusal=_said(_or_null(STRING), "Why one that is there does not serve it"),
        busy=_said(INTEGER, "Slots that train it"),
        trials=_OF_TRIALS,
        budget=_said(INTEGER, "Of trials"),
        has_network=BOOLEAN,
        best=_said(_or_null(OBJECT), "The best network so far"),
        best_value=_said(_or_null(STRING), "Its validation score, for reading"),
    ),
    "Trial": _object(
        "A network that was tried",
        trial=_said(INTEGER, "Its number"),
        state=_one((*ENDS, "running", "waiting")),
        value=_said(_or_null(NUMBER), "Its validation score"),
        loss=_or_null(NUMBER),
        topology=STRING,
        depth=_or_null(INTEGER),
        weights=_or_null(INTEGER),
        seconds=_or_null(NUMBER),
        epochs=_or_null(INTEGER),
        best_epoch=_or_null(INTEGER),
        attempts=_or_null(INTEGER),
        worker=STRING,
        reason=_said(STRING, "Why it was pruned or failed"),
        parameters=OBJECT,
        shown=_said(OBJECT, "Some of the numbers, for reading"),
    ),
    "Trials": _object(
        "A page of trials",
        total=INTEGER,
        page=INTEGER,
        size=INTEGER,
        trials=_list(_ref("Trial")),
    ),
    "Results": _object(
        "What `topo-search results --json` prints",
        study=STRING,
        state=STRING,
        metric=STRING,
        direction=STRING,
        trials=OBJECT,
        best=_or_null(OBJECT),
        test=_said(_or_null(OBJECT), "The score on the test rows, once it is finished"),
        baselines=_or_null(OBJECT),
        leaderboard=_said(_list(INTEGER), "Numbers of the complete trials, best first"),
        history=_said(_list(OBJECT), "Every trial"),
        warnings=_list(STRING),
    ),
    "Figure": _object(
        "A chart",
        optional=("patch",),
        digest=STRING,
        title=STRING,
        text=_said(STRING, "What it shows, in a sentence"),
        data={"type": ["array", "null"]},
        layout=OBJECT,
        patch=_list(OBJECT),
    ),
    "Predicted": _object(
        "Rows with what the network says of them",
        predicted=_said(_list(STRING), "The columns with the prediction and its probabilities"),
        rows=_list(OBJECT),
        warnings=_list(STRING),
    ),
}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


PROBLEM: Schema = {"application/problem+json": {"schema": _ref("Problem")}}
_STUDY, _UPLOAD = _json(_ref("Study")), _json(_ref("Upload"))
_OF_A_STUDY = "/v1/studies/{study}"
# By path and method: what an answer without a problem holds.
CONTENT: dict[tuple[str, str], Schema] = {
    ("/v1/uploads", "post"): _UPLOAD,
    ("/v1/examples", "get"): _json(_list(_object("", name=STRING, text=STRING))),
    ("/v1/examples/{name}", "post"): _UPLOAD,
    ("/v1/uploads/{upload}/inspect", "post"): _UPLOAD,
    ("/v1/uploads/{upload}/choices", "post"): _json(_ref("Choices")),
    ("/v1/studies", "post"): _json(_ref("Created")),
    (_OF_A_STUDY, "get"): _STUDY,
    (_OF_A_STUDY, "patch"): _STUDY,
    **{(f"{_OF_A_STUDY}/{what}", "post"): _STUDY for what in ("pause", "resume", "cancel")},
    (f"{_OF_A_STUDY}/choices", "post"): _json(_ref("Again")),
    (f"{_OF_A_STUDY}/trials", "get"): _json(_ref("Trials")),
    (f"{_OF_A_STUDY}/results", "get"): _json(_ref("Results")),
    (f"{_OF_A_STUDY}/figures", "get"): _json({**OBJECT, "additionalProperties": STRING}),
    (f"{_OF_A_STUDY}/figures/{{name}}", "get"): _json(_ref("Figure")),
    (f"{_OF_A_STUDY}/events", "get"): {"text/event-stream": {"schema": STRING}},
    (f"{_OF_A_STUDY}/columns", "get"): _json(
        _object(
            "",
            columns=_list(
                _object(
                    "",
                    name=STRING,
                    kind=STRING,
                    example=STRING,
                    levels=_said(_list(STRING), "Its commonest values, where it has a few"),
                    all_levels=_said(BOOLEAN, "Whether it has no others"),
                )
            ),
        )
    ),
    (f"{_OF_A_STUDY}/predict", "post"): {
        **_json(_ref("Predicted")),
        "text/csv": {"schema": BYTES},
    },
    (f"{_OF_A_STUDY}/downloads/{{name}}", "get"): {
        **_json(OBJECT),
        **dict.fromkeys(("application/octet-stream", "text/csv", "text/html"), {"schema": BYTES}),
    },
    ("/v1/studies", "get"): _json(
        _object("", total=INTEGER, page=INTEGER, size=INTEGER, studies=_list(OBJECT))
    ),
    ("/v1/fleet", "get"): _json(_object("", workers=_list(OBJECT), studies=OBJECT)),
    ("/v1/events", "get"): _json(_object("", events=_list(OBJECT))),
}
