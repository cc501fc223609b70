"""Commands of the web service."""

from __future__ import annotations

from typing import Any

import click

from topo_search.cli_common import echo_json, open_storage
from topo_search.cli_options import as_json, storage_option
from topo_search.cli_types import Duration


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--with-worker", is_flag=True, help="Train with this machine's slots, too.")
@click.option(
    "--proxied",
    is_flag=True,
    help="A proxy is before it, speaks TLS and says who asks (X-Forwarded-For, -Proto, -Host).",
)
@click.option(
    "--retain",
    type=Duration(),
    help="Delete studies and tables so long after they were last worked at, as 30d. "
    "[default: keep them]",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@storage_option
def web(
    host: str,
    port: int,
    with_worker: bool,
    proxied: bool,
    retain: float | None,
    log_json: bool,
    **given: Any,
) -> None:
    """Serve the pages: upload a table, choose, watch, come back by key.

    With no --storage it starts this machine's private server; with --with-worker that is the whole
    service in one command.
    """
    import os
    from contextlib import closing
    from datetime import timedelta

    from topo_search.logs import log_to_stderr
    from topo_search.signals import left_on_sigterm
    from topo_search.web import access_log, address

    beside = {k: v for k, v in os.environ.items() if k != "TOPO_SEARCH_OPERATOR_PASSWORD"}
    if given["storage"] is not None:
        beside["TOPO_SEARCH_STORAGE"] = given["storage"]  # Not an argument: `ps` shows those.
    with left_on_sigterm(), closing(address.bound(host, port)) as listening:
        password_hash = address.hashed(address.read_password())
        address.require_password(listening, password_hash, proxied=proxied)
        log_to_stderr("web", as_json=log_json, masked=access_log.masked)
        with open_storage(given) as (settings, storage):
            from topo_search.web import server

            server.serve(
                storage,
                settings.home,
                listening=listening,
                password_hash=password_hash,
                proxied=proxied,
                keep=None if retain is None else timedelta(seconds=retain),
                worker=beside if with_worker else None,
                log_json=log_json,
                told=lambda url: click.echo(f"Open {url} in a browser. Ctrl-C ends it.", err=True),
            )


@click.group()
def token() -> None:
    """Tokens with which operators' programs use the REST calls."""


@token.command("create")
@click.argument("name")
@storage_option
@as_json
def create_token(name: str, json_: bool, **given: Any) -> None:
    """Make a token; it is shown only now."""
    with open_storage(given) as (_, storage):
        from storage import tokens

        made = tokens.create(storage, name)
    if json_:
        echo_json({"name": name, "token": made})
    else:
        click.echo(f"token {made}  (shown only now)")


@token.command("list")
@storage_option
@as_json
def list_tokens(json_: bool, **given: Any) -> None:
    """List the tokens there are, and when they were last used."""
    with open_storage(given) as (_, storage):
        from storage import tokens

        found = tokens.list_tokens(storage)
    rows = [
        {
            "name": one.name,
            "created_at": one.created_at.isoformat(),
            "last_used_at": one.last_used_at.isoformat() if one.last_used_at else None,
        }
        for one in found
    ]
    if json_:
        echo_json(rows)
        return
    for row in rows:
        click.echo(
            f"{row['name']}  made {row['created_at']}, used {row['last_used_at'] or 'never'}"
        )


@token.command("revoke")
@click.argument("name")
@storage_option
@as_json
def revoke_token(name: str, json_: bool, **given: Any) -> None:
    """Let a token be worth nothing any more."""
    with open_storage(given) as (_, storage):
        from storage import tokens

        tokens.revoke(storage, name)
    if json_:
        echo_json({"name": name, "revoked": True})
    else:
        click.echo(f"Token {name} is revoked.")
