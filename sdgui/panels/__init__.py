"""The panels of the window, a package each; ``registry`` lists them."""
