import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from storage import tables, tokens
from storage.connection import Storage


def used_before(storage: Storage, seconds: float) -> None:
    ago = sa.func.clock_timestamp() - sa.text(f"interval '{seconds} seconds'")
    with storage.transaction() as connection:
        connection.execute(sa.update(tables.token).values(last_used_at=ago))


def test_a_token_is_found_by_itself_alone(storage: Storage) -> None:
    first, second = tokens.create(storage, "ci"), tokens.create(storage, "grafana")
    assert first != second and first.startswith("topo_") and len(first) == len("topo_") + 22
    for token, name in ((first, "ci"), (second, "grafana")):
        found = tokens.find(storage, token)
        assert found is not None and found.name == name
    bare = first.removeprefix("topo_")
    for wrong in ("", "topo_", first + "x", first[:-1], bare, "topo_é", "topo_\udcff"):
        assert tokens.find(storage, wrong) is None


def test_only_the_hash_of_a_token_is_kept(storage: Storage) -> None:
    token = tokens.create(storage, "ci")
    with storage.transaction() as connection:
        kept = connection.scalar(sa.select(tables.token.c.hash))
        everything = connection.exec_driver_sql("SELECT t::text FROM topo_token t").scalar_one()
    assert kept == hashlib.sha256(token.encode()).hexdigest()
    assert token not in everything and token.removeprefix("topo_") not in everything
    assert token not in repr(tokens.list_tokens(storage))


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(storage: Storage) -> None:
    token = tokens.create(storage, "ci")
    other = tokens.create(storage, "other")
    assert [known.last_used_at for known in tokens.list_tokens(storage)] == [None, None]
    tokens.find(storage, token)
    noted, unused = tokens.list_tokens(storage)
    assert noted.last_used_at is not None and noted.last_used_at >= noted.created_at
    assert unused.last_used_at is None
    tokens.find(storage, token)
    assert tokens.list_tokens(storage)[0] == noted
    used_before(storage, 61)
    tokens.find(storage, token)
    again, unused = tokens.list_tokens(storage)
    assert again.last_used_at is not None and again.last_used_at > noted.last_used_at
    assert tokens.find(storage, other) == unused


def test_a_revoked_token_opens_nothing_and_its_name_is_free(storage: Storage) -> None:
    token = tokens.create(storage, "ci")
    tokens.revoke(storage, "ci")
    assert tokens.find(storage, token) is None
    with pytest.raises(LookupError, match="name of a token: there is none. Received 'ci'"):
        tokens.revoke(storage, "ci")
    assert tokens.create(storage, "ci") != token
    with pytest.raises(LookupError, match="name of a token: ci. Received 'cd'"):
        tokens.revoke(storage, "cd")


def test_a_name_is_given_to_one_token(storage: Storage) -> None:
    def create(_: int) -> str | None:
        try:
            return tokens.create(storage, "ci")
        except ValueError as error:
            assert "'ci', which is taken; choose another, or revoke" in str(error)
            return None

    with ThreadPoolExecutor(3) as pool:
        (made,) = [token for token in pool.map(create, range(3)) if token]
    assert tokens.find(storage, made) is not None
    with pytest.raises(ValueError, match="not only blanks"):
        tokens.create(storage, " ")
