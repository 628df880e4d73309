"""Post-hoc unlearning, one method per file."""
