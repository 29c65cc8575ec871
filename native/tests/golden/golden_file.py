# SPDX-License-Identifier: Apache-2.0
"""Writing golden files; make_golden.py describes the format."""

import pathlib

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def hex_float(value):
    """What C's %a prints: 0x1.8p+1, without the zeros that Python's float.hex() leaves at the end."""
    text = float(value).hex()
    if "." not in text:
        return text
    mantissa, exponent = text.split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent


def significant(values, bits=32):
    """Fewer digits to store: inputs have 24 bits at most and stay as they are, results lose what nobody compares."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


class Golden:
    """One case: attributes and tensors in the order given, written by save()."""

    def __init__(self, name, operation):
        self.name = name
        self.lines = [f"attr operation {operation}"]

    def attr(self, key, value):
        self.lines.append(f"attr {key} {hex_float(value) if isinstance(value, float) else value}")
        return self

    def tensor(self, name, value):
        value = significant(value.detach().to(torch.float64))
        shape = " ".join(str(d) for d in value.shape)
        self.lines.append(f"tensor {name} {value.dim()} {shape}".rstrip())
        self.lines.append(" ".join(hex_float(v) for v in value.reshape(-1).tolist()))
        return self

    def tensors(self, **named):
        for name, value in named.items():
            if value is not None:
                self.tensor(name, value)
        return self

    def save(self, directory):
        pathlib.Path(directory, self.name + ".txt").write_text("\n".join(self.lines) + "\n")


def exact(tensor, dtype):
    """The same values after a visit to a narrower type: what a caller can store."""
    return tensor.to(DTYPES[dtype]).to(torch.float64)


class NearTie(Exception):
    """A value so close to a rounding tie that float32 accumulation may round it the other way: take other inputs."""


def stored(tensor, dtype):
    """Rounds to a storage type with derivative 1, and refuses values that a rounding error could tip over."""
    rounded = exact(tensor, dtype).detach()
    if dtype != "fp32":
        room = 1.5e-7 * tensor.detach().abs().max()
        for nudged in (tensor + room, tensor - room):
            if not torch.equal(exact(nudged, dtype), rounded):
                raise NearTie
    return tensor + (rounded - tensor).detach()
