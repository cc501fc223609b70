"""Commands that pause, cancel and delete studies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from topo_search.cli_common import echo_json, open_study
from topo_search.cli_options import as_json, storage_option

if TYPE_CHECKING:
    from topo_search.next_steps import Asked


@click.command()
@click.argument("study_id", metavar="ID")
@click.option("--reason", help="Shown with the study.")
@storage_option
@as_json
def pause(study_id: str, reason: str | None, json_: bool, **given: Any) -> None:
    """Hand out no more of a study's trials; what runs goes on to its end."""
    with open_study(study_id, given) as (_, storage, row):
        from storage import studies as stored
        from topo_search.next_steps import go_on

        row = stored.pause(storage, row.id, reason or "paused by hand")
        how = go_on(row, _asked(given))
    if json_:
        echo_json({"study": row.id, "state": row.state, "reason": row.reason})
        return
    click.echo(f"Study {row.id} is paused. {how}")


@click.command()
@click.argument("study_id", metavar="ID")
@click.option("--reason", help="Shown with the study.")
@storage_option
@as_json
def cancel(study_id: str, reason: str | None, json_: bool, **given: Any) -> None:
    """End a study for good, now: what runs is failed. Its results stay."""
    with open_study(study_id, given) as (_, storage, row):
        from storage import studies as stored

        row = stored.cancel(storage, row.id, reason or "cancelled by hand")
    if json_:
        echo_json({"study": row.id, "state": row.state, "reason": row.reason})
        return
    click.echo(f"Study {row.id} is cancelled.")


@click.command()
@click.argument("study_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Mean it.")
@storage_option
@as_json
def delete(study_id: str, yes: bool, json_: bool, **given: Any) -> None:
    """Delete a study with its trials, its network, and its table if no other study has it."""
    with open_study(study_id, given) as (_, storage, row):
        from storage import studies as stored
        from storage.progress import progress_of

        if not yes:
            found = progress_of(storage, row.id)
            raise click.UsageError(
                f"Study {row.id} has {found.finished} trials, which would be gone. "
                f"If that is meant: topo-search delete {row.id} --yes{_asked(given).where}"
            )
        stored.delete(storage, row.id)
    if json_:
        echo_json({"study": row.id, "state": "deleted"})
        return
    click.echo(f"Study {row.id} is deleted.")


def _asked(given: dict[str, Any]) -> Asked:
    from topo_search.next_steps import Asked

    return Asked(storage=given["where"])
