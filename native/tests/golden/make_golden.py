#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden files beside this script: inputs, outputs and gradients of each operation in double precision.

Needs Python 3.9 and PyTorch (CPU is enough). Run it without arguments; it writes one <case>.txt per case, always the
same bytes. The gradients are PyTorch's autograd of the formulas in conventions.py.

The format, for readers in any language: lines of text,

    attr <key> <value>                      an integer, a word, or a float as C's %a prints it
    tensor <name> <rank> <dim> <dim> ...    followed by one line:
    <value> <value> ...                     row-major, each as %a: read by strtod, float.fromhex, Double.parseDouble

Keys. `operation` is the name in mhc.h. `dtype` is the type that streams are stored in, `layer_dtype` that of layer tensors;
inputs are exactly representable in the type they have there. The fields of mhc_config stand under their own names,
`preset` says where they came from (`none` if a case sets them itself). Tensors are named as the arguments of the operation
and of its backward in mhc.h, with an underscore for a dot: x, parameters_bias, out_pre_mix, next_res_mix,
d_parameters_projection. A chain's tensors of one layer start with layer<l>_.

Outputs are the exact real values (to 32 bits) before they are rounded to their own type, but made from inputs that were rounded as
mhc.h prescribes (x_next before the scan, h before its norm). A static case has no mix and no inv_rms.
"""

import pathlib
import zlib

import torch

import conventions as code_base
from conventions import Parameters, float32
from golden_file import Golden, NearTie, exact, significant, stored

# mhc_config, field by field, as mhc_config_init's table has it
COMMON = dict(mode=2, is_static=0, shifted=0, iterations=20, post_multiplier=2.0)
COLUMNS_FIRST, ROWS_FIRST = dict(sinkhorn_order=0), dict(sinkhorn_order=1)
EXP, EXP_MINUS_ROW_MAX, SOFTMAX_PLUS_EPS = (dict(sinkhorn_start=s) for s in range(3))
NONE, ADD, CLAMP = ({"sinkhorn_eps_mode": mode, "sinkhorn_eps": float32(eps)} for mode, eps in enumerate((0.0, 1e-6, 1e-6)))
OUT_IN, IN_OUT = dict(orientation=0), dict(orientation=1)


def inside(eps):
    return dict(rms_eps_mode=0, rms_eps=float32(eps))


def outside(eps):
    return dict(rms_eps_mode=1, rms_eps=float32(eps))


def pre_eps(eps):
    return dict(pre_eps=float32(eps))


DEEPSEEK = {**COMMON, **SOFTMAX_PLUS_EPS, **ROWS_FIRST, **ADD, **IN_OUT, **pre_eps(1e-6)}
PRESETS = {
    "PAPER": (code_base.Paper, {**COMMON, **EXP, **COLUMNS_FIRST, **NONE, **OUT_IN, **inside(1e-20), **pre_eps(0)}),
    "DEEPSEEK_V4": (code_base.DeepSeekV4, {**DEEPSEEK, **inside(1e-6)}),
    "DEEPSEEK_V4_1": (code_base.DeepSeekV41, {**DEEPSEEK, **inside(1e-20), "shifted": 1}),
    "MEGATRON": (
        code_base.Megatron,
        {**COMMON, **EXP_MINUS_ROW_MAX, **ROWS_FIRST, **CLAMP, **OUT_IN, **outside(1e-6), **pre_eps(0)},
    ),
    "TRANSFORMER_ENGINE": (
        code_base.TransformerEngine,
        {**COMMON, **EXP, **ROWS_FIRST, **NONE, **IN_OUT, **inside(2.0**-23), **pre_eps(0)},
    ),
    "LIGER": (
        code_base.Liger,
        {**COMMON, **SOFTMAX_PLUS_EPS, **ROWS_FIRST, **ADD, **OUT_IN, **inside(1e-6), **pre_eps(0)},
    ),
}
PAPER_CONFIG = PRESETS["PAPER"][1]
MODES = {
    "residual": (code_base.Residual, {**PAPER_CONFIG, "mode": 0}),
    "hc": (code_base.Unconstrained, {**PAPER_CONFIG, "mode": 1}),
    "mhc": (code_base.Paper, {**PAPER_CONFIG, "mode": 2}),
    "mhc_lite": (code_base.Lite, {**PAPER_CONFIG, "mode": 3}),
}


class Random:
    def __init__(self, name, attempt):
        self.generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + attempt)

    def normal(self, *shape, dtype="fp32", scale=1.0):
        return exact(scale * torch.randn(shape, generator=self.generator, dtype=torch.float64), dtype)

    def parameters(self, m, n, width, norm_weight=False):
        weight = exact(1 + 0.3 * self.normal(n * width), "fp32") if norm_weight else None
        projection = self.normal(m, n * width, scale=(n * width) ** -0.5)
        return Parameters(projection, exact(1.5 + 0.4 * self.normal(3), "fp32"), self.normal(m), weight)


CASES = {}


def case(name, **arguments):
    """Registers a function under a name; several decorations make several cases."""

    def register(function):
        CASES[name] = (function, arguments)
        return function

    return register


def leaves(*tensors):
    for tensor in tensors:
        if tensor is not None:
            tensor.requires_grad_(True)


def backward(pairs, root=None):
    """Autograd of sum <output, cotangent>."""
    total = sum((output * cotangent).sum() for output, cotangent in pairs)
    total.backward()


def prefixed(prefix, named):
    return {prefix + name: value for name, value in named.items()}


def gradients(prefix, named):
    return {prefix + name: value.grad for name, value in named.items() if value.grad is not None}


def start(name, operation, dtype=None, layer_dtype=None, preset=None, config=None, streams=None):
    golden = Golden(name, operation)
    if dtype:
        golden.attr("dtype", dtype).attr("layer_dtype", layer_dtype or dtype)
    if config:
        golden.attr("preset", preset or "none").attr("streams", streams)
        for key, value in config.items():
            golden.attr(key, value)
    return golden


# ------------------------------------------------------------------------------------------------------- coefficients


def mix_count(mode, n):
    if mode == "residual":
        return 0
    return (torch.arange(1, n + 1).prod().item() if mode == "mhc_lite" else n * n) + 2 * n


def static_coefficients(base, n, p, tokens):
    """mix = 0: the coefficients of a token whose projection is zero."""
    still = Parameters(torch.zeros(p.bias.shape[0], n, dtype=torch.float64), p.scale.detach(), p.bias)
    pre, post, res, _, _ = base.coefficients(torch.ones(tokens, n, 1, dtype=torch.float64), still)
    return pre, post, res, None, None


def save_coefficients(golden, rng, base, n, width, dtype, mode="mhc", static=False, norm_weight=False):
    tokens = 3
    x = rng.normal(tokens, n, width, dtype=dtype)
    golden.tensor("x", x)
    p = rng.parameters(mix_count(mode, n), n, width, norm_weight)
    parameters = {} if mode == "residual" else {"bias": p.bias} if static else p.named()
    golden.tensors(**prefixed("parameters_", parameters))
    leaves(x, *parameters.values())
    pre, post, res, mix, inv_rms = static_coefficients(base, n, p, tokens) if static else base.coefficients(x, p)
    golden.tensors(out_pre_mix=pre, out_post_mix=post, out_res_mix=res, out_mix=mix, out_inv_rms=inv_rms)
    if mode == "residual":
        return golden
    d_pre, d_post, d_res = rng.normal(*pre.shape), rng.normal(*post.shape), rng.normal(*res.shape)
    golden.tensors(d_pre_mix=d_pre, d_post_mix=d_post, d_res_mix=d_res)
    backward([(pre, d_pre), (post, d_post), (res, d_res)])
    return golden.tensors(d_x=None if static else x.grad, **gradients("d_parameters_", parameters))


def coefficients_preset(name, rng, preset, dtype, n=4, norm_weight=False):
    base, config = PRESETS[preset]
    golden = start(name, "coefficients", dtype, preset=preset, config=config, streams=n)
    return save_coefficients(golden, rng, base, n, 6, dtype, norm_weight=norm_weight)


def coefficients_mode(name, rng, mode, n, static=False):
    base, config = MODES[mode]
    config = {**config, "is_static": int(static)}
    golden = start(name, "coefficients", "fp32", config=config, streams=n)
    return save_coefficients(golden, rng, base, n, 5, "fp32", mode, static)


for key, dtype in zip(PRESETS, ("fp32", "bf16", "fp32", "fp16", "fp32", "bf16")):
    case(f"coefficients_{key.lower()}", preset=key, dtype=dtype)(coefficients_preset)
case("coefficients_paper_n2", preset="PAPER", dtype="fp32", n=2)(coefficients_preset)
for key in PRESETS:
    case(f"coefficients_{key.lower()}_norm_weight", preset=key, dtype="fp32", n=2, norm_weight=True)(coefficients_preset)
case("coefficients_residual", mode="residual", n=4)(coefficients_mode)
case("coefficients_hc", mode="hc", n=4)(coefficients_mode)
case("coefficients_mhc_lite_n2", mode="mhc_lite", n=2)(coefficients_mode)
case("coefficients_mhc_lite_n3", mode="mhc_lite", n=3)(coefficients_mode)
case("coefficients_mhc_lite_n4", mode="mhc_lite", n=4)(coefficients_mode)
case("coefficients_hc_static", mode="hc", n=2, static=True)(coefficients_mode)
case("coefficients_mhc_static", mode="mhc", n=4, static=True)(coefficients_mode)
case("coefficients_mhc_lite_static", mode="mhc_lite", n=3, static=True)(coefficients_mode)


# ----------------------------------------------------------------------------------------------------------- sinkhorn


def save_sinkhorn(golden, base, logits, d_out):
    leaves(logits)
    out = base.sinkhorn(logits)
    backward([(out, d_out)])
    return golden.tensors(logits=logits, out=out, d_out=d_out, d_logits=logits.grad)


def sinkhorn(name, rng, preset, k, deviation):
    base, config = PRESETS[preset]
    golden = start(name, "sinkhorn", preset=preset, config=config, streams=4)
    return save_sinkhorn(golden, base, rng.normal(3, k, k, scale=deviation), rng.normal(3, k, k))


def sinkhorn_large(name, rng, preset, k):
    """Inputs on a coarse grid and results to 20 bits, to keep the file small."""
    base, config = PRESETS[preset]
    golden = start(name, "sinkhorn", preset=preset, config=config, streams=4)
    logits, d_out = (rng.normal(1, k, k) * 2).round() / 2, rng.normal(1, k, k).round()
    leaves(logits)
    out = base.sinkhorn(logits)
    backward([(out, d_out)])
    short = {key: significant(value.detach(), 20) for key, value in (("out", out), ("d_logits", logits.grad))}
    return golden.tensors(logits=logits, out=short["out"], d_out=d_out, d_logits=short["d_logits"])


for key in ("PAPER", "DEEPSEEK_V4", "MEGATRON", "TRANSFORMER_ENGINE"):
    for k, deviation in ((2, 3.0), (4, 1.0), (8, 2.0)):
        case(f"sinkhorn_{key.lower()}_{k}", preset=key, k=k, deviation=deviation)(sinkhorn)
case("sinkhorn_paper_4_hard", preset="PAPER", k=4, deviation=10.0)(sinkhorn)
case("sinkhorn_deepseek_v4_4_hard", preset="DEEPSEEK_V4", k=4, deviation=10.0)(sinkhorn)
case("sinkhorn_paper_100", preset="PAPER", k=100)(sinkhorn_large)


# ---------------------------------------------------------------------------------------------------------- pre, post


@case("pre_fp32", dtype="fp32", layer_dtype="fp32", n=4, width=9)
@case("pre_bf16", dtype="bf16", layer_dtype="bf16", n=4, width=24)
@case("pre_mixed", dtype="fp32", layer_dtype="fp16", n=2, width=17)
def pre(name, rng, dtype, layer_dtype, n, width):
    x, mix = rng.normal(3, n, width, dtype=dtype), rng.normal(3, n)
    d_h = rng.normal(3, width, dtype=layer_dtype)
    leaves(x, mix)
    h = code_base.Paper.aggregate(x, mix)
    backward([(h, d_h)])
    golden = start(name, "pre", dtype, layer_dtype)
    return golden.tensors(x=x, pre_mix=mix, h=h, d_h=d_h, d_x=x.grad, d_pre_mix=mix.grad)


@case("post_out_in", base=code_base.Paper, orientation=0, dtype="fp32", layer_dtype="fp32", n=4, width=9)
@case("post_in_out", base=code_base.DeepSeekV4, orientation=1, dtype="bf16", layer_dtype="bf16", n=4, width=24)
@case("post_megatron", base=code_base.Megatron, orientation=0, dtype="fp16", layer_dtype="fp16", n=2, width=17)
@case("post_mixed", base=code_base.TransformerEngine, orientation=1, dtype="fp32", layer_dtype="bf16", n=2, width=17)
def post(name, rng, base, orientation, dtype, layer_dtype, n, width):
    x, f = rng.normal(3, n, width, dtype=dtype), rng.normal(3, width, dtype=layer_dtype)
    mix, res = rng.normal(3, n), rng.normal(3, n, n)
    d_next = rng.normal(3, n, width, dtype=dtype)
    leaves(x, f, mix, res)
    x_next = base.combine(x, f, mix, res)
    backward([(x_next, d_next)])
    golden = start(name, "post", dtype, layer_dtype).attr("orientation", orientation)
    golden.tensors(x=x, f=f, post_mix=mix, res_mix=res, x_next=x_next, d_x_next=d_next)
    return golden.tensors(d_x=x.grad, d_f=f.grad, d_post_mix=mix.grad, d_res_mix=res.grad)


# ----------------------------------------------------------------------------------------------------------- boundary


def rms_norm(x, weight, eps):
    return torch.nn.functional.rms_norm(x, x.shape[-1:], weight, eps)


def e4m3(values):
    return values.to(torch.float32).to(torch.float8_e4m3fn).to(torch.float64)


def fp8_scale(amax, rounding):
    scale = exact(amax.clamp(min=float32(1e-4)) / 448, "fp32")
    return 2.0 ** torch.ceil(torch.log2(scale)) if rounding else scale


def row_scales(values, rounding):
    blocks = torch.split(values.detach().abs(), 128, dim=-1)
    return torch.stack([fp8_scale(block.amax(-1), rounding) for block in blocks], dim=-1)


def quantized(values, scales, rounding):
    """Refuses quotients that a rounding of the division could tip over; by a power of two there is none."""
    quotient = values / scales
    if rounding:
        return e4m3(quotient)
    for nudge in (1 - 1e-6, 1 + 1e-6):
        if not torch.equal(e4m3((quotient * nudge).clamp(-448, 448)), e4m3(quotient)):
            raise NearTie
    return e4m3(quotient)


def boundary(name, rng, preset, dtype, layer_dtype=None, n=4, width=6, first=False, norm=False, norm_weight=False, fp8=None):
    base, config = PRESETS[preset]
    layer_dtype, tokens = layer_dtype or dtype, 3
    golden = start(name, "boundary", dtype, layer_dtype, preset, config, n)
    golden.attr("first", int(first))
    x, p = rng.normal(tokens, n, width, dtype=dtype), rng.parameters(mix_count("mhc", n), n, width, norm_weight)
    inputs = {"x": x}
    if not first:
        inputs["f"] = rng.normal(tokens, width, dtype=layer_dtype)
        inputs["post_mix"] = exact(1 + 0.3 * rng.normal(tokens, n), "fp32")
        inputs["res_mix"] = exact(base.sinkhorn(rng.normal(tokens, n, n)), "fp32")
    if config["shifted"]:
        inputs["shifted_pre_mix"] = rng.normal(tokens, n)
    if norm:
        inputs["norm_weight"] = exact(1 + 0.3 * rng.normal(width), "fp32")
    golden.tensors(**inputs)
    golden.tensors(**prefixed("parameters_", p.named()))
    leaves(*inputs.values(), *p.named().values())

    x_next = x if first else base.combine(x, inputs["f"], inputs["post_mix"], inputs["res_mix"])
    rounded = x if first else stored(x_next, dtype)
    coefficients = base.coefficients(rounded, p)
    h = base.aggregate(rounded, inputs.get("shifted_pre_mix", coefficients[0]))
    y = rms_norm(stored(h, layer_dtype), inputs["norm_weight"], float32(1e-5)) if norm else None

    names = ("next_pre_mix", "next_post_mix", "next_res_mix", "next_mix", "next_inv_rms")
    golden.tensors(x_next=None if first else x_next, **dict(zip(names, coefficients)), h=h, y=y)
    if norm:
        golden.attr("norm_eps", float32(1e-5))
    if fp8 is not None:
        source = stored(y if norm else h, layer_dtype)
        scales = row_scales(source, fp8)
        tiles = scales.repeat_interleave(128, dim=-1)[:, :width]
        golden.attr("fp8_scale_rounding", fp8)
        return golden.tensors(h_fp8=quantized(source.detach(), tiles, fp8), h_scale=scales)

    outputs = {"d_h": (y if norm else h, layer_dtype), "d_x_next": (rounded, dtype)}
    outputs.update({"d_post_mix_next": (coefficients[1], "fp32"), "d_res_mix_next": (coefficients[2], "fp32")})
    if config["shifted"]:
        outputs["d_pre_mix_next"] = (coefficients[0], "fp32")
    given = {key: rng.normal(*value.shape, dtype=kind) for key, (value, kind) in outputs.items()}
    golden.tensors(**given)
    backward([(value, given[key]) for key, (value, _) in outputs.items()])
    golden.tensors(**gradients("d_", inputs))
    return golden.tensors(**gradients("d_parameters_", p.named()))


for key, dtype in zip(PRESETS, ("bf16", "bf16", "bf16", "fp32", "fp16", "fp32")):
    case(f"boundary_{key.lower()}", preset=key, dtype=dtype)(boundary)
case("boundary_deepseek_v4_mixed", preset="DEEPSEEK_V4", dtype="fp32", layer_dtype="bf16", n=2, width=17)(boundary)
case("boundary_deepseek_v4_1_fp32", preset="DEEPSEEK_V4_1", dtype="fp32", n=2, width=17)(boundary)
case("boundary_paper_first", preset="PAPER", dtype="bf16", n=2, width=17, first=True)(boundary)
case("boundary_deepseek_v4_1_first", preset="DEEPSEEK_V4_1", dtype="bf16", n=2, width=17, first=True, norm=True)(boundary)
case("boundary_paper_norm", preset="PAPER", dtype="fp32", n=2, width=17, norm=True, norm_weight=True)(boundary)
case("boundary_megatron_norm", preset="MEGATRON", dtype="bf16", n=2, width=17, norm=True)(boundary)
case("boundary_paper_fp8", preset="PAPER", dtype="bf16", n=2, width=130, fp8=0)(boundary)
case("boundary_deepseek_v4_1_fp8", preset="DEEPSEEK_V4_1", dtype="bf16", n=2, width=130, norm=True, fp8=1)(boundary)


# ------------------------------------------------------------------------------------------- head, norm, expand, fp8


def weighted_head(x, projection, scale, bias, eps, small):
    """DeepSeek V4's hc_head."""
    flat = x.flatten(1)
    inv_rms = torch.rsqrt(flat.square().mean(-1) + eps)
    mix = (flat @ projection.T) * inv_rms[:, None]
    weights = torch.sigmoid(mix * scale + bias) + small
    return (weights[:, :, None] * x).sum(1), mix, inv_rms


