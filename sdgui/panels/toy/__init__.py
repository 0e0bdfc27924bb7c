"""A panel that shows which run is current."""
