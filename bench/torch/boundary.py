#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The layer boundary by libmhc beside PyTorch on the CPU: eager, torch.compile, and backward by autograd.

PyTorch's is chain.py. Results are compared first; then everything is timed in turns, on the same memory and with as many
threads. Needs torch, numpy and a C++ compiler (for torch.compile).

Exit status: 0 measured; 1 results differ; 2 the command line is wrong.
"""

import argparse
import ctypes
import json
import pathlib
import platform
import statistics
import sys
import time

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "native" / "examples" / "python"))
import mhc  # noqa: E402
from chain import EPS, ITERATIONS, MIXES, STREAMS, Case, chain_broadcast, chain_matmul  # noqa: E402

BF16_ROUNDINGS = 6 * 2.0**-8  # how far apart results may be, of their tensor's largest value

# ------------------------------------------------------------------------------------------------------------- libmhc


def descriptor(t):
    """A tensor's memory as it is."""
    if t.dtype == torch.bfloat16:
        return mhc.tensor(t.view(torch.int16).numpy().view(np.uint16), mhc.BF16)
    return mhc.tensor(t.numpy())


class Ours:
    """The boundary of a case, its argument blocks made once."""

    def __init__(self, context, case):
        self.context = context
        config = context.library.config("PAPER", STREAMS, rms_eps=EPS, iterations=ITERATIONS)
        names = "x f post_mix res_mix projection scale bias".split()
        given = {name: descriptor(each) for name, each in zip(names, case.inputs)}
        x, f, post, res, phi, scale, bias = case.inputs
        tokens = x.shape[0]
        self.outputs = [torch.empty_like(each) for each in (x, f, post, post, res)]
        self.gradients = [torch.empty_like(each) for each in case.inputs]
        x_next, h, *made = map(descriptor, self.outputs)
        saved = {"mix": torch.empty(tokens, MIXES), "inv_rms": torch.empty(tokens)}
        saved = {name: descriptor(each) for name, each in saved.items()}
        layer = {name: given[name] for name in ("projection", "scale", "bias")}
        rows = {name: given[name] for name in ("x", "f", "post_mix", "res_mix")}
        following = dict(zip(("pre_mix", "post_mix", "res_mix"), made), **saved)
        self.forward_block = dict(config=config, parameters=layer, **rows, x_next=x_next, h=h, next=following)
        d = list(map(descriptor, self.gradients))
        upstream = dict(zip("d_x_next d_h d_post_mix_next d_res_mix_next".split(), map(descriptor, case.upstream)))
        self.backward_block = dict(
            config=config, parameters=layer, **rows, **saved, **upstream, d_x=d[0], d_f=d[1], d_post_mix=d[2],
            d_res_mix=d[3], d_parameters=dict(projection=d[4], scale=d[5], bias=d[6]),
        )
        self.forward = self.prepare("boundary", self.forward_block)
        self.backward = self.prepare("boundary_backward", self.backward_block)

    def prepare(self, operation, values):
        """Calls once, which grows the workspace; what is returned calls again with the same block."""
        self.context.call(operation, **values)
        block = mhc.OPERATIONS[operation][1]()
        for name, value in values.items():
            mhc._set(block, name, value)
        function, pointer = getattr(self.context.library.c, "mhc_" + operation), ctypes.byref(block)

        def call(keep=(block, values)):
            self.context.library.check(function(self.context.handle, pointer))

        return call

    def both(self):
        self.forward()
        self.backward()


# ------------------------------------------------------------------------------------------------------------- compare


def differ(what, names, ours, theirs):
    bad = 0
    for name, a, b in zip(names.split(), ours, theirs):
        a, b = a.double(), b.double()
        error = ((a - b).abs().max() / b.abs().max()).item()
        bad += not error <= BF16_ROUNDINGS
        print(f"    {what} {name}: largest difference {error:.1e} of the largest value")
    return bad


def agree(context, case):
    ours = Ours(context, case)
    ours.both()
    bad = differ("forward", "x_next h pre_mix post_mix res_mix", ours.outputs, case.forward(chain_matmul))
    names = "d_x d_f d_post_mix d_res_mix d_projection d_scale d_bias"
    return bad + differ("backward", names, ours.gradients, case.both(chain_matmul)) == 0


# --------------------------------------------------------------------------------------------------------------- times


def measure(contestants, rounds, warm_up):
    """Each of them once in every round; seconds."""
    times = {name: [] for name in contestants}
    for round_ in range(-warm_up, rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run(round_)
            if round_ >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def contestants_of(context, cases):
    ours = [Ours(context, case) for case in cases]
    chains = {"eager matmul": chain_matmul, "eager broadcast": chain_broadcast}
    for name, chain in list(chains.items()):
        chains[name.replace("eager", "compile")] = torch.compile(chain)
    k = len(cases)
    forward = {"mhc": lambda r: ours[r % k].forward()}
    both = {"mhc": lambda r: ours[r % k].both()}
    for name, chain in chains.items():
        forward[name] = lambda r, chain=chain: cases[r % k].forward(chain)
        both[name] = lambda r, chain=chain: cases[r % k].both(chain)
    return forward, both


def report(title, times):
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"\n  {title:<28}{'median ms':>10}{'min':>9}{'max':>9}   mhc is faster by")
    result = {}
    for name, seconds in times.items():
        ratio = medians[name] / medians["mhc"]
        low, high = min(seconds), max(seconds)
        print(f"  {name:<28}{medians[name] * 1e3:>10.2f}{low * 1e3:>9.2f}{high * 1e3:>9.2f}   {ratio:>6.1f}x")
        result[name] = {"median": medians[name], "min": low, "max": high, "ratio": ratio}
    return result


def cpu():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", help="libmhc.so or its folder; else MHC_LIBRARY_PATH or the system's loader")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args()
    for name in ("tokens", "width", "threads", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; expected at least 1")
    return options


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    with mhc.Library(options.library).context(threads=options.threads) as context:
        name = context.info().name.decode()
        print(f"{name}, {options.threads} threads; mhc {context.library.version}, torch {torch.__version__}")
        print("  results:")
        if not agree(context, Case(min(options.tokens, 256), options.width, seed=1)):
            print("results differ: nothing is timed", file=sys.stderr)
            return 1
        cases = [Case(options.tokens, options.width, seed) for seed in (2, 3)]
        forward, both = contestants_of(context, cases)
        shape = f"T={options.tokens} C={options.width}"
        figures = {
            "forward": report(f"forward, {shape}", measure(forward, options.rounds, 3)),
            "forward and backward": report("forward and backward", measure(both, options.rounds, 3)),
        }
    if options.json:
        machine = {"cpu": cpu(), "threads": options.threads, "torch": torch.__version__, "mhc": context.library.version}
        machine["date"] = time.strftime("%Y-%m-%d")
        shape = {"tokens": options.tokens, "streams": STREAMS, "width": options.width, "dtype": "bfloat16"}
        text = json.dumps({"machine": machine, "shape": shape, "seconds": figures}, indent=1)
        pathlib.Path(options.json).write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
