"""Evidence -> Finding: how far a model is from the oracles."""
