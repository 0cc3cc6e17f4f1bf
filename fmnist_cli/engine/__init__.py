"""Everything that computes: data, models, training, checks and studies.

Nothing here prints, parses a command line or opens the registry.
"""
