# SPDX-License-Identifier: Apache-2.0
"""libmhc from Python: the structs of mhc.h in ctypes, and NumPy arrays as tensors. One file, nothing to compile.

    library = Library()                       # MHC_LIBRARY_PATH, or what the system's loader finds
    with library.context() as context:
        context.call("rmsnorm", x=x, y=y, eps=1e-6)

An operation's keywords are the fields of its argument block in mhc.h. Arrays are used in place: inputs are read and
outputs written where they lie, strides included. NumPy has no bfloat16 and no 8-bit floats: hold bfloat16 in uint16 and
E4M3 in uint8, and say what they are with `tensor(array, BF16)`.
"""

import ctypes
import os
import pathlib
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_size_t, c_void_p
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64

import numpy as np

ABI_VERSION = 1


class MhcError(Exception):
    """A call that failed; status is the enumerator's name."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status


# ------------------------------------------------------------------------------------------------------------- structs


class Device(ctypes.Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class DType(ctypes.Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class Tensor(ctypes.Structure):
    """mhc_tensor, which is DLPack's DLTensor."""

    _fields_ = [
        ("data", c_void_p),
        ("device", Device),
        ("ndim", c_int32),
        ("dtype", DType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


TensorPointer = POINTER(Tensor)


def fields(kind, names):
    return [(name, kind) for name in names.split()]


class Sized(ctypes.Structure):
    """A struct that begins with its own size."""

    def __init__(self, **values):
        super().__init__(**values)
        self.struct_size = ctypes.sizeof(self)


class ContextOptions(Sized):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", Device),
        *fields(c_int32, "threads cpu_tier"),
        ("workspace", c_size_t),
    ]


class ContextInfo(Sized):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", Device),
        *fields(c_int32, "threads cpu_tier"),
        ("workspace", c_size_t),
        ("name", ctypes.c_char * 128),
    ]


class Traffic(Sized):
    _fields_ = [
        ("struct_size", c_size_t),
        *fields(c_uint64, "row_bytes_read row_bytes_written coefficient_bytes_read coefficient_bytes_written"),
        *fields(c_uint64, "parameter_bytes_read parameter_bytes_written scratch_bytes"),
    ]


class Config(Sized):
    """mhc_config; Library.config() fills it from a preset."""

    _fields_ = [
        ("struct_size", c_size_t),
        *fields(
            c_int32,
            "streams mode is_static shifted iterations sinkhorn_start sinkhorn_order sinkhorn_eps_mode orientation"
            " rms_eps_mode",
        ),
        *fields(c_float, "sinkhorn_eps rms_eps pre_eps post_multiplier"),
        ("projection_precision", c_int32),
        ("reserved", c_int32 * 15),
    ]


class Parameters(ctypes.Structure):
    """mhc_parameters, and mhc_parameter_gradients, which has the same fields."""

    _fields_ = fields(TensorPointer, "projection scale bias norm_weight")


class Coefficients(ctypes.Structure):
    _fields_ = fields(TensorPointer, "pre_mix post_mix res_mix mix inv_rms")


class RecomputeLayer(ctypes.Structure):
    _fields_ = [
        ("parameters", Parameters),
        ("f", TensorPointer),
        ("out", Coefficients),
        *fields(TensorPointer, "x h"),
    ]


# What stands in an operation's argument block after struct_size and stream. A bare name is a tensor.
BLOCK_TYPES = {
    "int": c_int32,
    "float": c_float,
    "config": POINTER(Config),
    "parameters": Parameters,
    "coefficients": Coefficients,
    "layers": POINTER(RecomputeLayer),
    "tensors": POINTER(TensorPointer),
}
BLOCKS = {
    "coefficients": "config:config parameters:parameters x out:coefficients",
    "coefficients_backward": "config:config parameters:parameters accumulate:int x mix inv_rms d_pre_mix d_post_mix"
    " d_res_mix d_x d_parameters:parameters",
    "sinkhorn": "config:config logits out",
    "sinkhorn_backward": "config:config accumulate:int logits d_out d_logits",
    "pre": "x pre_mix h",
    "pre_backward": "accumulate:int x pre_mix d_h d_x d_pre_mix",
    "post": "orientation:int x f post_mix res_mix x_next f_scale",
    "post_backward": "orientation:int accumulate:int x f post_mix res_mix d_x_next d_x d_f d_post_mix d_res_mix"
    " f_scale",
    "boundary": "config:config parameters:parameters x f post_mix res_mix x_next shifted_pre_mix next:coefficients h"
    " norm_weight norm_eps:float fp8_scale_rounding:int y h_fp8 h_scale f_scale",
    "boundary_backward": "config:config parameters:parameters accumulate:int norm_eps:float x f post_mix res_mix"
    " shifted_pre_mix norm_weight mix inv_rms d_h d_x_next d_pre_mix_next d_post_mix_next d_res_mix_next d_x d_f"
    " d_post_mix d_res_mix d_shifted_pre_mix d_norm_weight d_parameters:parameters f_scale",
    "expand": "embedding x",
    "expand_backward": "accumulate:int d_x d_embedding",
    "head": "config:config kind:int projection scale bias x y mix inv_rms",
    "head_backward": "config:config kind:int accumulate:int projection scale bias x mix inv_rms d_y d_x d_projection"
    " d_scale d_bias",
    "rmsnorm": "eps:float x weight y inv_rms",
    "rmsnorm_backward": "eps:float accumulate:int x weight d_y d_x d_weight",
    "fp8_quantize": "tile:int scale_rounding:int amax_floor:float src dst scale",
    "fp8_dequantize": "tile:int src scale dst",
    "gain": "orientation:int res_mix forward backward contraction composite_forward composite_backward"
    " composite_contraction",
    "doubly_stochastic_distance": "matrix distance",
    "birkhoff": "matrix weight permutation terms remainder",
    "recompute": "config:config layers:int x shifted_pre_mix layer:layers x_next f_scale:tensors",
}


