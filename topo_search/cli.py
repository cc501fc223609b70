"""The command line. Modules are imported where a command needs them, so that help is instant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo_search.cli_options import (
    FILE,
    as_json,
    more_trials,
    options,
    overrides,
    own_objective,
    search_options,
    serving_options,
    storage_option,
    table_options,
)

if TYPE_CHECKING:
    from rich.console import Console

    from storage.connection import Storage
    from storage.rows import StudyRow
    from topo_search.settings import Settings

FAILED, USAGE, INTERRUPTED = 1, 2, 130  # Exit codes.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="topo-search", prog_name="topo-search")
def cli() -> None:
    """Give it a table and the column to predict; it finds which neural network to build.

    Start with: topo-search search TABLE.csv --target COLUMN
    """


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # Whoever read our output has enough, as `| head`.
        code = FAILED
    except (ValueError, LookupError, OSError, ArithmeticError, RuntimeError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        click.echo(f"Error: {text}", err=True)
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)


@cli.command()
@click.argument("csv", type=FILE)
@click.option("--target", help="Also warn of columns that alone give this one away.")
@table_options
@as_json
def inspect(csv: Path, target: str | None, json_: bool, **given: Any) -> None:
    """Show how a table is read: encoding, separator, and each column's kind."""
    from objectives.table import choose_target, describe, read_table

    table = read_table(csv.read_bytes(), overrides=overrides(given))
    with _bad_options():
        chosen = None if target is None else choose_target(table, target)
    description = describe(table, chosen)
    if json_:
        _echo_json(description)
        return
    from topo_search.terminal import show_table

    show_table(_console(), csv.name, description)


@cli.command()
@click.argument("csv", type=FILE, required=False)
@search_options
@own_objective
@serving_options
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the report page. [default: CSV's name with -report.html]",
)
@storage_option
@as_json
def search(csv: Path | None, report: Path | None, json_: bool, **given: Any) -> None:
    """Search networks for a table; print the winner, write a report, hand over the network."""
    with _opened(given, warm=True) as (settings, storage):
        row, key = _create(storage, csv, given)
        _serve(settings, storage, row, key, _report_path(csv, row, report), json_, given)


@cli.command()
@click.argument("csv", type=FILE, required=False)
@search_options
@own_objective
@storage_option
@as_json
def create(csv: Path | None, json_: bool, **given: Any) -> None:
    """Create a study for workers to serve; train nothing here. Prints its id and its key."""
    with _opened(given) as (_, storage):
        row, key = _create(storage, csv, given)
    if json_:
        _echo_json({"study": row.id, "key": key})
        return
    click.echo(f"study {row.id}\nkey   {key}  (opens its page; shown only now)")
    click.echo(f"Serve it with: topo-search worker --study {row.id} --until-idle")


@cli.command()
@click.option("--study", "wanted", multiple=True, help="Serve only this study. May be repeated.")
@serving_options
@click.option("--until-idle", is_flag=True, help="End when no study is open any more.")
@storage_option
@as_json
def worker(wanted: tuple[str, ...], until_idle: bool, json_: bool, **given: Any) -> None:
    """Serve open studies with this machine's cores until stopped."""
    import logging

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("topo_search").setLevel(logging.INFO)
    with _opened(given, warm=True) as (settings, storage):
        from storage import studies
        from topo_search.worker import Worker

        serving = Worker(
            storage,
            settings.home,
            slots=given["slots"],
            only=[studies.get(storage, name).id for name in wanted],
            until_idle=until_idle,
            objectives=given["allow_objective"],
            trial_timeout=given["trial_timeout"],
        )
        if not json_:
            click.echo(f"Worker {serving.name} serves with {serving.count} slots.", err=True)
        serving.run()
        if json_:
            _echo_json({"worker": serving.name, "slots": serving.count, "trials": serving.ended})
        if serving.draining and not until_idle:
            return
        if serving.draining:
            sys.exit(INTERRUPTED)


@cli.command()
@storage_option
@as_json
def studies(json_: bool, **given: Any) -> None:
    """List all studies."""
    with _opened(given) as (_, storage):
        from storage import studies as stored
        from topo_search import delivery

        rows = {row.id: row for row in stored.list_studies(storage)}
        found = [delivery.status(storage, row) for row in rows.values()]
    if json_:
        _echo_json(found)
        return
    from topo_search.terminal import show_studies

    show_studies(_console(), found, rows)


@cli.command()
@click.argument("study_id", metavar="ID")
@storage_option
@as_json
def status(study_id: str, json_: bool, **given: Any) -> None:
    """Show how far a study is."""
    with _study(study_id, given) as (_, storage, row):
        from topo_search import delivery

        found = delivery.status(storage, row)
    if json_:
        _echo_json(found)
        return
    from topo_search.terminal import show_status

    show_status(_console(), found, row)


@cli.command()
@click.argument("study_id", metavar="ID")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), help="Write all trials.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report.")
@storage_option
@as_json
def results(study_id: str, csv: Path | None, html: Path | None, json_: bool, **given: Any) -> None:
    """Show what a study found: leaderboard, scores, and with options a CSV and the report."""
    with _study(study_id, given) as (_, storage, row):
        from topo_search import delivery

        found = delivery.results(storage, row)
        next_ = delivery.commands(row, delivery.storage_named(given["where"]))
    if csv is not None:
        csv.write_text(found.to_csv(), encoding="utf-8", newline="")
    if html is not None:
        from topo_search.report import write_report

        write_report(found, html, commands=next_)
    if json_:
        _echo_json(found.to_json())
        return
    from topo_search.terminal import show_results

    show_results(_console(), found)
    for path in filter(None, (csv, html)):
        click.echo(f"Written: {path}")


