"""Models designed to forget, one method per file."""
