"""Reference encoders, one per file: (batch, *shape) -> (batch, width), batch-independent."""
