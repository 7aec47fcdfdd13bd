"""What running code says of how far it is."""

from __future__ import annotations

from typing import Final

from outlast._codec import clean_text
from outlast.config import shown
from outlast.errors import ConfigError

NOTE_CHARS_MAX: Final = 500
"""A longer note is cut."""


def checked_report(fraction: float, note: str) -> tuple[float, str]:
    """A report as it is stored. Raises: ConfigError: the fraction is not between 0 and 1."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
        raise ConfigError(f"progress must be a fraction between 0 and 1, not {shown(fraction)}")
    return float(fraction), clean_text(note, chars_max=NOTE_CHARS_MAX)