@cli.command()
@click.argument("study_id", metavar="ID")
@more_trials
@serving_options
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="As of search.")
@storage_option
@as_json
def resume(
    study_id: str,
    trials: int,
    timeout: float,
    report: Path | None,
    json_: bool,
    **given: Any,
) -> None:
    """Go on with a study, with more trials where asked for, and serve it here to its end."""
    with _study(study_id, given, warm=True) as (settings, storage, row):
        from storage import studies as stored

        row = stored.resume(storage, row.id, trials=trials, seconds=timeout)
        name = str(row.plan.get("dataset_name") or "")
        csv = Path(name) if name else None
        _serve(settings, storage, row, None, _report_path(csv, row, report), json_, given)


@cli.command()
@click.argument("study_id", metavar="ID")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write. [default: network-ID]",
)
@storage_option
@as_json
def export(study_id: str, output: Path | None, json_: bool, **given: Any) -> None:
    """Write a study's network into a folder: Keras file, reading rules, how to use them."""
    with _study(study_id, given) as (_, storage, row):
        from topo_search import predictor

        folder = predictor.export(storage, row, output or Path(f"network-{row.id}"))
    if json_:
        _echo_json({"study": row.id, "folder": str(folder)})
        return
    click.echo(f"Written: {folder}. Use it: topo-search predict {folder} NEW.csv -o OUT.csv")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("csv", type=FILE)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="CSV file.")
@as_json
def predict(folder: Path, csv: Path, output: Path | None, json_: bool) -> None:
    """Predict a CSV's rows with an exported network. Needs no database."""
    from topo_search import predictor

    prediction = predictor.predict(folder, csv.read_bytes())
    for warning in prediction.warnings:
        click.echo(f"Note: {warning}", err=True)
    if output is not None:
        prediction.frame.to_csv(output, index=False)
        click.echo(f"Written: {len(prediction.frame):,} predictions to {output}", err=True)
    if json_:
        _echo_json(prediction.frame[list(prediction.predicted)].to_dict("records"))
    elif output is None:
        click.echo(prediction.frame.to_csv(index=False), nl=False)


@cli.command()
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="On 127.0.0.1."
)
@storage_option
@as_json
def dashboard(port: int, json_: bool, **given: Any) -> None:
    """Open optuna-dashboard over the same storage, for this machine only."""
    with _opened(given) as (_, storage):
        from topo_search.dashboard import serve

        def say(url: str) -> None:
            if json_:
                _echo_json({"url": url})
            else:
                click.echo(f"optuna-dashboard: {url}  (Ctrl-C ends it)")

        serve(storage, port, say)


class BadOption(click.ClickException):
    """An option that does not fit the table, the space or the other options."""

    exit_code = USAGE


@contextmanager
def _bad_options() -> Iterator[None]:
    """Tell errors of the options from errors of the file."""
    from objectives.reading import NoSuchColumnError, ReadingError

    try:
        yield
    except ValueError as error:
        if isinstance(error, ReadingError) and not isinstance(error, NoSuchColumnError):
            raise
        raise BadOption(str(error)) from error


def _create(storage: Storage, csv: Path | None, given: dict[str, Any]) -> tuple[StudyRow, str]:
    """Create the study that the options ask for."""
    from topo_search import study

    with _bad_options():
        return study.create(storage, options(csv, given))


def _serve(
    settings: Settings,
    storage: Storage,
    row: StudyRow,
    key: str | None,
    report: Path,
    json_: bool,
    given: dict[str, Any],
) -> None:
    """Serve a study here, then say what came of it, or how to go on with it."""
    from topo_search import delivery
    from topo_search.live import View
    from topo_search.terminal import show_end, show_start

    console = _console(stderr=json_)
    if not json_:
        show_start(console, row)
    view = View(console, row)
    where = delivery.storage_named(given["where"])
    with view.shown():
        row = delivery.serve(
            storage,
            settings.home,
            row.id,
            slots=given["slots"],
            objectives=given["allow_objective"],
            trial_timeout=given["trial_timeout"],
            on_tick=view.tick,
        )
    written, network = delivery.hand_over(storage, row, report, where)
    if json_:
        _echo_json(delivery.to_json(storage, row, key, written))
    else:
        next_ = delivery.commands(row, where)
        show_end(console, delivery.results(storage, row), row, written, network, next_)
    if row.state in ("created", "running"):
        click.echo(f"Interrupted. Go on with: topo-search resume {row.id}{where}", err=True)
        sys.exit(INTERRUPTED)
    if row.state != "finished" or row.outcome is None:
        go_on = f" Go on with: topo-search resume {row.id}{where}" * (row.state == "paused")
        click.echo(f"Error: the study is {row.state}: {row.reason}.{go_on}", err=True)
        sys.exit(FAILED)


@contextmanager
def _opened(given: dict[str, Any], *, warm: bool = False) -> Iterator[tuple[Settings, Storage]]:
    """Open the storage that the options and the environment name."""
    from topo_search.settings import Settings, opened

    given["where"] = given.pop("storage")
    settings = Settings.read(storage=given["where"])
    if warm:
        from storage import private_files
        from topo_search import pool

        private_files.claim_home(settings.home)
        pool.warm_up(settings.log)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with opened(settings) as storage:
        yield settings, storage


@contextmanager
def _study(
    reference: str, given: dict[str, Any], *, warm: bool = False
) -> Iterator[tuple[Settings, Storage, StudyRow]]:
    with _opened(given, warm=warm) as (settings, storage):
        from storage import studies as stored

        yield settings, storage, stored.get(storage, reference)


def _report_path(csv: Path | None, row: StudyRow, report: Path | None) -> Path:
    return report or Path(f"{csv.stem if csv else row.name or row.id}-report.html")


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _echo_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
