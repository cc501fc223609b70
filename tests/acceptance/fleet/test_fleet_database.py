"""A database that crashes, stays away and cuts its connections while trials are trained."""

import os
import random
import socket

import pytest
from fleet_checks import as_drawn, essence, exact, make_study, none_open, takeovers
from fleet_harness import LEASE, Fleet, ended, is_finished, passes, wait_until
from fleet_hosts import Relay
from fleet_server import Server

from storage import clock, connection
from storage.connection import Storage, connect
from storage.errors import StorageError

SEED = 11


def test_crashes_of_the_database_change_nothing(
    server: Server, storage: Storage, fleet: Fleet
) -> None:
    undisturbed = make_study(storage, trials=22, seconds=0.05, sampler="tpe").id
    fleet.start(only=[undisturbed]).join()
    study = make_study(storage, trials=22, seconds=0.3, sampler="tpe").id
    chance = random.Random(SEED)
    fleet.start()
    for crash in range(10):
        wait_until(lambda crash=crash: ended(storage, study) > 2 * crash, "a trial ends")  # type: ignore[misc]
        wait_until(passes(chance.uniform(0, 0.4)), "some moment of a trial comes")
        server.restart("immediate")
    fleet.join()
    seen = exact(storage, study)
    none_open(storage)
    assert essence(seen) == essence(exact(storage, undisturbed))
    assert {trial.attempts for trial in seen} == {1}


def test_nobody_takes_over_what_the_database_kept_from_being_renewed(
    server: Server, storage: Storage, fleet: Fleet
) -> None:
    workers = fleet.ready(3)
    study = make_study(storage, trials=16, seconds=0.5).id
    wait_until(lambda: all(worker.status["held"] for worker in workers), "all are at work")
    server.stop("immediate")
    wait_until(passes(2 * LEASE), "every lease runs out")
    wait_until(lambda: all("Trying again." in one.log for one in workers), "all have noticed")
    server.start()
    ((started,),) = server.execute("SELECT extract(epoch FROM pg_postmaster_start_time())")
    wait_until(is_finished(storage, study), "the study is finished")
    fleet.dismiss()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    # Whoever lost its lease on a busy machine lost it later.
    assert all(at > float(started) + LEASE for at in takeovers(storage))


def test_connections_cut_again_and_again_lose_nothing(
    server: Server, database: str, storage: Storage, fleet: Fleet
) -> None:
    chance = random.Random(SEED)
    # A long lease: with one as short as the pauses between cuts a worker is lost rightly.
    fleet.ready(3, lease=10 * LEASE)
    study = make_study(storage, trials=30, seconds=0.4).id
    finished, cut = is_finished(storage, study), 0
    while not finished():
        cut += server.cut_connections(database)
        moment = passes(chance.uniform(0.02, 0.25))
        wait_until(lambda moment=moment: moment() or finished(), "a moment passes")  # type: ignore[misc]
    fleet.dismiss()
    seen = exact(storage, study)
    none_open(storage)
    as_drawn(storage, study, seen)
    assert cut > 20
    assert {(trial.state, trial.attempts) for trial in seen} == {("COMPLETE", 1)}


def test_a_server_that_vanishes_without_a_word_is_noticed(
    server: Server, database: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage.engine.connect() as opened:
        file = os.dup(opened.connection.driver_connection.fileno())  # type: ignore[union-attr]
    with socket.socket(fileno=file) as way:
        assert way.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle, interval, count = (way.getsockopt(socket.IPPROTO_TCP, option) for option in options)
        assert idle + interval * count <= clock.LEASE / 2
        assert way.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 1000 * clock.LEASE / 2
    assert connection._CONNECT_ARGS["connect_timeout"] <= 10
    monkeypatch.setitem(connection._CONNECT_ARGS, "connect_timeout", 2)
    with Relay(target=server.port).running() as relay:
        relay.cut()
        with pytest.raises(StorageError, match="timeout expired.*firewall"):
            connect(server.url(database, port=relay.port))
