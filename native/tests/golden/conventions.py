# SPDX-License-Identifier: Apache-2.0
"""The coefficients of a hyper-connection as each public code base computes them, in double precision.

Each class follows the formulas, layouts and names of one code base rather than one function with switches, so that a
switch wired wrongly in the library has something independent to disagree with. All take this project's tensors
(x [T, n, C], projection [m, nC], scale [3], bias [m]) and turn them into the layout of the code base they render.
coefficients() gives (pre_mix, post_mix, res_mix as stored, mix, inv_rms); aggregate() is the input of F and combine()
the next residual. The constants are those of mhc_config_init's table.
"""

import itertools
import math
from dataclasses import dataclass

import torch


def float32(value):
    """A constant as the library sees it: its config fields are float."""
    return float(torch.tensor(value, dtype=torch.float32))


@dataclass
class Parameters:
    projection: torch.Tensor  # [m, nC]
    scale: torch.Tensor  # [3]
    bias: torch.Tensor  # [m]
    norm_weight: torch.Tensor = None  # [nC]

    def named(self):
        names = ("projection", "scale", "bias", "norm_weight")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def weighted(x, p):
    return x if p.norm_weight is None else x * p.norm_weight


class Paper:
    """arXiv 2512.24880, Eq. 14-19: columns first, rows last, no eps but the norm's."""

    rms_eps = float32(1e-20)
    iterations = 20

    @classmethod
    def sinkhorn(cls, logits):
        m = logits.exp()
        for _ in range(cls.iterations):
            m = m / m.sum(dim=-2, keepdim=True)  # T_c
            m = m / m.sum(dim=-1, keepdim=True)  # T_r
        return m

    @classmethod
    def coefficients(cls, x, p):
        tokens, n, width = x.shape
        row = x.reshape(tokens, n * width)
        h = weighted(row, p) @ p.projection.T
        r = ((row * row).sum(-1, keepdim=True) / (n * width) + cls.rms_eps).sqrt()
        a = torch.cat([p.scale[0].expand(n), p.scale[1].expand(n), p.scale[2].expand(n * n)])
        h_tilde = (1 / r) * (a * h) + p.bias
        pre = torch.sigmoid(h_tilde[:, :n])
        post = 2 * torch.sigmoid(h_tilde[:, n : 2 * n])
        res = cls.sinkhorn(h_tilde[:, 2 * n :].reshape(tokens, n, n))
        return pre, post, res, h / r, 1 / r[:, 0]

    @staticmethod
    def aggregate(x, pre):
        return torch.einsum("ti,tic->tc", pre, x)

    @staticmethod
    def combine(x, f, post, res):
        return torch.einsum("toi,tic->toc", res, x) + post[:, :, None] * f[:, None, :]


class DeepSeekV4:
    """hc_split_sinkhorn: softmax plus eps, eps in each denominator, columns last; comb is [in, out]."""

    norm_eps = float32(1e-6)
    hc_eps = float32(1e-6)
    pre_eps = float32(1e-6)
    iterations = 20

    @classmethod
    def sinkhorn(cls, comb):
        comb = comb - comb.max(dim=-1, keepdim=True).values
        comb = comb.exp()
        comb = comb / comb.sum(-1, keepdim=True) + cls.hc_eps
        comb = comb / (comb.sum(-2, keepdim=True) + cls.hc_eps)
        for _ in range(cls.iterations - 1):
            comb = comb / (comb.sum(-1, keepdim=True) + cls.hc_eps)
            comb = comb / (comb.sum(-2, keepdim=True) + cls.hc_eps)
        return comb

    @classmethod
    def split(cls, mixes, hc_scale, hc_base, hc):
        pre, post, comb = mixes.split([hc, hc, hc * hc], dim=-1)
        pre_base, post_base, comb_base = hc_base.split([hc, hc, hc * hc])
        pre = torch.sigmoid(pre * hc_scale[0] + pre_base) + cls.pre_eps
        post = 2 * torch.sigmoid(post * hc_scale[1] + post_base)
        comb = cls.sinkhorn((comb * hc_scale[2] + comb_base).unflatten(-1, (hc, hc)))
        return pre, post, comb

    @classmethod
    def coefficients(cls, x, p):
        flat = x.flatten(1)
        rsqrt = torch.rsqrt(flat.square().mean(-1, keepdim=True) + cls.norm_eps)
        fn = p.projection if p.norm_weight is None else p.projection * p.norm_weight
        mixes = torch.nn.functional.linear(flat, fn) * rsqrt
        pre, post, comb = cls.split(mixes, p.scale, p.bias, x.shape[1])
        return pre, post, comb, mixes, rsqrt[:, 0]

    @staticmethod
    def aggregate(x, pre):
        return (pre.unsqueeze(-1) * x).sum(dim=1)

    @staticmethod
    def combine(x, f, post, comb):
        return post.unsqueeze(-1) * f.unsqueeze(-2) + (comb.unsqueeze(-1) * x.unsqueeze(-2)).sum(dim=1)


