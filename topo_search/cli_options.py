"""Options that several commands share, and what they mean."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from topo_search.choices import KINDS, LIMITS, SPACES
from topo_search.cli_types import Duration, More, Slots

if TYPE_CHECKING:
    from objectives.reading import Overrides
    from topo_search.machine import Serving
    from topo_search.study import Options

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


# What a study that begins with another's trials may have of its own, beside limits.
FREE_WITH_A_PARENT = {
    *("trials", "timeout", "space", "epochs", "pruner", "sampler", "name", "tags", "parent"),
    *("slots", "slots_per_gpu", "trial_timeout", "allow_objective", "report", "storage", "json_"),
}


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


as_json: Callable[[Command], Command] = click.option(
    "--json", "json_", is_flag=True, help="Print JSON, for machines."
)
storage_option: Callable[[Command], Command] = click.option(
    "--storage",
    metavar="URL",
    help="PostgreSQL to use, postgresql://… [default: $TOPO_SEARCH_STORAGE, or a private one]",
)
table_options = _all(
    click.option("--encoding", help="Of the file, as utf-8 or latin-1. [default: found out]"),
    click.option("--separator", help="Between columns; tab as \\t. [default: found out]"),
    click.option("--decimal", help="Decimal sign. [default: found out]"),
    click.option(
        "--quote", help="Around cells, \\\" if \\ escapes it; '' for none. [default: found out]"
    ),
    click.option("--header/--no-header", default=None, help="[default: found out]"),
    click.option("--skip", type=click.IntRange(0), help="Lines above the header."),
    click.option("--day-first/--month-first", default=None, help="Of dates such as 3/4/2024."),
    click.option("--missing", multiple=True, help="Also stands for nothing. May be repeated."),
    click.option(
        "--present",
        multiple=True,
        help="A value, as NA for Namibia or - beside +. May be repeated.",
    ),
    click.option(
        "--column",
        "kinds",
        multiple=True,
        metavar="NAME=KIND",
        help=f"Read a column as {', '.join(KINDS)}. May be repeated.",
    ),
)
search_options = _all(
    click.option("--target", metavar="COLUMN", help="Column to predict: its name or position."),
    click.option(
        "--trials",
        type=click.IntRange(1),
        help="How many networks are tried. [default: 50, or one for each depth of the space depth]",
    ),
    click.option(
        "--timeout",
        type=Duration(),
        help="Time the trials may use, as 10m; training the winner once more comes after. "
        "[default: no limit]",
    ),
    click.option(
        "--metric",
        help="The score by which networks are compared. [default: accuracy for classes, rmse for "
        "numbers]",
    ),
    click.option(
        "--task",
        type=click.Choice(["binary", "multiclass", "regression"]),
        help="What is predicted: one of two classes, of several, or a number. [default: as the "
        "target's values suggest]",
    ),
    click.option(
        "--space",
        type=click.Choice(list(SPACES)),
        help=" ".join(f"{name}: {text}" for name, text in SPACES.items()) + " [default: mlp]",
    ),
    *(
        click.option(f"--{name}", metavar="LIMIT", help=f"{limit.text} As {limit.example}.")
        for name, limit in LIMITS.items()
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help="How often a network sees all training rows, at most. [default: 100]",
    ),
    click.option(
        "--seed", default=0, show_default=True, help="Makes a search repeatable on one slot."
    ),
    click.option("--test-file", type=FILE, help="Table with the test rows."),
    click.option(
        "--test-share",
        default=0.2,
        show_default=True,
        type=float,
        help="Share of the rows set aside for the one honest score at the end.",
    ),
    click.option(
        "--validation",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "holdout", "cv"]),
        help="How trials are scored: on rows held out, or in turn on each fifth of them.",
    ),
    click.option("--drop", multiple=True, metavar="NAME", help="Leave a column out. Repeatable."),
    click.option(
        "--pruner",
        default="asha",
        show_default=True,
        type=click.Choice(["asha", "none"]),
        help="Whether trials that fall behind are ended early.",
    ),
    click.option(
        "--sampler",
        default="tpe",
        show_default=True,
        type=click.Choice(["tpe", "random"]),
        help="What is tried after a few networks that usually do well: tpe is guided by what was "
        "found, once 10 trials have ended and by chance until then; random is chance alone.",
    ),
    click.option("--name", help="A name for the study."),
    click.option("--tag", "tags", multiple=True, help="For workers limited to it. Repeatable."),
    click.option(
        "--from",
        "parent",
        metavar="ID",
        help="Begin with the best 500 trials of this study, on its table, in another space.",
    ),
    table_options,
)
own_objective = _all(
    click.option("--objective", default="tabular", help="Your own, as package.module:function."),
    click.option("--space-file", type=FILE, help="TOML with your objective's parameters."),
    click.option(
        "--direction",
        default="maximize",
        show_default=True,
        type=click.Choice(["maximize", "minimize"]),
        help="Of your objective's value.",
    ),
)
serving_options = _all(
    click.option(
        "--slots",
        default="auto",
        show_default=True,
        type=Slots(),
        help="Networks trained at a time; auto: one a GPU, or without one a core, but no more than "
        "the free memory has room for (512 MiB each).",
    ),
    click.option(
        "--slots-per-gpu",
        default=1,
        show_default=True,
        type=click.IntRange(1),
        help="Networks trained at a time on each GPU.",
    ),
    click.option(
        "--trial-timeout",
        type=Duration(),
        help="Fail a trial that takes longer; a finishing may take ten times as long.",
    ),
    click.option(
        "--allow-objective",
        multiple=True,
        metavar="NAME",
        help="An own objective that may run here. May be repeated.",
    ),
)
study_options = _all(
    click.argument("csv", type=FILE, required=False),
    search_options,
    own_objective,
    serving_options,
    click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where to write the report page. [default: CSV's name with -report.html]",
    ),
)
more_trials = _all(
    click.option("--trials", default="0", type=More(), help="How many more, as +20."),
    click.option("--timeout", default=0, type=Duration(), help="How much more time, as +10m."),
)


def serving_arguments(given: dict[str, Any], objective: str, report: Path | None = None) -> str:
    """Return the serving options as they are typed, the study's own objective allowed.

    Args:
        given: The options.
        objective: The study's.
        report: Where the report was asked to be written, if it was: as `resume` takes it.
    """
    own = () if objective == "tabular" else (objective,)
    timeout = given["trial_timeout"]
    arguments = {
        "--slots": [given["slots"]] if given["slots"] else [],
        "--slots-per-gpu": [given["slots_per_gpu"]] if given["slots_per_gpu"] > 1 else [],
        "--trial-timeout": [f"{timeout:.15g}s"] if timeout else [],
        "--allow-objective": dict.fromkeys((*own, *given["allow_objective"])),
        "--report": [report] if report else [],
    }
    return "".join(
        f" {option} {shlex.quote(str(value))}"
        for option, values in arguments.items()
        for value in values
    )


def serving_of(given: dict[str, Any], *own: str) -> Serving:
    """Return what the serving options say; objectives of one's own may be allowed beside theirs."""
    from topo_search.machine import Serving

    same = ("slots", "slots_per_gpu", "trial_timeout")
    allowed = {*own, *given["allow_objective"]}
    return Serving(objectives=allowed, **{name: given[name] for name in same})


