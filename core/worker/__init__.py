"""The worker process: serves requests as JSON lines, with one session per panel."""
