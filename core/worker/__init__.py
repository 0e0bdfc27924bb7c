"""The worker process: a JSON lines server with a session per panel."""
