"""On which machine and devices a run trains: what each has, and how a run is started there."""
