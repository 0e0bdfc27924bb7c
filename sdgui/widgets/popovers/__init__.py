"""What opens over the window under a button, and the buttons that show what was chosen there."""