def overrides(given: dict[str, Any]) -> Overrides:
    """Return what the table options say."""
    from objectives.reading import Overrides

    separator = given["separator"]
    return Overrides(
        encoding=given["encoding"],
        separator="\t" if separator in ("\\t", "tab") else separator,
        **{name: given[name] for name in ("decimal", "quote", "header", "skip", "day_first")},
        missing=given["missing"],
        present=given["present"],
        kinds=dict(_kind(text) for text in given["kinds"]),
    )


def options(csv: Path | None, given: dict[str, Any]) -> Options:
    """Return what the search options say.

    Raises:
        click.UsageError: Where the table or its target is not named.
    """
    from topo_search.files import table_bytes
    from topo_search.study import Options

    if given["parent"] is not None:
        _refuse_what_the_parent_has()
    elif given["objective"] == "tabular":
        if csv is None:
            raise click.UsageError("Missing argument 'CSV'.")
        if given["target"] is None:
            raise click.UsageError(
                f"Missing option '--target'. See its columns with: topo-search inspect {csv}"
            )
    test = given["test_file"]
    limits = {name: given[name.replace("-", "_")] for name in LIMITS}
    same = ("target", "task", "metric", "trials", "space", "epochs", "seed", "test_share")
    also = ("validation", "drop", "pruner", "sampler", "name", "tags", "parent")
    own = ("objective", "space_file")
    return Options(
        data=None if csv is None else table_bytes(csv, stored=True),
        file="" if csv is None else csv.name,
        seconds=given["timeout"],
        limits={name: text for name, text in limits.items() if text is not None},
        test_data=None if test is None else table_bytes(test, stored=True),
        overrides=overrides(given),
        direction=given["direction"],
        **{name: given[name] for name in (*same, *also, *own)},
    )


def _refuse_what_the_parent_has() -> None:
    """Refuse options that a study which begins with another's trials cannot have of its own.

    Raises:
        click.UsageError: Where there are such.
    """
    context = click.get_current_context()
    free = {*FREE_WITH_A_PARENT, *(name.replace("-", "_") for name in LIMITS)}
    for parameter in context.command.params:
        name = parameter.name or ""
        said = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if said and name not in free:
            what = "the table" if name == "csv" else parameter.opts[0]
            raise click.UsageError(
                f"A study --from another has its table, target and split, or their scores would "
                f"not compare. Leave out {what}."
            )


def _kind(text: str) -> tuple[str, Any]:
    name, _, kind = text.rpartition("=")
    if not name or kind not in KINDS:
        raise click.BadParameter(
            f"Expected NAME=KIND with one of {', '.join(KINDS)}. Received: {text!r}.",
            param_hint="'--column'",
        )
    return name, kind
