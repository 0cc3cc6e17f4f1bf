"""Names of registries that may hold a password."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """A path, a URL or an option that holds one, fit to be shown and recorded."""
    return re.sub(r"(://[^:@/\s]*):[^@/\s]*@", r"\1:***@", text)
