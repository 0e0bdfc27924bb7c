"""The places of the window and what they share: experiments, define, watch, search, and the actions that join them."""