def block_type(operation):
    members = [("struct_size", c_size_t), ("stream", c_void_p)]
    for word in BLOCKS[operation].split():
        name, _, kind = word.partition(":")
        members.append((name, BLOCK_TYPES[kind] if kind else TensorPointer))
    return type(operation + "_args", (Sized,), {"_fields_": members})


OPERATIONS = {name: (number, block_type(name)) for number, name in enumerate(BLOCKS)}  # in the order of mhc_operation
TIERS = "AUTO PLAIN NEON AVX2 AVX512 AVX512_BF16 COUNTING".split()
PRESETS = "PAPER DEEPSEEK_V4 DEEPSEEK_V4_1 MEGATRON TRANSFORMER_ENGINE LIGER".split()

# ------------------------------------------------------------------------------------------------------------- tensors

FP32, FP16, BF16 = DType(2, 32, 1), DType(2, 16, 1), DType(4, 16, 1)
E4M3, E8M0, INT32 = DType(10, 8, 1), DType(14, 8, 1), DType(0, 32, 1)
_OF_NUMPY = {"float32": FP32, "float16": FP16, "int32": INT32}


def tensor(array, dtype=None):
    """A descriptor of a NumPy array's memory; dtype is needed where NumPy has no such type (BF16 in uint16)."""
    if dtype is None:
        dtype = _OF_NUMPY.get(array.dtype.name)
        if dtype is None:
            raise TypeError(
                f"an array is of {array.dtype}; expected float32, float16 or int32, or tensor(array, BF16) where the"
                " bits of another type are in it"
            )
    if array.itemsize * 8 != dtype.bits or any(stride % array.itemsize for stride in array.strides):
        what = f"an array of {array.dtype} with strides {array.strides}"
        raise TypeError(f"{what} cannot hold {dtype.bits}-bit elements in place")
    shape = (c_int64 * array.ndim)(*array.shape)
    strides = (c_int64 * array.ndim)(*(stride // array.itemsize for stride in array.strides))
    made = Tensor(array.ctypes.data, Device(1, 0), array.ndim, dtype, shape, strides, 0)
    made.array = array  # as long as the descriptor, so its memory
    return made


def from_dlpack(capsule):
    """The DLTensor inside a capsule of x.__dlpack__(), as the mhc_tensor that it is: nothing is converted or copied.
    Good for as long as the capsule, which stays unconsumed and frees the tensor when it goes."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = c_void_p, [ctypes.py_object, c_char_p]
    made = ctypes.cast(get_pointer(capsule, b"dltensor"), TensorPointer)  # a DLManagedTensor begins with its DLTensor
    made.capsule = capsule
    return made


def bf16(values):
    """Float32 values rounded to bfloat16, to nearest even, in uint16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def bf16_to_float32(array):
    return (array.astype(np.uint32) << 16).view(np.float32)


# ------------------------------------------------------------------------------------------------------------- calls


class Library:
    """libmhc; path is the file or its directory. Without it MHC_LIBRARY_PATH counts, then the system's loader."""

    def __init__(self, path=None):
        path = path or os.environ.get("MHC_LIBRARY_PATH") or None
        place = pathlib.Path(path).absolute() if path else pathlib.Path("libmhc.so.0")
        if place.is_dir():
            place /= "libmhc.so"
        fix = "pass the path of libmhc.so, or set MHC_LIBRARY_PATH to it or to its directory"
        try:
            self.c = ctypes.CDLL(str(place))
        except OSError as e:
            raise ImportError(f"cannot load libmhc: {e}; {fix}") from e
        try:
            self.c.mhc_abi_version.restype = c_int32
            abi = self.c.mhc_abi_version()
            if abi != ABI_VERSION:
                raise ImportError(f"{place} has ABI version {abi}; expected {ABI_VERSION}; {fix}")
            self._declare()
        except AttributeError as e:
            raise ImportError(f"{place} is not libmhc: {e}; {fix}") from e

    def _declare(self):
        results = {"version": c_char_p, "last_error": c_char_p, "status_name": c_char_p, "cpu_tier_name": c_char_p}
        results.update({"live_bytes": c_int64, "cpu_tiers": c_uint32})
        for name, result in results.items():
            getattr(self.c, "mhc_" + name).restype = result
        self.c.mhc_context_create.argtypes = [c_void_p, POINTER(c_void_p)]
        self.c.mhc_context_destroy.argtypes = [c_void_p]
        self.c.mhc_context_get_info.argtypes = [c_void_p, c_void_p]
        self.c.mhc_context_get_traffic.argtypes = [c_void_p, c_void_p]
        self.c.mhc_context_reserve.argtypes = [c_void_p, c_size_t]
        self.c.mhc_workspace_size.argtypes = [c_void_p, c_int32, c_void_p, POINTER(c_size_t)]
        self.c.mhc_config_init.argtypes = [c_void_p, c_int32, c_int32]
        self.c.mhc_config_mix_count.argtypes = [c_void_p, POINTER(c_int64)]
        for name in OPERATIONS:
            getattr(self.c, "mhc_" + name).argtypes = [c_void_p, c_void_p]

    def check(self, status):
        if status:
            raise MhcError(self.c.mhc_status_name(status).decode(), self.c.mhc_last_error().decode())

    @property
    def version(self):
        return self.c.mhc_version().decode()

    def config(self, preset, streams=4, **changes):
        """The conventions of a code base, by the name of its preset, with changes to fields of mhc_config."""
        if preset not in PRESETS:
            raise ValueError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}")
        made = Config()
        self.check(self.c.mhc_config_init(ctypes.byref(made), PRESETS.index(preset), streams))
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def mix_count(self, config):
        count = c_int64()
        self.check(self.c.mhc_config_mix_count(ctypes.byref(config), ctypes.byref(count)))
        return count.value

    def context(self, threads=0, tier="AUTO"):
        """A context on the CPU; threads=0: as many as the process may use."""
        if tier not in TIERS:
            raise ValueError(f"tier is {tier!r}; expected one of {', '.join(TIERS)}")
        return Context(self, ContextOptions(threads=threads, cpu_tier=TIERS.index(tier)))


class Context:
    """A device with its threads and workspace. Close it, or use it in a `with`."""

    def __init__(self, library, options):
        self.library, self.handle, self.reserved = library, c_void_p(), 0
        library.check(library.c.mhc_context_create(ctypes.byref(options), ctypes.byref(self.handle)))

    def info(self):
        made = ContextInfo()
        self.library.check(self.library.c.mhc_context_get_info(self.handle, ctypes.byref(made)))
        return made

    def traffic(self):
        """What the last call moved, where the tier is COUNTING."""
        made = Traffic()
        self.library.check(self.library.c.mhc_context_get_traffic(self.handle, ctypes.byref(made)))
        return made

    def call(self, operation, **arguments):
        """mhc_<operation>. Tensors are arrays, tensor(...) or from_dlpack(...); parameters and coefficients are dicts
        of them. Grows the workspace if it is too small."""
        if operation not in OPERATIONS:
            raise ValueError(f"operation is {operation!r}; expected one of {', '.join(OPERATIONS)}")
        number, block = OPERATIONS[operation]
        args = block()
        for name, value in arguments.items():
            _set(args, name, value)  # args keeps alive what it points to
        c, size = self.library.c, c_size_t()
        self.library.check(c.mhc_workspace_size(self.handle, number, ctypes.byref(args), ctypes.byref(size)))
        if size.value > self.reserved:
            self.library.check(c.mhc_context_reserve(self.handle, size))
            self.reserved = size.value
        self.library.check(getattr(c, "mhc_" + operation)(self.handle, ctypes.byref(args)))

    def close(self):
        if self.handle:
            self.library.check(self.library.c.mhc_context_destroy(self.handle))
            self.handle = c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _set(struct, name, value):
    """Sets a field: arrays become tensors, dicts fill the struct inside."""
    names = [field[0] for field in struct._fields_]
    if name not in names:
        raise TypeError(f"{type(struct).__name__} has no field {name}; it has {', '.join(names)}")
    if isinstance(value, dict):
        for key, inner in value.items():
            _set(getattr(struct, name), key, inner)
        return
    if isinstance(value, np.ndarray):
        value = tensor(value)
    if isinstance(value, (Tensor, Config)):
        value = ctypes.pointer(value)
    if value is None:
        return
    try:
        setattr(struct, name, value)
    except TypeError as e:
        raise TypeError(f"{name} is {value!r}: {e}; expected what {type(struct).__name__} of mhc.h says") from e
