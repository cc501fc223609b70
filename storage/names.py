"""Names that people give, to studies and to tokens."""

import unicodedata

LONGEST = 200
"""Characters of a name, at most."""

# Marks that turn the direction of what follows them: a name would garble the line it stands in.
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}  # Control characters, halves of characters, line ends.


def check(name: str) -> None:
    """Refuse a name that cannot be shown as it is in one line.

    Raises:
        ValueError: It is too long, or only blanks, or has a character that controls.
    """
    wrong = _what_is_wrong(name)
    if wrong is not None:
        raise ValueError(
            f"Expected a name of 1 to {LONGEST} characters, not only blanks, without control "
            f"characters. Received {wrong}; choose another."
        )


def _what_is_wrong(name: str) -> str | None:
    if len(name) > LONGEST:
        return f"{len(name)} characters that begin {name[:20]!r}"
    for character in name:
        if (
            unicodedata.category(character) in _UNSHOWN
            or unicodedata.bidirectional(character) in _TURNING
        ):
            return f"{name!a}, which has {character!a}"
    if not any(character.isprintable() and not character.isspace() for character in name):
        return f"{name!a}"
    return None
