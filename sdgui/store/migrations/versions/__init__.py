"""One file per revision, numbered; ``SCHEMA_VERSION`` in the tables names the newest."""
