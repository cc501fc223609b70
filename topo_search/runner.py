"""The life of a trial in a worker: given to a slot, judged at its rungs, ended once."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from objectives.objective import Final, Outcome
from storage import failures, finishing, leases, trials
from storage.errors import StorageError
from storage.optuna_rows import State
from topo_search import finish
from topo_search.outcomes import OUTDONE, storable
from topo_search.pool import Died, Slot
from topo_search.retries import Retries
from topo_search.scheduler import Held
from topo_search.slot import Ended, Reported

logger = logging.getLogger(__name__)


class TrialRunner:
    """What a worker has leases of and its slots train."""

    def __init__(
        self, retry: Retries, refuse: Callable[..., None], serves: Callable[[str], None]
    ) -> None:
        """Make a runner that has no trials yet.

        Args:
            retry: How to reach the database.
            refuse: Given a study and why it cannot be served here, for a while or for so many
                `seconds`.
            serves: Given a study that is.
        """
        self.retry, self.storage = retry, retry.storage
        self.refuse, self.serves = refuse, serves
        self.held: dict[str, Held] = {}  # By the tag that the slots' messages carry.
        self.outcomes = Counter[str]()  # Trials whose end was delivered here, by how they ended.
        self.slots_lost = 0  # Slots that died at work.
        self.leases_lost = 0  # To others, or ended by them, as with their study.

    def of(self, slot: Slot) -> Held | None:
        """Return what a slot trains; None where it trains nothing, or what has been dropped."""
        return None if slot.assignment is None else self.held.get(slot.assignment.trial)

    def start(self, slot: Slot, held: Held) -> None:
        """Hand a leased trial, or the finishing of a study, to a slot."""
        self._keep(held)  # Also while it is handed out: the worker may end by that.
        try:
            if held.lease.kind == "finish":
                self._start_finish(slot, held)
            else:
                self._start_trial(slot, held)
        except StorageError:
            raise
        except trials.LeaseLostError:  # Paused since it was claimed, or not this worker's.
            self.retry(leases.release, self.storage, held.lease)
            self.drop(held)
        except (LookupError, TypeError, ValueError, OSError) as error:
            # Its dataset is gone, or does not fit on this disk: others may manage.
            self.retry(leases.release, self.storage, held.lease, reason=str(error))
            self.drop(held)
            self.refuse(held.lease.study, f"cannot be served here now: {error}")
        else:
            self.serves(held.lease.study)

    def _start_trial(self, slot: Slot, held: Held) -> None:
        served, lease = held.served, held.lease
        assignment = self.retry(served.assignment, lease)
        attributes = served.described(lease.parameters)
        number = self.retry(trials.begin, self.storage, lease, served.distributions, attributes)
        self._keep(replace(held, number=number))
        slot.give(assignment)

    def take(
        self, slot: Slot, message: Reported | Ended | Died, go_on: Callable[[Slot], None]
    ) -> None:
        """Act on what a slot said; what it says of a trial that has ended is dropped.

        Args:
            slot: Who said it.
            message: What it said.
            go_on: Called with a slot that is free again, before what it came to is delivered.
        """
        if slot.assignment is None:
            return
        held = self.held.get(slot.assignment.trial)
        spent = _spent(slot, message)  # Before the slot goes on with another.
        if not isinstance(message, Reported):
            slot.assignment = None
        if isinstance(message, Ended) and (held is None or message.result is not None):
            go_on(slot)
        if held is None:
            return
        try:
            self._act(slot, held, message, spent)
        except (TypeError, ValueError) as error:
            # Whoever took this trial over would not fare better: it is its own fault.
            if isinstance(message, Reported):
                slot.stop_trial()
            reason = storable(f"what it said cannot be kept: {error}")
            logger.error("%s: %s", held, reason, exc_info=True, extra=held.about)
            self._fail(held, reason, None, spent)

    def _act(
        self, slot: Slot, held: Held, message: Reported | Ended | Died, spent: dict[str, Any]
    ) -> None:
        """Act on what was said of a trial in hand, on which so many epochs and seconds were spent.

        Raises:
            TypeError, ValueError: It cannot be kept.
        """
        match message:
            case Reported():
                self._judge(slot, held, message)
            case Died():
                self.slots_lost += 1
                self._hand_back(held, message, spent)
            case Ended(result=Outcome() as outcome):
                self._complete(held, outcome)
            case Ended(result=Final() as final):
                self._finish(held, final)
            case Ended(missing=True):
                self.retry(leases.release, self.storage, held.lease)
                self.drop(held)
                reason = f"cannot be served here: {message.reason}"
                self.refuse(held.lease.study, reason, seconds=math.inf)
            case Ended(diverged=True) if held.lease.kind == "trial":
                self._end(held, "pruned", None, {"reason": "diverged", **spent})
            case Ended():
                reason = message.reason or "the loss is not finite"
                self._fail(held, reason, message.traceback, spent)

    def _judge(self, slot: Slot, held: Held, report: Reported) -> None:
        """Keep a report; where it is not good enough, end the trial with its value."""
        step, value = report.step, report.value
        if not self.retry(trials.report, self.storage, held.lease, step, value):
            self.lose(slot, held)
        elif self.retry(held.served.prunes, held.number, step, value):
            self.prune(slot, held, f"{OUTDONE} at step {step}")

    def prune(self, slot: Slot, held: Held, reason: str) -> None:
        """End a running trial with the value it has reached."""
        slot.stop_trial()
        attributes = {"reason": reason, "epochs": slot.step, "seconds": slot.seconds}
        self._end(held, "pruned", slot.value if slot.step else None, attributes)

    def _complete(self, held: Held, outcome: Outcome) -> None:
        """End a trial with its score, and with its weights if it is among the best."""
        attributes = {**outcome.metrics, **outcome.attributes}
        files = self.retry(finish.weights_to_keep, held.served, held.number, outcome)
        if self._end(held, "complete", outcome.value, attributes, files) and files:
            self.retry(finish.drop_weights, held.served)

    def _end(
        self,
        held: Held,
        state: State,
        value: float | None,
        attributes: dict[str, Any],
        files: dict[str, bytes] | None = None,
    ) -> bool:
        """Deliver how a trial ended; the first end stands. Returns whether this one does."""
        end = partial(trials.end, self.storage, held.lease, state=state, value=value)
        end = partial(end, attributes=attributes, files=files)
        stands = self.retry(self.retry.beside, end) if files else self.retry(end)
        if stands:
            self.outcomes[state] += 1
            what = attributes.get("reason") or (value if value is None else f"{value:.6g}")
            told = what if str(what).startswith(state) else f"{state}, {what}"
            logger.info("%s: %s.", held, told, extra=held.about)
        else:
            logger.info("%s had ended.", held, extra=held.about)
        self.drop(held)
        return stands

    def _fail(self, held: Held, reason: str, traceback: str | None, spent: dict[str, Any]) -> None:
        """End a trial that failed by its own fault; a study that cannot be finished is paused."""
        if held.lease.kind == "finish":
            reason = f"finishing failed: {reason}"
            logger.error("%s: %s", held, reason, extra=held.about | {"traceback": traceback})
            self.retry(finishing.finish, self.storage, held.lease, None, reason=reason)
            self.drop(held)
            return
        if traceback:
            logger.error("%s: %s", held, reason, extra=held.about | {"traceback": traceback})
        attributes = {"reason": reason, "traceback": traceback or "", **spent}
        if self._end(held, "failed", None, attributes):
            if why := self.retry(failures.pause_failing, self.storage, held.lease.study):
                logger.error("Study %s is paused: %s.", held.lease.study, why, extra=held.about)

    def _hand_back(self, held: Held, died: Died, spent: dict[str, Any]) -> None:
        """Let a trial whose slot died be tried again, unless it was ended for its own fault."""
        if not died.again:
            self._fail(held, died.reason, None, spent)
            return
        logger.warning("%s: %s.", held, died.reason, extra=held.about)
        self.retry(leases.release, self.storage, held.lease, spent=True, reason=died.reason)
        self.drop(held)

    # The end of a study.

    def _start_finish(self, slot: Slot, held: Held) -> None:
        winner = self.retry(finish.best_of, self.storage, held.served.row)
        if winner is None or held.served.space.name == "own":
            # Whoever ended a trial may have been lost before it did.
            self.retry(finish.drop_weights, held.served)
            self.retry(finishing.finish, self.storage, held.lease, {"best": winner})
            self.drop(held)
            return
        slot.give(self.retry(finish.finish_assignment, held.served, held.lease, winner))

    def _finish(self, held: Held, final: Final) -> None:
        """Keep what finishing gave; what is too large to be kept pauses the study."""
        try:
            self.retry(self.retry.beside, partial(finish.keep, held.served, held.lease, final))
        except ValueError as error:
            self._fail(held, str(error), None, {})
        self.drop(held)

    def lose(self, slot: Slot, held: Held) -> None:
        """Let go of what others took over, or ended, while a slot was at work on it."""
        self.leases_lost += 1
        slot.stop_trial()
        self.drop(held)

    def _keep(self, held: Held) -> None:
        self.held[str(held.lease.token)] = held

    def drop(self, held: Held) -> None:
        """Let go of what has ended, or is another's."""
        self.held.pop(str(held.lease.token), None)


def _spent(slot: Slot, message: Reported | Ended | Died) -> dict[str, Any]:
    """Return the epochs and seconds that a slot has spent on its trial, as far as it said."""
    step = message.step if isinstance(message, Ended) else slot.step
    return {"epochs": step, "seconds": slot.seconds}