@case("head_weighted", preset="DEEPSEEK_V4", dtype="bf16")
@case("head_weighted_fp32", preset="DEEPSEEK_V4_1", dtype="fp32")
def head_weighted(name, rng, preset, dtype, n=4, width=10):
    config = PRESETS[preset][1]
    x, d_y = rng.normal(3, n, width, dtype=dtype), rng.normal(3, width, dtype=dtype)
    projection = rng.normal(n, n * width, scale=(n * width) ** -0.5)
    scale, bias = rng.normal(1), rng.normal(n)
    leaves(x, projection, scale, bias)
    y, mix, inv_rms = weighted_head(x, projection, scale, bias, config["rms_eps"], config["pre_eps"])
    backward([(y, d_y)])
    golden = start(name, "head", dtype, preset=preset, config=config, streams=n).attr("kind", 0)
    golden.tensors(x=x, projection=projection, scale=scale, bias=bias, y=y, mix=mix, inv_rms=inv_rms, d_y=d_y)
    return golden.tensors(d_x=x.grad, d_projection=projection.grad, d_scale=scale.grad, d_bias=bias.grad)


@case("head_mean", kind=1)
@case("head_sum", kind=2)
def head_plain(name, rng, kind, n=4, width=10):
    x, d_y = rng.normal(3, n, width, dtype="bf16"), rng.normal(3, width, dtype="bf16")
    leaves(x)
    y = x.mean(1) if kind == 1 else x.sum(1)
    backward([(y, d_y)])
    golden = start(name, "head", "bf16", config=PAPER_CONFIG, streams=n).attr("kind", kind)
    return golden.tensors(x=x, y=y, d_y=d_y, d_x=x.grad)


