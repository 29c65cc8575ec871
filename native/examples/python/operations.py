#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every golden case through mhc.py, forward and backward. Tensors in the files are named as the fields of an operation's
argument block in mhc.h, so that a call can be put together from its names.

Exit status: 0 all results agree; 1 some do not, or a call failed.
"""

import ctypes
import pathlib
import sys

import mhc
from golden import Case

COMPOSITE = "composite_forward composite_backward composite_contraction"
OUTPUTS = {
    "coefficients": "out",
    "coefficients_backward": "d_x d_parameters",
    "sinkhorn": "out",
    "sinkhorn_backward": "d_logits",
    "pre": "h",
    "pre_backward": "d_x d_pre_mix",
    "post": "x_next",
    "post_backward": "d_x d_f d_post_mix d_res_mix",
    "boundary": "x_next next h y h_fp8 h_scale",
    "boundary_backward": "d_x d_f d_post_mix d_res_mix d_shifted_pre_mix d_norm_weight d_parameters",
    "expand": "x",
    "expand_backward": "d_embedding",
    "head": "y mix inv_rms",
    "head_backward": "d_x d_projection d_scale d_bias",
    "rmsnorm": "y inv_rms",
    "rmsnorm_backward": "d_x d_weight",
    "fp8_quantize": "dst scale",
    "gain": f"forward backward contraction {COMPOSITE}",
}
STREAMS = "x x_next d_x d_x_next src".split()
LAYER = "f h y d_f d_h d_y embedding d_embedding".split()
FP8 = "h_fp8 dst".split()
SAVED = {"coefficients_backward": "out_", "boundary_backward": "next_"}  # whose mix and inv_rms the backward takes
TOLERANCE = 2e-5


def kind_of(case, name):
    if name in FP8:
        return "fp8"
    return case.type("dtype" if name in STREAMS else "layer_dtype") if name in STREAMS + LAYER else "fp32"


def check(context, case, operation):
    arguments, made = {}, {}

    def tensor(field, name):
        kind, output = kind_of(case, name), field in OUTPUTS[operation].split()
        if not output:
            return case.input(name, kind)
        made[name] = case.output(name, kind)
        return made[name]

    for field, kind in mhc.OPERATIONS[operation][1]._fields_[2:]:
        if field == "config":
            arguments[field] = case.config()
        elif kind in (mhc.Parameters, mhc.Coefficients):
            arguments[field] = {name: tensor(field, f"{field}_{name}") for name, _ in kind._fields_}
        elif kind is mhc.TensorPointer:
            saved = SAVED.get(operation, "") if field in ("mix", "inv_rms") else ""
            arguments[field] = tensor(field, saved + field)
        elif field in case.attributes:
            arguments[field] = case.number(field) if kind is ctypes.c_float else case.integer(field)
    context.call(operation, **arguments)
    return all([case.check(name, value, kind_of(case, name), TOLERANCE) for name, value in made.items()])


def main():
    directory = pathlib.Path(__file__).resolve().parents[2] / "tests/golden"
    wrong = calls = 0
    with mhc.Library().context() as context:
        for path in sorted(directory.glob("*.txt")):
            case = Case(directory, path.stem, verbose=False)
            operation = case.attributes["operation"]
            if operation not in OUTPUTS:
                continue  # chains are of several operations
            results = any(name.startswith("d_") for name in case.tensors)
            for each in [operation] + [operation + "_backward"] * (results and operation + "_backward" in OUTPUTS):
                calls += 1
                wrong += not check(context, case, each)
    print(f"every operation: {wrong} of {calls} calls are wrong" if wrong else f"every operation: all {calls} calls agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
