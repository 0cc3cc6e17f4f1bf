"""Alembic's scripts, run by ``migrate.py``; there is no ``alembic.ini``.

A change of the schema: edit ``schema.py`` and ``HEAD`` here, write ``versions/vNNNN_what.py`` by
hand (``op.batch_alter_table`` where SQLite must rebuild a table), and add what
``tests/registry/registry_rig.py`` writes as ``tests/registry/data/schema_NNNN.db``. Views are
made anew after every upgrade and appear in no migration.
"""

HEAD = "0003"  # the revision of schema.py
