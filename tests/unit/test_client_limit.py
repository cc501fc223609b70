"""Who counts as one visitor, and how much one may hold of what all share."""

import pytest

from topo_search.web.shares import Shares
from topo_search.web.visitors import network, visitor


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
    assert visitor() == ""


def test_each_has_some_places_and_nobody_in_particular_all() -> None:
    shares = Shares(2)
    assert [shares.take("one") for _ in range(3)] == [True, True, False]
    assert shares.take("other")
    shares.give_back("one")
    assert [shares.take("one"), shares.take("one")] == [True, False]
    assert all(shares.take("") for _ in range(9))
    with pytest.raises(KeyError), shares.place("one", KeyError()):
        pass
    with shares.place("third", KeyError()):
        assert shares._taken["third"] == 1
    assert "third" not in shares._taken
