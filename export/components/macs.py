"""Multiply-accumulates of a component, counted on shapes alone."""

import torch
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .component import Component


def count_macs(component: Component) -> int:
    """Multiply-accumulates for one image of the checkpoint's own size, those of attention included.

    Convolutions and matrix products are counted, elementwise work is not. Nothing is computed: tensors are fake.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        inputs = component.zeros(component.default)
        with FlopCounterMode(display=False) as counter:
            component.module(**inputs)
    return int(counter.get_total_flops() // 2)
