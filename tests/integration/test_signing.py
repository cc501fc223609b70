from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from storage.connection import Storage, connect
from storage.signing import signing_key


def test_all_servers_of_a_database_sign_with_one_key(database_url: str) -> None:
    start = Barrier(4)

    def server(_: int) -> str:
        storage = connect(database_url)
        with storage.transaction():
            start.wait()  # All have a connection by now, and ask at once.
        key = signing_key(storage)
        storage.close()
        return key

    with ThreadPoolExecutor(4) as pool:
        (key,) = set(pool.map(server, range(4)))
    assert len(bytes.fromhex(key)) == 32
    later = connect(database_url)
    assert signing_key(later) == key
    later.close()


def test_the_key_that_another_server_makes_meanwhile_is_taken(storage: Storage) -> None:
    with storage.transaction() as other:
        other.exec_driver_sql("INSERT INTO topo_secret VALUES ('signing', 'made first')")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(signing_key, storage)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while not other.exec_driver_sql(waiting).scalar_one():
                assert not asked.done()
            other.commit()
            assert asked.result() == "made first"
