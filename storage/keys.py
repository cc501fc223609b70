"""Keys: secrets that open something, of which only the SHA-256 is kept."""

import hashlib
import secrets


def draw(prefix: str = "") -> str:
    """Return a new key of 128 random bits, to be shown once."""
    return prefix + secrets.token_urlsafe(16)


def hash_of(key: str) -> str:
    """Return what is kept of a key: so many random bits need neither salt nor a slow hash."""
    # Whatever a stranger sends has a hash, also what no encoding knows.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
