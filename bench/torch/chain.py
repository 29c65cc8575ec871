# SPDX-License-Identifier: Apache-2.0
"""The layer boundary as a PyTorch user writes it: post, coefficients and pre (arXiv 2512.24880, Eq. 3 to 19), in two ways.

`matmul` mixes the streams by a batched product, `broadcast` by multiplying and summing, as published inference code does.
Rows are bfloat16, coefficients and sums float32.
"""

import torch

STREAMS, ITERATIONS, EPS = 4, 20, 1e-20
MIXES = STREAMS * STREAMS + 2 * STREAMS


def coefficients(x, phi, scale, bias):
    n, flat = STREAMS, x.flatten(1).float()
    mix = torch.nn.functional.linear(flat, phi) * torch.rsqrt(flat.square().mean(-1, keepdim=True) + EPS)
    pre = torch.sigmoid(scale[0] * mix[:, :n] + bias[:n])
    post = 2 * torch.sigmoid(scale[1] * mix[:, n : 2 * n] + bias[n : 2 * n])
    res = torch.exp(scale[2] * mix[:, 2 * n :] + bias[2 * n :]).unflatten(1, (n, n))
    for _ in range(ITERATIONS):
        res = res / res.sum(-2, keepdim=True)
        res = res / res.sum(-1, keepdim=True)
    return pre, post, res


def chain_matmul(x, f, post, res, phi, scale, bias):
    x_next = (torch.bmm(res, x.float()) + post[:, :, None] * f.float()[:, None]).to(x.dtype)
    pre, post_next, res_next = coefficients(x_next, phi, scale, bias)
    h = torch.bmm(pre[:, None], x_next.float())[:, 0].to(x.dtype)
    return x_next, h, pre, post_next, res_next


def chain_broadcast(x, f, post, res, phi, scale, bias):
    x_next = (torch.sum(res[..., None] * x[:, None], dim=2) + post[:, :, None] * f[:, None]).to(x.dtype)
    pre, post_next, res_next = coefficients(x_next, phi, scale, bias)
    h = torch.sum(pre[..., None] * x_next, dim=1).to(x.dtype)
    return x_next, h, pre, post_next, res_next


class Case:
    """Inputs, and the gradients that reach the outputs."""

    def __init__(self, tokens, width, seed, device="cpu"):
        random = torch.Generator(device).manual_seed(seed)

        def normal(*shape, dtype=torch.float32, deviation=1.0):
            return (torch.randn(*shape, generator=random, device=device) * deviation).to(dtype)

        n, t, c = STREAMS, tokens, width
        ones = torch.ones(3, device=device)
        x, f = normal(t, n, c, dtype=torch.bfloat16), normal(t, c, dtype=torch.bfloat16)
        phi = normal(MIXES, n * c, deviation=(n * c) ** -0.5)
        _, post, res = coefficients(x, phi, ones, torch.zeros(MIXES, device=device))
        self.inputs = [x, f, post.contiguous(), res.contiguous(), phi, ones, normal(MIXES)]
        self.upstream = [
            normal(t, n, c, dtype=torch.bfloat16),
            normal(t, c, dtype=torch.bfloat16),
            normal(t, n),
            normal(t, n, n),
        ]

    def forward(self, chain):
        with torch.inference_mode():
            return chain(*self.inputs)

    def both(self, chain):
        inputs = [each.detach().requires_grad_() for each in self.inputs]
        x_next, h, _, post, res = chain(*inputs)
        return torch.autograd.grad([x_next, h, post, res], inputs, self.upstream)
