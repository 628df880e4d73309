"""Evidence -> Finding: what an attacker can tell."""
