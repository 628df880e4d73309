"""Model -> model: what an adversary or an operator does next."""
