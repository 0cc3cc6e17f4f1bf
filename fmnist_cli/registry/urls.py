"""Names of registries that may hold a password."""

from __future__ import annotations

import re

_IN_USER = re.compile(r"(://[^:@/\s]*):[^?\s]*@")  # to the last @: a password may hold one
_IN_QUERY = re.compile(r"(?i)([?&](?:[a-z_]*passw(?:or)?d|passfile|secret|token)=)[^&\s]*")


def without_password(text: str) -> str:
    """A path, a URL or an option that holds one, fit to be shown and recorded."""
    return _IN_QUERY.sub(r"\1***", _IN_USER.sub(r"\1:***@", text))
