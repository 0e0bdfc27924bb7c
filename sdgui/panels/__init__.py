"""The places of the window and what they share: experiments, define, watch, look, and the actions that join them."""
