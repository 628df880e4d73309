"""Divergences between class probabilities, from their logarithms, over the last axis, in nats."""

import math

import torch
from torch import Tensor


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The mean of KL(p || m) and KL(q || m), where m is the mean of p and q: in [0, log 2]."""
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    return ((log_p.exp() * (log_p - middle)).sum(-1) + (log_q.exp() * (log_q - middle)).sum(-1)) / 2


def reversed_jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The mean of KL(m || p) and KL(m || q): no Jensen-Shannon divergence, and unbounded."""
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    return (middle.exp() * (middle - (log_p + log_q) / 2)).sum(-1)