@case("rmsnorm_fp32", dtype="fp32", weight=True)
@case("rmsnorm_bf16", dtype="bf16", weight=True)
@case("rmsnorm_no_weight", dtype="fp16", weight=False)
def rmsnorm(name, rng, dtype, weight, width=40):
    eps = float32(1e-5)
    x, d_y = rng.normal(3, width, dtype=dtype), rng.normal(3, width, dtype=dtype)
    w = exact(1 + 0.3 * rng.normal(width), "fp32") if weight else None
    leaves(x, w)
    y = rms_norm(x, w, eps)
    backward([(y, d_y)])
    golden = start(name, "rmsnorm", dtype).attr("eps", eps)
    golden.tensors(x=x, weight=w, y=y, inv_rms=(x.square().mean(-1) + eps).rsqrt(), d_y=d_y)
    return golden.tensors(d_x=x.grad, d_weight=w.grad if weight else None)


@case("expand_bf16", dtype="bf16", n=4)
@case("expand_fp32", dtype="fp32", n=2)
def expand(name, rng, dtype, n, width=10):
    embedding, d_x = rng.normal(3, width, dtype=dtype), rng.normal(3, n, width, dtype=dtype)
    leaves(embedding)
    x = embedding.unsqueeze(1).expand(-1, n, -1)
    backward([(x, d_x)])
    return start(name, "expand", dtype).tensors(embedding=embedding, x=x, d_x=d_x, d_embedding=embedding.grad)


