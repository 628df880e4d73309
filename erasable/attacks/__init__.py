"""Evidence -> Finding: what an attacker can tell."""

from erasable.attacks.svc_confidence import svc_confidence

__all__ = ["svc_confidence"]
