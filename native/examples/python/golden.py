# SPDX-License-Identifier: Apache-2.0
"""Reads native/tests/golden/<case>.txt, whose format make_golden.py there describes."""

import pathlib

import numpy as np

import mhc

TYPES = {"fp32": mhc.FP32, "fp16": mhc.FP16, "bf16": mhc.BF16}
STORAGE = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16, "fp8": np.uint8}
# significant bits, and the smallest exponent as frexp counts it
PRECISION = {"fp32": (24, -125), "fp16": (11, -13), "bf16": (8, -125), "fp8": (4, -5)}


def e4m3_values(codes):
    exponent, fraction = (codes >> 3) & 15, (codes & 7).astype(np.float64)
    magnitude = np.where(exponent == 0, np.ldexp(fraction, -9), np.ldexp(8 + fraction, exponent.astype(int) - 10))
    magnitude[(codes & 127) == 127] = np.nan
    return np.where(codes & 128, -magnitude, magnitude)


class Case:
    def __init__(self, directory, name, verbose=True):
        self.name, self.verbose, self.attributes, self.tensors = name, verbose, {}, {}
        lines = iter(pathlib.Path(directory, name + ".txt").read_text().splitlines())
        for line in lines:
            kind, key, *rest = line.split()
            if kind == "attr":
                self.attributes[key] = rest[0]
            else:
                values = np.array([float.fromhex(word) for word in next(lines).split()])
                self.tensors[key] = values.reshape([int(d) for d in rest[1:]])

    def integer(self, key):
        return int(self.attributes[key])

    def number(self, key):
        return float.fromhex(self.attributes.get(key, "0"))

    def type(self, key="dtype"):
        return self.attributes[key]

    def config(self):
        """The mhc_config that the attributes spell out, zero where they say nothing."""
        made = mhc.Config()
        for field, kind in mhc.Config._fields_[1:]:
            if field in self.attributes:
                setattr(made, field, self.number(field) if kind is mhc.c_float else self.integer(field))
        return made

    def input(self, name, kind="fp32"):
        """A tensor in its type, which holds its values exactly; None if the case has none: not given."""
        if name not in self.tensors:
            return None
        values = self.tensors[name].astype(np.float32)
        if kind == "bf16":
            return mhc.tensor(mhc.bf16(values), mhc.BF16)
        return mhc.tensor(values.astype(STORAGE[kind]))

    def output(self, name, kind="fp32"):
        """Zeros in the shape of an expected result; None if the case has none: not wanted."""
        if name not in self.tensors:
            return None
        zeros = np.zeros(self.tensors[name].shape, STORAGE[kind])
        return mhc.tensor(zeros, mhc.E4M3 if kind == "fp8" else TYPES[kind])

    def inputs(self, prefix, names):
        return {name: self.input(prefix + name) for name in names.split()}

    def outputs(self, prefix, names):
        return {name: self.output(prefix + name) for name in names.split()}

    def check(self, name, result, kind, tolerance):
        """Each element may be off by one rounding to its type and by tolerance times the largest expected magnitude; E4M3
        not at all."""
        if result is None:
            return True
        expected, given = self.tensors[name], result.array
        given = {"bf16": mhc.bf16_to_float32, "fp8": e4m3_values}.get(kind, np.asarray)(given).astype(np.float64)
        bits, smallest = PRECISION[kind]
        rounding = np.ldexp(0.5, np.maximum(np.frexp(expected)[1], smallest) - bits)
        if kind == "fp8":
            rounding = tolerance = 0  # the files hold E4M3 values, not what was rounded to them
        largest = np.abs(expected).max(initial=0)
        off = np.abs(given - expected)
        right = off <= rounding + tolerance * largest
        if right.all():
            if self.verbose:
                beyond = max((off - rounding).max(initial=0) / (largest or 1), 0)
                print(f"  ok     {name:24} off by at most {beyond:.1e} beyond one rounding")
        else:
            at = tuple(np.argwhere(~right)[0])
            print(f"  WRONG  {self.name}: {name}{list(map(int, at))}: {given[at]}, expected {expected[at]}")
        return bool(right.all())