@case("fp8_quantize_row", tile=0, rounding=0, rows=3, columns=136)
@case("fp8_quantize_row_power_of_two", tile=0, rounding=1, rows=3, columns=136)
@case("fp8_quantize_square", tile=1, rounding=0, rows=130, columns=5)
@case("fp8_quantize_square_power_of_two", tile=1, rounding=1, rows=5, columns=136)
def fp8_quantize(name, rng, tile, rounding, rows, columns):
    src = rng.normal(rows, columns, dtype="bf16")
    if tile == 0:
        src[1, :128] = 0  # a tile whose amax is below the floor
        scales = row_scales(src, rounding)
        tiles = scales
    else:
        blocks = [torch.split(band, 128, dim=1) for band in torch.split(src.abs(), 128, dim=0)]
        scales = torch.stack([torch.stack([fp8_scale(block.max(), rounding) for block in band]) for band in blocks])
        tiles = scales.repeat_interleave(128, dim=0)[:rows]
    tiles = tiles.repeat_interleave(128, dim=1)[:, :columns]
    golden = start(name, "fp8_quantize", "bf16").attr("tile", tile).attr("scale_rounding", rounding)
    return golden.tensors(src=src, dst=quantized(src, tiles, rounding), scale=scales)


# --------------------------------------------------------------------------------------------------------------- gain


