"""Distributed training of one network: launch, collectives and sharding (torch.distributed)."""
