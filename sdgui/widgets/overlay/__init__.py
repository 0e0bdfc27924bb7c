"""What lies over the window for a while: popovers under a button, messages and progress over a panel."""
