"""What every method shares and no method is about: seeds, batches, files. Not public."""
