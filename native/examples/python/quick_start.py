#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two layers of a stack, forward: the shortest complete program. libmhc is found by MHC_LIBRARY_PATH."""

# @start region="calls"
import numpy as np

import mhc

T, n, C = 64, 4, 1280  # tokens, streams, width
library = mhc.Library()  # MHC_LIBRARY_PATH, or what the system's loader finds
config = library.config("DEEPSEEK_V4", streams=n)
m = library.mix_count(config)

random = np.random.default_rng(1)
x = mhc.bf16(random.standard_normal((T, n, C)))  # NumPy has no bfloat16: its bits are in a uint16 array
h = np.zeros((T, C), np.uint16)
projection = random.standard_normal((m, n * C), np.float32) / np.float32(np.sqrt(n * C))
parameters = dict(projection=projection, scale=np.full(3, 0.01, np.float32), bias=np.zeros(m, np.float32))


def coefficients():
    shapes = dict(pre_mix=(T, n), post_mix=(T, n), res_mix=(T, n, n))
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def attention(h):  # yours
    return mhc.bf16(mhc.bf16_to_float32(h) / 2)


streams, layer_input = mhc.tensor(x, mhc.BF16), mhc.tensor(h, mhc.BF16)
with library.context() as context:
    # Into layer 0: its coefficients, and h from the residual.
    first, second = coefficients(), coefficients()
    context.call("boundary", config=config, parameters=parameters, x=streams, next=first, h=layer_input)

    # From layer 0 into layer 1, in one pass: the residual in place, layer 1's coefficients, and h.
    f = mhc.tensor(attention(h), mhc.BF16)
    context.call(
        "boundary",
        config=config,
        parameters=parameters,
        x=streams,
        f=f,
        post_mix=first["post_mix"],
        res_mix=first["res_mix"],
        x_next=streams,
        next=second,
        h=layer_input,
    )
# @end

print(f"libmhc {library.version}: columns of resMix add up to {second['res_mix'][0].sum(0)}")
