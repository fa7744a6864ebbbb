"""Texts of AWS's settings, as they come out of environments and files. Pure, and quick to import."""

from __future__ import annotations

from typing import Optional


def trimmed(text: str) -> str:
    """Without white space, and marks of byte order, at its ends."""
    return text.strip().strip("\ufeff\u200b").strip()


def unusable(access: str, secret: str, token: Optional[str]) -> str:
    """What is wrong with the text of a key, so that no request could carry it; or nothing. Never the key itself."""
    for name, text in (("access key", access), ("session token", token or "")):
        for place, character in enumerate(text, 1):
            if not " " < character <= "~":
                return _told(name, place, character)
    for place, character in enumerate(secret, 1):
        if not character.isprintable():
            return _told("secret key", place, character)
    return ""


def _told(name: str, place: int, character: str) -> str:
    return f"character {place} of the {name} is {character!a}, which no key has"
