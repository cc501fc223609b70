"""Visitors: who asks, as far as can be told."""

from __future__ import annotations

import ipaddress

from flask import has_request_context, request


def client_address() -> str:
    """Return whom limits count: the address that asks; empty where nobody does.

    Of IPv6 it is the network of 64 bits, of which one visitor has all addresses.
    """
    return network(request.remote_addr or "") if has_request_context() else ""


def network(address: str) -> str:
    """Return what stands for one visitor's addresses; of what is no address, itself."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, 64), strict=False))
