"""Training: recipes, the loop, optimisers, schedules, losses, checkpoints and distribution."""