def gains(matrix):
    """matrix[..., out, in]: how much it can amplify, forward and backward, and what it leaves of mean-free vectors."""
    n = matrix.shape[-1]
    mean_free = torch.eye(n, dtype=matrix.dtype) - 1 / n
    spectral = torch.linalg.matrix_norm(matrix @ mean_free, ord=2)
    return matrix.sum(-1).abs().amax(-1), matrix.sum(-2).abs().amax(-1), spectral


@case("gain_mhc", orientation=0, constrained=True)
@case("gain_hc", orientation=1, constrained=False)
def gain(name, rng, orientation, constrained, layers=4, tokens=2, n=4):
    res = rng.normal(layers, tokens, n, n)
    res = exact(code_base.Paper.sinkhorn(res), "fp32") if constrained else res
    h_res = res.transpose(-1, -2) if orientation else res
    products = [h_res[0]]
    for layer in h_res[1:]:
        products.append(layer @ products[-1])
    golden = start(name, "gain").attr("orientation", orientation).tensor("res_mix", res)
    golden.tensors(**dict(zip(("forward", "backward", "contraction"), gains(h_res))))
    names = ("composite_forward", "composite_backward", "composite_contraction")
    return golden.tensors(**dict(zip(names, gains(torch.stack(products)))))


# -------------------------------------------------------------------------------------------------------------- chain


