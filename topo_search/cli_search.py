"""Commands that create studies and serve them."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topo_search.cli_common import (
    FAILED,
    INTERRUPTED,
    answer_may_be_lost,
    check_places,
    creating,
    echo_json,
    open_storage,
    open_study,
)
from topo_search.cli_options import (
    as_json,
    more_trials,
    options,
    serving_arguments,
    serving_of,
    serving_options,
    storage_option,
    study_options,
)
from topo_search.cli_serving import report_path, serve_and_hand_over
from topo_search.cli_types import Duration

if TYPE_CHECKING:
    from storage.connection import Storage
    from storage.rows import StudyRow


logger = logging.getLogger(__name__)


@click.command()
@study_options
@storage_option
@as_json
def search(csv: Path | None, report: Path | None, json_: bool, **given: Any) -> None:
    """Search networks for a table; print the winner, write a report, hand over the network."""
    path = report_path(csv, given["name"] or "study", report)
    check_places(path, network=given["objective"] == "tabular")
    with open_storage(given, warm=True) as (settings, storage):
        if given["parent"] is not None:
            from storage import studies
            from topo_search.own_worker import check_allowed

            check_allowed(studies.get(storage, given["parent"]), given["allow_objective"])
        create = partial(_create, storage, csv, given)
        serve_and_hand_over(settings, storage, create, csv, report, json_, given)


@click.command()
@study_options
@storage_option
@as_json
def create(csv: Path | None, report: Path | None, json_: bool, **given: Any) -> None:
    """Create a study for workers to serve; train nothing here. Prints its id and its key.

    What is asked of slots and of the report goes into the commands that it prints.
    """
    with open_storage(given) as (_, storage):
        from topo_search.next_steps import Asked

        row, key = _create(storage, csv, given)
        asked = Asked(storage=given["where"])
    if json_:
        echo_json({"study": row.id, "key": key})
        return
    click.echo(f"study {row.id}\nkey   {key}  (opens its page; shown only now)")
    if row.parent is not None:
        click.echo(_knows(row))
    serving = serving_arguments(given, row.plan["objective"]) + asked.where
    if asked.secret:
        click.echo("Set TOPO_SEARCH_STORAGE to the same URL where you type what follows.")
    click.echo(f"Serve it with: topo-search worker --study {row.id} --until-idle{serving}")
    page = shlex.quote(str(report_path(csv, row.name or row.id, report)))
    click.echo(f"Then its page: topo-search results {row.id} --html {page}{asked.where}")


@click.command()
@click.option("--study", "wanted", multiple=True, help="Serve only this study. May be repeated.")
@click.option("--tag", "tags", multiple=True, help="Serve only studies with this tag. Repeatable.")
@serving_options
@click.option("--until-idle", is_flag=True, help="End when no study is open any more.")
@click.option(
    "--drain",
    default="60s",
    show_default=True,
    type=Duration(),
    help="Time that running trials have when it is asked to end.",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65535), help="Answer /metrics and /healthz there."
)
@storage_option
@as_json
def worker(
    wanted: tuple[str, ...],
    tags: tuple[str, ...],
    until_idle: bool,
    drain: float,
    log_json: bool,
    metrics_port: int | None,
    json_: bool,
    **given: Any,
) -> None:
    """Serve open studies with this machine's cores or GPUs until stopped."""
    from topo_search.logs import log_to_stderr

    if log_json:  # Also what goes wrong before the worker has a name.
        log_to_stderr(None, as_json=True)
    with open_storage(given, warm=True) as (settings, storage):
        from storage import studies
        from storage.rows import OPEN
        from topo_search.monitoring import monitored
        from topo_search.next_steps import not_open
        from topo_search.worker import Worker

        named = [studies.get(storage, name) for name in wanted]
        one = Worker(
            storage,
            settings.home,
            serving_of(given),
            only=[row.id for row in named],
            tags=tags,
            until_idle=until_idle,
            drain=drain,
        )
        log_to_stderr(one.name, as_json=log_json)
        for row in named:
            if row.state not in OPEN:
                logger.warning(not_open(row, given["where"]), extra={"study": row.id})
        with monitored(one, metrics_port):
            one.run()
        if json_:
            echo_json({"worker": one.name, "slots": one.count, "trials": one.delivered})
        if one.draining and (until_idle or signal.SIGINT in one.asked):
            sys.exit(INTERRUPTED)
        if until_idle and named and all(one.scheduler.never_serves(row.id) for row in named):
            sys.exit(FAILED)  # Its log has said why.


@click.command()
@click.argument("study_id", metavar="ID")
@more_trials
@serving_options
@click.option("--no-serve", is_flag=True, help="Only open it again, for workers elsewhere.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="As of search.")
@storage_option
@as_json
def resume(
    study_id: str,
    trials: int,
    timeout: float,
    no_serve: bool,
    report: Path | None,
    json_: bool,
    **given: Any,
) -> None:
    """Go on with a study, with more trials where asked for, and serve it here to its end."""
    with open_study(study_id, given, warm=not no_serve) as (settings, storage, row):
        from storage import studies as stored
        from topo_search.next_steps import Asked
        from topo_search.own_worker import check_allowed

        name = str(row.plan.get("dataset_name") or "")
        csv = Path(name) if name else None
        if not no_serve:
            check_allowed(row, given["allow_objective"])
            path = report_path(csv, row.name or row.id, report)
            check_places(path, network=row.plan["objective"] == "tabular")
        look = f"topo-search status {row.id}{Asked(storage=given['where']).where}"

        def resumed() -> tuple[StudyRow, None]:
            with answer_may_be_lost(
                "If the answer alone was lost, the study is open again, with what was added to its "
                f"budget. See it before you add that twice: {look}"
            ):
                return stored.resume(storage, row.id, trials=trials, seconds=timeout), None

        if no_serve:
            row, _ = resumed()
            if json_:
                echo_json({"study": row.id, "state": row.state, "trials": row.trials})
            else:
                click.echo(f"Study {row.id} is open again.")
            return
        serve_and_hand_over(settings, storage, resumed, csv, report, json_, given)


def _knows(row: StudyRow) -> str:
    """Say what a study knows of its parent's trials."""
    from topo_search.formats import format_count

    known, of = row.plan["known"], row.plan["known_of"]
    if known == of:
        return f"knows {format_count(known, 'trial')} of study {row.parent}"
    return f"knows {known:,} of {of:,} trials of study {row.parent}, the best in its space"


def _create(storage: Storage, csv: Path | None, given: dict[str, Any]) -> tuple[StudyRow, str]:
    """Create the study that the options ask for."""
    from topo_search import study

    with creating(given):
        return study.create(storage, options(csv, given))
