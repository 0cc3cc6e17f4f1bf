"""One module a revision, numbered ``0001``, ``0002``, ... without gaps or branches."""