class DeepSeekV41(DeepSeekV4):
    """Single-pass form: the same functions; the boundary feeds aggregate() the previous layer's pre."""

    norm_eps = float32(1e-20)


class Megatron:
    """megatron.core hyper_connection: clamped sums, eps outside the root, [s, b, nC] residuals, H_res applied by bmm."""

    eps = float32(1e-6)
    iterations = 20

    @classmethod
    def sinkhorn(cls, logits):
        m = torch.exp(logits - logits.amax(dim=-1, keepdim=True))
        for _ in range(cls.iterations):
            m = m / m.sum(dim=-1, keepdim=True).clamp(min=cls.eps)
            m = m / m.sum(dim=-2, keepdim=True).clamp(min=cls.eps)
        return m

    @classmethod
    def coefficients(cls, x, p):
        tokens, n, width = x.shape
        hidden = x.reshape(tokens, 1, n * width)  # [s, b, nC]
        projected = torch.matmul(weighted(hidden, p), p.projection.t())
        r = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True) / math.sqrt(n * width)
        inverse = 1.0 / (r + cls.eps)
        alpha = torch.repeat_interleave(p.scale, torch.tensor([n, n, n * n]))
        h = inverse * projected * alpha + p.bias
        h_pre = h[..., :n].sigmoid()
        h_post = h[..., n : 2 * n].sigmoid() * 2
        h_res = cls.sinkhorn(h[..., 2 * n :].view(tokens, 1, n, n))
        return h_pre[:, 0], h_post[:, 0], h_res[:, 0], (inverse * projected)[:, 0], inverse[:, 0, 0]

    @staticmethod
    def aggregate(x, pre):
        return torch.bmm(pre.unsqueeze(1), x).squeeze(1)

    @staticmethod
    def combine(x, f, post, res):
        return torch.bmm(res, x) + torch.bmm(post.unsqueeze(2), f.unsqueeze(1))


class TransformerEngine:
    """Streams last, (s, b, C, n); Sinkhorn on row and column potentials in the log domain; out = x @ H_res."""

    eps = float(2.0**-23)
    iterations = 20

    @classmethod
    def sinkhorn(cls, logits):
        f = torch.zeros_like(logits[..., :, :1])
        g = torch.zeros_like(logits[..., :1, :])
        for _ in range(cls.iterations):
            f = -torch.logsumexp(logits + g, dim=-1, keepdim=True)
            g = -torch.logsumexp(logits + f, dim=-2, keepdim=True)
        return torch.exp(f + logits + g)

    @staticmethod
    def streams_last(columns, n):
        """[..., n*C] as this project orders it -> [..., C*n]."""
        return columns.unflatten(-1, (n, -1)).transpose(-1, -2).flatten(-2)

    @classmethod
    def coefficients(cls, x, p):
        n = x.shape[1]
        xs = x.transpose(1, 2).flatten(1)  # (s*b, C*n)
        phi = cls.streams_last(p.projection, n)
        if p.norm_weight is not None:
            phi = phi * cls.streams_last(p.norm_weight, n)
        h = torch.einsum("tk,mk->tm", xs, phi)
        ms = torch.einsum("tk,tk->t", xs, xs) / xs.shape[1]
        inv = (ms + cls.eps).pow(-0.5)
        mix = h * inv[:, None]
        pre = torch.special.expit(mix[:, :n] * p.scale[0] + p.bias[:n])
        post = 2 * torch.special.expit(mix[:, n : 2 * n] * p.scale[1] + p.bias[n : 2 * n])
        res = cls.sinkhorn((mix[:, 2 * n :] * p.scale[2] + p.bias[2 * n :]).unflatten(1, (n, n)))
        return pre, post, res, mix, inv

    @staticmethod
    def aggregate(x, pre):
        return (x.transpose(1, 2) @ pre[:, :, None]).squeeze(2)

    @staticmethod
    def combine(x, f, post, res):
        return (x.transpose(1, 2) @ res + f[:, :, None] * post[:, None, :]).transpose(1, 2)


