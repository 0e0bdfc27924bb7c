"""What the panels share: their contract, the services handed to them, messages, background tasks."""
