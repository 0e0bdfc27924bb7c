"""The Clean panel: finds likely mismatched pairs."""
