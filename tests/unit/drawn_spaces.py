"""Spaces of all kinds with limits of all kinds, and points of them, for properties."""

from hypothesis import strategies as st

from objectives.defaults import TableFacts
from objectives.limits import BOUNDS, Bounds
from objectives.metrics import METRICS
from objectives.named_spaces import named_space
from objectives.parameters import Choice, Parameter, Value
from objectives.space import Space

NAMES = ("mlp", "layers", "depth")


@st.composite
def facts(draw: st.DrawFn) -> TableFacts:
    task = draw(st.sampled_from(["binary", "multiclass", "regression"]))
    numeric, categorical = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    return TableFacts(
        task=task,
        rows=draw(st.integers(10, 100_000)),
        numeric=numeric,
        categorical=categorical,
        inputs=max(1, numeric + categorical),
        classes={"binary": 2, "multiclass": 5, "regression": 0}[task],
        metric=draw(st.sampled_from([m.name for m in METRICS.values() if task in m.tasks])),
    )


@st.composite
def limit(draw: st.DrawFn, name: str) -> str:
    bounds = BOUNDS[name]
    if not isinstance(bounds, Bounds):
        some = draw(st.lists(st.sampled_from(bounds), min_size=1, unique=True))
        return ",".join(str(value).lower() for value in some)
    high = 8 if name == "depth" else bounds.high
    kind = st.integers if isinstance(bounds.low, int) else st.floats
    some = draw(st.lists(kind(bounds.low, high), min_size=1, max_size=4, unique=True))
    if len(some) == 2:
        return f"{min(some)}:{max(some)}"
    return ",".join(str(value) for value in some)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    name, table = draw(st.sampled_from(NAMES)), draw(facts())
    free = named_space(name, limits={}, facts=table)
    may = (
        {"depth"}
        if name == "depth"
        else {key.rpartition("_1")[0] or key for key in free.parameters}
    )
    may &= set(BOUNDS)
    keys = draw(st.sets(st.sampled_from(sorted(may)))) if may else set()
    limits = {key: draw(limit(key)) for key in sorted(keys)}
    return named_space(name, limits=limits, facts=table, epochs=draw(st.integers(1, 300)))


def values(parameter: Parameter) -> st.SearchStrategy[Value]:
    if isinstance(parameter, Choice):
        return st.sampled_from(parameter.choices)
    if parameter.integer:
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(parameter.low, parameter.high)


def points(of: Space) -> st.SearchStrategy[dict[str, Value]]:
    return st.fixed_dictionaries({name: values(p) for name, p in of.parameters.items()})
