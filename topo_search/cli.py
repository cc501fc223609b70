"""The command line. Modules are imported where a command needs them, so that help is instant."""

from __future__ import annotations

import logging
import sys

import click

from topo_search import cli_fleet, cli_life, cli_search, cli_studies, cli_sweep, cli_web
from topo_search.cli_common import FAILED, INTERRUPTED
from topo_search.logs import is_for_machines

logger = logging.getLogger(__name__)


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
        if is_for_machines():
            logger.error(error.format_message())
        else:
            error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say("Interrupted.")
        code = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # Whoever read our output has enough, as `| head`.
        code = FAILED
    except (ValueError, LookupError, OSError, ArithmeticError, RuntimeError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        _say(f"Error: {text}")
        code = FAILED
    except Exception:
        if not is_for_machines():
            raise
        logger.exception("An error of topo-search.")
        code = FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> None:
    if is_for_machines():
        logger.error(text)
    else:
        click.echo(text, err=True)


for command in (
    cli_studies.inspect,
    cli_search.search,
    cli_sweep.sweep,
    cli_search.create,
    cli_search.worker,
    cli_search.resume,
    cli_life.pause,
    cli_life.cancel,
    cli_life.delete,
    cli_studies.studies,
    cli_studies.status,
    cli_studies.results,
    cli_studies.export,
    cli_studies.predict,
    cli_studies.dashboard,
    cli_fleet.fleet,
    cli_fleet.storage,
    cli_web.web,
    cli_web.token,
):
    cli.add_command(command)

if __name__ == "__main__":
    main()
