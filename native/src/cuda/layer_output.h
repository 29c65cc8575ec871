// SPDX-License-Identifier: Apache-2.0
// F's output as kernels read it: of a layer tensor's type, or E4M3 with the scales of its 1x128 tiles. FP8 that was loaded lies
// where the wider type would, in the same registers; which it is, is the same for all threads.
#pragma once

#include "cuda/rows.h"

namespace mhc::cuda {

// Exact. A product moves the exponent, which is right for subnormal numbers too.
MHC_FN float from_e4m3(uint32_t code) {
  const uint32_t magnitude = code & 0x7f;
  const float value = float_from_bits(magnitude << 20 | (code & 0x80) << 24) * 0x1p120f;
  return magnitude == 0x7f ? float_from_bits(0x7fc00000u) : value;
}

// Scales to be read: fp32, or the exponent byte of E8M0.
struct ScaleSource {
  const char* data = nullptr;
  int64_t stride[2] = {};
  int64_t e8m0 = 0;

  ScaleSource() = default;
  explicit ScaleSource(const View& view)
      : data(view.given ? view.data : nullptr), stride{view.stride[0], view.stride[1]}, e8m0(view.type == DType::E8M0) {}
  MHC_FN float at(int64_t row, int64_t tile) const {
    const int64_t index = row * stride[0] + tile * stride[1];
    return e8m0 ? e8m0_to_float(load1(reinterpret_cast<const uint8_t*>(data) + index)) : load1(reinterpret_cast<const float*>(data) + index);
  }
};

template <class H>
struct LayerOutput {
  Array<const H> rows;  // in FP8 of bytes
  ScaleSource scale;    // given where it is FP8

  LayerOutput() = default;
  LayerOutput(const View& f, const View& f_scale) : rows(f), scale(f_scale) {}

  MHC_HOST_DEVICE explicit operator bool() const { return static_cast<bool>(rows); }
  MHC_FN bool fp8() const { return scale.data != nullptr; }
  MHC_FN const uint8_t* codes(int64_t token, int64_t c) const {
    return reinterpret_cast<const uint8_t*>(rows.data) + token * rows.stride[0] + c;
  }

  // One element.
  MHC_FN float value(int64_t token, int64_t c) const {
    if (fp8()) return from_e4m3(load1(codes(token, c))) * scale.at(token, c / 128);
    return widened(load1(rows.at(token, c)));
  }
  // Eight channels, of one tile: as they are stored, or two words of codes and their scale.
  MHC_FN Piece<H> load(int64_t token, int64_t c, int64_t left, bool aligned) const {
    if (!fp8()) return load_piece(rows.at(token, c), left, aligned);
    Piece<H> piece;
    piece.clear();
    if (left <= 0) return piece;
    const uint8_t* from = codes(token, c);
    uint32_t(&word)[4] = piece.bits[0].word;
    if (aligned && left >= kPiece) {
      const Bits8 both = load8(from);
      word[0] = both.word[0];
      word[1] = both.word[1];
    } else {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) {
        if (e < left) word[e / 4] |= static_cast<uint32_t>(load1(from + e)) << e % 4 * 8;
      }
    }
    word[2] = bits_from_float(scale.at(token, c / 128));
    return piece;
  }
  // body(f), whose f[e] are the piece's values. Once for each kind, so that neither has the other's registers.
  template <class Body>
  MHC_FN void with_values(const Piece<H>& piece, const Body& body) const {
    if (!fp8()) return body(piece);
    body(Dequantised{piece.bits[0]});
  }
  MHC_FN void values(const Piece<H>& piece, float (&v)[kPiece]) const {
    const Dequantised dequantised{piece.bits[0]};
    if (fp8()) {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) v[e] = dequantised[e];
    } else {
#pragma unroll
      for (int e = 0; e < kPiece; ++e) v[e] = piece[e];
    }
  }

 private:
  struct Dequantised {
    Bits16 bits;
    MHC_FN float operator[](int e) const { return from_e4m3(bits.word[e / 4] >> e % 4 * 8) * float_from_bits(bits.word[2]); }
  };
};

// Whether pieces of all rows can be moved as a whole.
inline bool layer_output_aligned(const View& f) {
  if (!f.given || f.type != DType::E4M3) return rows_aligned(f);
  return reinterpret_cast<uintptr_t>(f.data) % 8 == 0 && (f.shape[0] <= 1 || f.stride[0] % 8 == 0);
}

}  // namespace mhc::cuda
