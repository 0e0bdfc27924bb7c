"""Several processes that train one network: how they are started, and what they exchange (torch.distributed)."""
