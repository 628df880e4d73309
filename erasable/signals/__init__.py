"""(model, task, data) -> Evidence: one number per sample."""
