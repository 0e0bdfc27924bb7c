"""What an experiment is and what a run writes. No torch and no numpy: all of core that the window may import."""