class Liger:
    """DeepSeek's Sinkhorn, written out with iterated divisions, applied untransposed; phi is [nC, n*n + 2n]."""

    rms_eps = float32(1e-6)
    sinkhorn_eps = float32(1e-6)
    iterations = 20

    @classmethod
    def sinkhorn(cls, logits):
        p = torch.softmax(logits, dim=2) + cls.sinkhorn_eps
        for step in range(2 * cls.iterations - 1):
            dim = 1 if step % 2 == 0 else 2
            p = p / (p.sum(dim=dim, keepdim=True) + cls.sinkhorn_eps)
        return p

    @classmethod
    def coefficients(cls, x, p):
        tokens, n, width = x.shape
        phi = p.projection.T.contiguous()
        flat = x.reshape(tokens, n * width)
        invr = 1 / torch.sqrt(flat.pow(2).mean(dim=1) + cls.rms_eps)
        mix = torch.mm(weighted(flat, p), phi) * invr.unsqueeze(1)
        pre = torch.sigmoid(p.scale[0] * mix[:, 0:n] + p.bias[0:n])
        post = 2.0 * torch.sigmoid(p.scale[1] * mix[:, n : n + n] + p.bias[n : n + n])
        res = cls.sinkhorn((p.scale[2] * mix[:, n + n :] + p.bias[n + n :]).view(tokens, n, n))
        return pre, post, res, mix, invr

    @staticmethod
    def aggregate(x, pre):
        return sum(pre[:, i : i + 1] * x[:, i] for i in range(x.shape[1]))

    @staticmethod
    def combine(x, f, post, res):
        n = x.shape[1]
        rows = [sum(res[:, o, i, None] * x[:, i] for i in range(n)) + post[:, o, None] * f for o in range(n)]
        return torch.stack(rows, dim=1)


class Unconstrained(Paper):
    """Hyper-Connections before the manifold (paper Eq. 5): scale * tanh(mix) + bias, all three."""

    @classmethod
    def coefficients(cls, x, p):
        tokens, n, width = x.shape
        row = x.reshape(tokens, n * width)
        inv = (row.pow(2).mean(1) + cls.rms_eps).rsqrt()
        mix = (weighted(row, p) * inv[:, None]) @ p.projection.T
        pre, post, res = mix.tanh().tensor_split([n, 2 * n], dim=1)
        pre = p.scale[0] * pre + p.bias[:n]
        post = p.scale[1] * post + p.bias[n : 2 * n]
        res = (p.scale[2] * res + p.bias[2 * n :]).reshape(tokens, n, n)
        return pre, post, res, mix, inv


class Lite(Paper):
    """mHC-lite (2601.05732): the stored matrix is a convex combination of all permutation matrices."""

    @classmethod
    def coefficients(cls, x, p):
        tokens, n, width = x.shape
        row = x.reshape(tokens, n * width)
        inv = (row.pow(2).mean(1) + cls.rms_eps).rsqrt()
        mix = (weighted(row, p) @ p.projection.T) * inv[:, None]
        pre = torch.sigmoid(p.scale[0] * mix[:, :n] + p.bias[:n])
        post = 2 * torch.sigmoid(p.scale[1] * mix[:, n : 2 * n] + p.bias[n : 2 * n])
        weights = torch.softmax(p.scale[2] * mix[:, 2 * n :] + p.bias[2 * n :], dim=1)
        identity = torch.eye(n, dtype=x.dtype)
        matrices = torch.stack([identity[list(order)] for order in itertools.permutations(range(n))])
        return pre, post, torch.einsum("tk,kab->tab", weights, matrices), mix, inv


class Residual(Paper):
    """No hyper-connection: the mean of the streams goes in, F's output is added to each."""

    @classmethod
    def coefficients(cls, x, p):
        tokens, n, _ = x.shape
        one = torch.ones(tokens, n, dtype=x.dtype)
        return one / n, one, torch.eye(n, dtype=x.dtype).expand(tokens, n, n), None, None
