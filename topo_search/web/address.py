"""The address that the web service listens on, and the password without which none is public."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import argon2


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has an address and does not listen yet.

    Args:
        host: Address or name; of several addresses the first is taken, IPv4 before IPv6.
        port: Port; 0 takes any that is free.

    Raises:
        OSError: The address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        said = error.strerror or error
        raise OSError(
            f"Port {port} of {host} cannot be used: {said}. Name another with --port or --host."
        ) from error
    return made


def require_password(listening: socket.socket, password: str | None, *, proxied: bool) -> None:
    """Refuse to serve others without an operator's password.

    Raises:
        ValueError: There is none, and others can reach the service.
    """
    if password is None and (proxied or not is_loopback(listening)):
        where = "behind a proxy" if proxied else f"on {listening.getsockname()[0]}"
        raise ValueError(
            f"Expected an operator's password to serve {where}, which others can reach. Set "
            "TOPO_SEARCH_OPERATOR_PASSWORD_FILE (or TOPO_SEARCH_OPERATOR_PASSWORD), or serve on "
            "127.0.0.1."
        )


def read_password() -> str | None:
    """Return the operator's password from the environment, or from the file that it names.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is empty, or not text.
    """
    path = os.environ.get("TOPO_SEARCH_OPERATOR_PASSWORD_FILE")
    said = os.environ.pop("TOPO_SEARCH_OPERATOR_PASSWORD", None)  # Else children had it, too.
    if not path:
        return said or None
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise OSError(
            f"Expected a file with the operator's password. TOPO_SEARCH_OPERATOR_PASSWORD_FILE "
            f"names {path}, which cannot be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected the operator's password in {path}, as UTF-8. Received other bytes; write "
            "the file again."
        ) from error
    if not text.strip():
        raise ValueError(f"Expected the operator's password in {path}. Received an empty file.")
    return text


def hashed(password: str | None) -> str | None:
    """Return the Argon2 hash of a password; of one that is a hash already, itself.

    Raises:
        ValueError: A hash that is not whole.
    """
    if not password:
        return None
    if not password.startswith("$argon2"):
        return argon2.PasswordHasher().hash(password)
    try:
        argon2.extract_parameters(password)
    except argon2.exceptions.InvalidHashError as error:
        raise ValueError(
            "Expected a password or its Argon2 hash, as argon2-cffi writes it. Received what "
            "begins as a hash and is none (not shown). In a shell, put it in single quotes: it "
            "holds dollar signs."
        ) from error
    return password


def is_loopback(listening: socket.socket) -> bool:
    """Tell whether only this machine reaches a socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def local_names(listening: socket.socket) -> Sequence[str]:
    """Return by which names this machine calls a socket that only it reaches."""
    address = listening.getsockname()[0]
    return ("localhost", "127.0.0.1", "::1", address)


def url_of(listening: socket.socket) -> str:
    """Return where a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
