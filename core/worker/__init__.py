"""The process that answers the panels: a server of JSON lines and a session for each panel."""
