#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's layer boundary (chain.py) on a GPU, eager and compiled, forward and with autograd's backward.

Its inputs rotate over sets that are larger than the second-level cache together, and events are around as many calls as take
some milliseconds, as in dev.mhc.bench.gpu, which has mhc's figures. Needs torch.

Exit status: 0 measured; 1 something could not be; 2 the command line is wrong.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import torch

from chain import STREAMS, Case, chain_broadcast, chain_matmul

ROUNDS, ENOUGH, MOST_SETS = 11, 3.0, 32  # ENOUGH: milliseconds between two events, at least


class Clock:
    """Milliseconds that a device takes for what is put on it."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"

    def time(self, run):
        if not self.cuda:
            start = time.perf_counter()
            run()
            return 1e3 * (time.perf_counter() - start)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


def measure(clock, call):
    """Median, least and most microseconds of call(i), which rotates its inputs."""
    for i in range(3):
        clock.time(lambda: call(i))
    count = 1
    while count < 512 and clock.time(lambda: [call(i) for i in range(count)]) < ENOUGH:
        count *= 2
    times = [1e3 * clock.time(lambda: [call(i) for i in range(count)]) / count for _ in range(ROUNDS)]
    return statistics.median(times), min(times), max(times)


def sets_of(tokens, width, device):
    """As many as three times the cache holds, where there is one to be known of."""
    one = 2 * (STREAMS + 1) * 2 * tokens * width  # inputs, and what reaches the outputs
    cache = torch.cuda.get_device_properties(device).L2_cache_size if device.type == "cuda" else one
    return [Case(tokens, width, seed, device) for seed in range(max(1, min(MOST_SETS, -(-3 * cache // one))))]


def rows_of(tokens, width, device, compiled):
    cases, clock = sets_of(tokens, width, device), Clock(device)
    chains = {"eager matmul": chain_matmul, "eager broadcast": chain_broadcast}
    if compiled:
        chains |= {name.replace("eager", "compiled"): torch.compile(chain, dynamic=False) for name, chain in list(chains.items())}
    for name, chain in chains.items():
        for operation, run in {"boundary": Case.forward, "boundary and backward": Case.both}.items():
            row = {"peer": f"PyTorch {torch.__version__}, {name}", "operation": operation, "tokens": tokens, "width": width}
            try:
                median, least, most = measure(clock, lambda i: run(cases[i % len(cases)], chain))
                row |= {"microseconds": median, "least": least, "most": most}
            except Exception as e:  # whatever a compiler that is not there raises; the others are measured
                row["problem"] = str(e).strip().split("\n")[0]
            yield row


def numbers(text):
    return [int(each) for each in text.split(",")]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=numbers, default=[8192, 64])
    parser.add_argument("--widths", type=numbers, default=[4096])
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="file for the figures")
    return parser.parse_args()


def main():
    options, rows = parse(), []
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    for width in options.widths:
        for tokens in options.tokens:
            for row in rows_of(tokens, width, device, not options.no_compile):
                rows.append(row)
                options.out.write_text(json.dumps({"machine": {"gpu": name}, "peers": rows}, indent=2) + "\n")
                took = f"{row['microseconds']:.2f} us" if "microseconds" in row else row["problem"]
                print(f"{row['operation']:<22} T={tokens:<6} C={width:<5} {row['peer']:<36} {took} beside us", flush=True)
    return int(any("problem" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
