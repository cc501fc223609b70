"""The promises as SQL: what must hold in every database, whatever happened to its workers.

Each rule is one statement that returns the studies that break it, and how.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from storage.connection import Storage
from storage.tables import MAX_ATTEMPTS, OF_STUDY

# A look that a study inherited tells of the one that took it (`removal.delete`). Of old versions it
# does not; then it is known by being older than its study, where it is.
INHERITED = f"k.purpose LIKE '%{OF_STUDY}________'"

RULES = {
    "as many units as were drawn, numbered from 0": """
        SELECT s.id AS study, count(l.id) || ' units where ' || s.drawn || ' were drawn' AS what
        FROM topo_study s LEFT JOIN topo_lease l ON l.study = s.id AND l.kind = 'trial'
        GROUP BY s.id
        HAVING count(l.id) <> s.drawn OR max(l.unit) <> s.drawn - 1 OR min(l.unit) <> 0""",
    "no more units than the budget": """
        SELECT id AS study, drawn || ' units of ' || trials AS what
        FROM topo_study WHERE drawn > trials""",
    "one trial for each unit that began": """
        SELECT l.study, 'unit ' || l.unit || ' has ' || count(a.trial_id) || ' trials' AS what
        FROM topo_lease l LEFT JOIN trial_user_attributes a
            ON a.key = 'lease' AND a.value_json = '"' || l.id || '"'
        WHERE l.kind = 'trial'
        GROUP BY l.id
        HAVING count(a.trial_id) <> (CASE WHEN l.trial_id IS NULL THEN 0 ELSE 1 END)""",
    "no trial without a unit, but those a study began with": """
        SELECT s.id AS study, 'trial ' || t.number AS what
        FROM trials t JOIN topo_study s ON s.optuna_study_id = t.study_id
        WHERE NOT EXISTS (SELECT FROM topo_lease l WHERE l.trial_id = t.trial_id)
        AND NOT EXISTS (SELECT FROM trial_user_attributes a
                        WHERE a.trial_id = t.trial_id AND a.key = 'known_from')""",
    "trials numbered without a gap": """
        SELECT s.id AS study, count(*) || ' trials, the last is ' || max(t.number) AS what
        FROM trials t JOIN topo_study s ON s.optuna_study_id = t.study_id
        GROUP BY s.id
        HAVING count(*) <> max(t.number) + 1 OR count(DISTINCT t.number) <> count(*)""",
    "a unit and its trial end alike": """
        SELECT l.study, 'unit ' || l.unit || ' is ' || coalesce(l.outcome, 'open')
            || ', its trial ' || t.state AS what
        FROM topo_lease l JOIN trials t ON t.trial_id = l.trial_id
        WHERE l.kind = 'trial' AND coalesce(l.outcome, 'open') <> CASE t.state
            WHEN 'COMPLETE' THEN 'complete' WHEN 'PRUNED' THEN 'pruned'
            WHEN 'FAIL' THEN 'failed' ELSE 'open' END""",
    "a complete trial has its value, once": """
        SELECT s.id AS study,
            'trial ' || t.number || ' has ' || count(v.trial_id) || ' values' AS what
        FROM trials t JOIN topo_study s ON s.optuna_study_id = t.study_id
        LEFT JOIN trial_values v ON v.trial_id = t.trial_id
        WHERE t.state = 'COMPLETE' GROUP BY s.id, t.number HAVING count(v.trial_id) <> 1""",
    "a failed trial says why": """
        SELECT l.study, 'unit ' || l.unit AS what
        FROM topo_lease l WHERE l.outcome = 'failed' AND l.kind = 'trial'
        AND NOT EXISTS (SELECT FROM trial_user_attributes a WHERE a.trial_id = l.trial_id
                        AND a.key = 'reason' AND length(a.value_json) > 2)""",
    "a trial is given up after all its attempts": f"""
        SELECT l.study, 'unit ' || l.unit || ' after ' || l.attempt AS what
        FROM topo_lease l WHERE l.outcome = 'failed' AND l.reason LIKE 'gave up after %'
        AND l.attempt <> {MAX_ATTEMPTS}""",
    "an ended study has no open lease": """
        SELECT s.id AS study, l.kind || ' ' || l.unit AS what
        FROM topo_study s JOIN topo_lease l ON l.study = s.id
        WHERE s.state IN ('finished', 'cancelled') AND l.ended_at IS NULL""",
    "a finished study has used its budget, or says why not": """
        SELECT id AS study, drawn || ' of ' || trials || ' trials' AS what
        FROM topo_study WHERE state = 'finished' AND drawn < trials
        AND (seconds IS NULL OR spent_seconds < seconds)""",
    "one look for each finishing that scored": f"""
        SELECT s.id AS study, s.looks || ' looks, ' || s.done || ' finishings' AS what
        FROM (SELECT s.id,
                (SELECT count(*) FROM topo_look k WHERE k.study = s.id
                 AND NOT {INHERITED} AND k.at >= s.created_at) AS looks,
                (SELECT count(*) FROM topo_lease l
                 WHERE l.study = s.id AND l.kind = 'finish' AND l.outcome = 'done') AS done
              FROM topo_study s) s
        WHERE s.looks > s.done""",
    "a look for what was scored on the test rows": """
        SELECT id AS study, 'scored ' || coalesce(outcome #>> '{test,value}', '') AS what
        FROM topo_study s WHERE outcome ->> 'test' IS NOT NULL
        AND NOT EXISTS (SELECT FROM topo_look k WHERE k.study = s.id
                        AND k.trial_number = (outcome #>> '{best,trial}')::int)""",
}


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A study that breaks a rule."""

    rule: str
    study: str
    what: str


def violations(storage: Storage) -> list[Violation]:
    """Return what breaks a rule, in one consistent look at the database."""
    found = []
    with storage.transaction() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for rule, statement in RULES.items():
            for row in connection.execute(sa.text(statement)):
                found.append(Violation(rule=rule, study=row.study, what=row.what))
    return found