@case("chain_paper", preset="PAPER", dtype="fp32")
@case("chain_deepseek_v4_1", preset="DEEPSEEK_V4_1", dtype="bf16")
def chain(name, rng, preset, dtype, layers=3, tokens=3, n=4, width=6):
    """expand, a boundary before each F (the first without one to close), post after the last F, and the end of the
    network: hc_head, or the last layer's pre_mix where the convention shifts it. F's outputs are given."""
    base, config = PRESETS[preset]
    golden = start(name, "chain", dtype, preset=preset, config=config, streams=n).attr("layers", layers)
    embedding = rng.normal(tokens, width, dtype=dtype)
    f = [rng.normal(tokens, width, dtype=dtype) for _ in range(layers)]
    p = [rng.parameters(mix_count("mhc", n), n, width) for _ in range(layers)]
    shifted = torch.eye(n, dtype=torch.float64)[:1].repeat(tokens, 1) if config["shifted"] else None
    end = Parameters(rng.normal(n, n * width, scale=(n * width) ** -0.5), rng.normal(1), rng.normal(n))
    golden.tensors(embedding=embedding, shifted_pre_mix=shifted)
    leaves(embedding, *f, *end.named().values())

    x, used, outputs = embedding.unsqueeze(1).expand(-1, n, -1), shifted, []
    for layer in range(layers):
        golden.tensors(**prefixed(f"layer{layer}_parameters_", p[layer].named()))
        leaves(*p[layer].named().values())
        pre_mix, post_mix, res_mix, _, _ = base.coefficients(x, p[layer])
        h = base.aggregate(x, pre_mix if used is None else used)
        x_next = base.combine(x, f[layer], post_mix, res_mix)
        golden.tensor(f"layer{layer}_f", f[layer])
        golden.tensors(**{f"layer{layer}_h": h, f"layer{layer}_x_next": x_next})
        outputs.append((f"layer{layer}_d_h", h))
        x, used = stored(x_next, dtype), pre_mix if used is not None else None
    if used is None:
        golden.tensors(head_projection=end.projection, head_scale=end.scale, head_bias=end.bias)
        y, _, _ = weighted_head(x, end.projection, end.scale, end.bias, config["rms_eps"], config["pre_eps"])
    else:
        y = base.aggregate(x, used)
    golden.tensor("y", y)
    outputs.append(("d_y", y))

    given = {key: rng.normal(*value.shape, dtype=dtype) for key, value in outputs}
    golden.tensors(**given)
    backward([(value, given[key]) for key, value in outputs])
    golden.tensor("d_embedding", embedding.grad)
    for layer in range(layers):
        golden.tensor(f"layer{layer}_d_f", f[layer].grad)
        golden.tensors(**gradients(f"layer{layer}_d_parameters_", p[layer].named()))
    return golden.tensors(**gradients("head_d_", end.named()))


def make(name):
    function, arguments = CASES[name]
    for attempt in range(1000):
        try:
            return function(name, Random(name, attempt), **arguments)
        except NearTie:
            continue
    raise RuntimeError(f"{name}: every seed comes too close to a rounding tie")


def main():
    torch.set_num_threads(1)
    here = pathlib.Path(__file__).resolve().parent
    for old in here.glob("*.txt"):
        old.unlink()
    for name in CASES:
        make(name).save(here)
    size = sum(path.stat().st_size for path in here.glob("*.txt"))
    print(f"{len(CASES)} cases, {size / 1e6:.2f} MB in {here}")


if __name__ == "__main__":
    main()
