"""Evidence -> Finding: what an attacker can tell."""

from erasable.attacks.svc_confidence import svc_confidence
from erasable.attacks.threshold import threshold

__all__ = ["svc_confidence", "threshold"]
