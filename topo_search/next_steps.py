"""What a user may do next with a study: exact commands, and words around them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from storage.connection import hidden, holds_password
from storage.rows import StudyRow


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of a command that is not in its study, and is asked again to go on."""

    storage: str | None = None  # The URL that --storage named, if any.
    serving: str | None = None  # The options of who serves, as typed; by default those it needs.

    @property
    def where(self) -> str:
        """The option that names the storage; none for a URL with a password, which none shows."""
        if self.storage is None or self.secret:
            return ""
        return f" --storage {shlex.quote(self.storage)}"

    @property
    def secret(self) -> bool:
        """Whether the storage's URL has a password: TOPO_SEARCH_STORAGE is then to name it."""
        return self.storage is not None and holds_password(self.storage)


def serving_needed(row: StudyRow) -> str:
    """Return the options without which a study is not served: that its own objective may run."""
    objective = str(row.plan["objective"])
    return "" if objective == "tabular" else f" --allow-objective {shlex.quote(objective)}"


def write_again(row: StudyRow, asked: Asked) -> str:
    """Return in words how to write a finished study's report and network once more."""
    report = f"topo-search results {row.id} --html FILE.html{asked.where}"
    if not (row.outcome and row.outcome.get("test")):
        return f"Write the report elsewhere: {report}"
    network = f"topo-search export {row.id} -o FOLDER{asked.where}"
    return f"Write them elsewhere: {report} and {network}"


def go_on(row: StudyRow, asked: Asked) -> str:
    """Return in words how to go on with a study, or with the trials of a cancelled one."""
    go = "With TOPO_SEARCH_STORAGE set to the same URL, go" if asked.secret else "Go"
    how = {"create": " with its trials in a new study", "search": " in another space"}
    return f"{go} on{how.get(_what(row), ' with')}: {_command(row, asked)}"


def not_open(row: StudyRow, where: str | None) -> str:
    """Return in words why no worker has anything to do for a study, and how to change that.

    Args:
        row: A study that is not open.
        where: The storage's URL, where one was named.
    """
    reason = f": {row.reason}" if row.reason else ""
    then = go_on(row, Asked(storage=where, serving=" --no-serve"))
    return f"Study {row.id} is {row.state}{reason}. Workers have nothing to do for it. {then}"


def commands(row: StudyRow, asked: Asked | None = None) -> dict[str, str]:
    """Return what a user may do next with a study: what it does, and the exact command."""
    asked = asked or Asked()
    named = {}
    if asked.storage is not None and asked.secret:
        named = {"storage": f"export TOPO_SEARCH_STORAGE={shlex.quote(hidden(asked.storage))}"}
    where = asked.where
    taken = {
        "export": f"topo-search export {row.id} -o network{where}",
        "predict": "topo-search predict network new.csv -o predictions.csv",
    }
    return {
        **named,
        _what(row): _command(row, asked),
        **(taken if row.outcome and row.outcome.get("test") else {}),
        "results": f"topo-search results {row.id} --csv trials.csv{where}",
        "dashboard": f"topo-search dashboard{where}",
    }


def _what(row: StudyRow) -> str:
    """Return what it is to go on with a study: resume it, or create or search another."""
    if row.state == "cancelled":
        return "create"
    return "search" if row.state == "finished" and row.exhausted else "resume"


def _command(row: StudyRow, asked: Asked) -> str:
    what = _what(row)
    if what == "create":
        return f"topo-search create --from {row.id}{asked.where}"
    if what == "search":  # In the usual space, few networks of which this one had.
        table, target = (shlex.quote(str(row.plan[name])) for name in ("dataset_name", "target"))
        return f"topo-search search {table} --target {target}{asked.where}"
    more = ""
    if row.state == "finished":
        trials = row.drawn >= row.trials or not row.time_is_spent
        more = " --trials +20" * trials + " --timeout +10m" * row.time_is_spent
    serving = serving_needed(row) if asked.serving is None else asked.serving
    return f"topo-search resume {row.id}{more}{serving}{asked.where}"
