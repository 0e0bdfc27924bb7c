"""The panels of the window, one package each; ``registry`` lists them."""
