#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The layer boundary from Python with ctypes and NumPy, checked against the golden values of the library's own tests.

Exit status: 0 all results agree; 1 some do not, or a call failed; 2 the command line is wrong.
"""

import argparse
import pathlib
import sys

import numpy as np

import mhc
from golden import Case

# Beyond one rounding to its own type a result may be off by this much of the tensor's largest value.
FORWARD, BACKWARD, FP8_SCALE = 1e-5, 2e-5, 1e-6

COEFFICIENTS, PARAMETERS = "pre_mix post_mix res_mix mix inv_rms", "projection scale bias norm_weight"


def check_boundary_backward(context, case, forward):
    """Backward of the boundary below; mix and inv_rms are what its forward saved."""
    if "d_h" not in case.tensors:
        return True  # a case of the forward alone
    streams, layer = case.type("dtype"), case.type("layer_dtype")
    same = "config parameters x f post_mix res_mix shifted_pre_mix norm_weight norm_eps".split()
    outputs = {"d_x": streams, "d_f": layer, "d_post_mix": "fp32", "d_res_mix": "fp32", "d_shifted_pre_mix": "fp32"}
    outputs["d_norm_weight"] = "fp32"
    made = {name: case.output(name, kind) for name, kind in outputs.items()}
    d_parameters = case.outputs("d_parameters_", PARAMETERS)
    context.call(
        "boundary_backward",
        **{name: forward[name] for name in same},
        mix=forward["next"]["mix"],
        inv_rms=forward["next"]["inv_rms"],
        d_h=case.input("d_h", layer),
        d_x_next=case.input("d_x_next", streams),
        d_pre_mix_next=case.input("d_pre_mix_next"),
        d_post_mix_next=case.input("d_post_mix_next"),
        d_res_mix_next=case.input("d_res_mix_next"),
        **made,
        d_parameters=d_parameters,
    )
    checks = [case.check(name, made[name], kind, BACKWARD) for name, kind in outputs.items()]
    checks += [case.check("d_parameters_" + name, value, "fp32", BACKWARD) for name, value in d_parameters.items()]
    return all(checks)


def check_boundary(context, case):
    """Post of layer l, coefficients and pre of layer l+1 in one pass. A case of a first layer has no f: then it is the
    coefficients and pre alone. Some cases also ask for the RMSNorm of h, and for that in FP8."""
    streams, layer = case.type("dtype"), case.type("layer_dtype")
    outputs = {"x_next": streams, "h": layer, "y": layer, "h_fp8": "fp8", "h_scale": "fp32"}
    made = {name: case.output(name, kind) for name, kind in outputs.items()}
    arguments = dict(
        config=case.config(),
        parameters=case.inputs("parameters_", PARAMETERS),
        x=case.input("x", streams),
        f=case.input("f", layer),
        post_mix=case.input("post_mix"),
        res_mix=case.input("res_mix"),
        shifted_pre_mix=case.input("shifted_pre_mix"),
        next=case.outputs("next_", COEFFICIENTS),
        norm_weight=case.input("norm_weight"),
        norm_eps=case.number("norm_eps"),
        fp8_scale_rounding=int(case.attributes.get("fp8_scale_rounding", 0)),
        **made,
    )
    context.call("boundary", **arguments)
    tolerance = {"h_fp8": 0, "h_scale": FP8_SCALE}
    checks = [case.check(name, made[name], kind, tolerance.get(name, FORWARD)) for name, kind in outputs.items()]
    checks += [case.check("next_" + name, value, "fp32", FORWARD) for name, value in arguments["next"].items()]
    return all(checks) & check_boundary_backward(context, case, arguments)


def check_post(context, case):
    streams, layer = case.type("dtype"), case.type("layer_dtype")
    x_next = case.output("x_next", streams)
    context.call(
        "post",
        orientation=case.integer("orientation"),
        x=case.input("x", streams),
        f=case.input("f", layer),
        post_mix=case.input("post_mix"),
        res_mix=case.input("res_mix"),
        x_next=x_next,
    )
    return case.check("x_next", x_next, streams, FORWARD)


def check_post_through_dlpack(context, case):
    """The DLTensor that NumPy (or PyTorch, JAX, CuPy ...) exports is an mhc_tensor: its pointer goes in as it is."""
    arrays = {name: case.tensors[name].astype(np.float32) for name in "x f post_mix res_mix x_next".split()}
    arrays["x_next"][:] = 0
    descriptors = {name: mhc.from_dlpack(array.__dlpack__()) for name, array in arrays.items()}
    context.call("post", orientation=case.integer("orientation"), **descriptors)
    return case.check("x_next", mhc.tensor(arrays["x_next"]), "fp32", FORWARD)


def check_sinkhorn(context, case):
    out = case.output("out")
    context.call("sinkhorn", config=case.config(), logits=case.input("logits"), out=out)
    return case.check("out", out, "fp32", FORWARD)


def check_fp8_quantize(context, case):
    dst, scale = case.output("dst", "fp8"), case.output("scale")
    context.call(
        "fp8_quantize",
        tile=case.integer("tile"),
        scale_rounding=case.integer("scale_rounding"),
        src=case.input("src", case.type()),
        dst=dst,
        scale=scale,
    )
    return all([case.check("dst", dst, "fp8", 0), case.check("scale", scale, "fp32", FP8_SCALE)])


def check_refusal(context, case):
    """A call that is wrong on purpose: f has one token less than x. It is refused, says why, and writes nothing."""
    x, f, x_next = (case.tensors[name].astype(np.float32) for name in ("x", "f", "x_next"))
    x_next[:] = -1
    try:
        mixes = dict(post_mix=case.input("post_mix"), res_mix=case.input("res_mix"))
        context.call("post", x=x, f=f[:-1], **mixes, x_next=x_next)
    except mhc.MhcError as e:
        print("  " + str(e))
        return e.status == "MHC_INVALID_ARGUMENT" and "f.shape" in str(e) and bool((x_next == -1).all())
    return False


CASES = [
    ("boundary_paper_first", check_boundary),
    ("boundary_paper", check_boundary),
    ("boundary_deepseek_v4", check_boundary),
    ("boundary_deepseek_v4_1", check_boundary),
    ("boundary_megatron", check_boundary),
    ("boundary_transformer_engine", check_boundary),
    ("boundary_liger", check_boundary),
    ("boundary_deepseek_v4_mixed", check_boundary),
    ("boundary_paper_norm", check_boundary),
    ("boundary_paper_fp8", check_boundary),
    ("boundary_deepseek_v4_1_fp8", check_boundary),
    ("post_out_in", check_post),
    ("post_in_out", check_post),
    ("post_out_in", check_post_through_dlpack),
    ("sinkhorn_paper_4", check_sinkhorn),
    ("sinkhorn_deepseek_v4_4", check_sinkhorn),
    ("fp8_quantize_row", check_fp8_quantize),
    ("fp8_quantize_square", check_fp8_quantize),
    ("post_out_in", check_refusal),
]


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", help="libmhc.so or its directory; else MHC_LIBRARY_PATH, else the system's loader")
    parser.add_argument("--golden", default=here.parents[1] / "tests/golden", help="the directory of golden files")
    arguments = parser.parse_args()

    library = mhc.Library(arguments.library)
    wrong = 0
    with library.context() as context:
        info = context.info()
        print(f"libmhc {library.version} on {info.name.decode()}, {info.threads} threads")
        for name, check in CASES:
            print(f"{name}: {check.__name__.removeprefix('check_').replace('_', ' ')}")
            wrong += not check(context, Case(arguments.golden, name))
    if library.c.mhc_live_bytes():
        print(f"libmhc still holds {library.c.mhc_live_bytes()} bytes")
        wrong += 1
    print(f"{wrong} cases are wrong" if wrong else "all cases agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ImportError, mhc.MhcError) as e:
        sys.exit(f"boundary.py: {e}")
