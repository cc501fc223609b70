"""Who counts as one visitor, and how much one may hold of what all share."""

import pytest

from topo_search.web.client_limit import ClientLimit
from topo_search.web.clients import client_address, network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_is_one_visitor(address: str, counted: str) -> None:
    assert network(address) == counted


def test_who_asks_is_nobody_beside_requests() -> None:
    assert client_address() == ""


def test_each_has_some_places_and_nobody_in_particular_all() -> None:
    limit = ClientLimit(2)
    assert [limit.take("one") for _ in range(3)] == [True, True, False]
    assert limit.take("other")
    limit.give_back("one")
    assert [limit.take("one"), limit.take("one")] == [True, False]
    assert all(limit.take("") for _ in range(9))
    with pytest.raises(KeyError), limit.place("one", KeyError()):
        pass
    with limit.place("third", KeyError()):
        assert limit._taken["third"] == 1
    assert "third" not in limit._taken
