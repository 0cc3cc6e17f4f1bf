"""Runs the migrations inside the transaction that ``migrate.py`` began."""

from alembic import context

from fmnist_cli.registry.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
