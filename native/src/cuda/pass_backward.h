// SPDX-License-Identifier: Apache-2.0
// The backward of a boundary, or (with neither f nor d_h) of its coefficients alone. Names, per token: next is x_{l+1},
// rebuilt from x and f; D its gradient; dh the gradient of h, before RMSNorm where there is one.
#pragma once

#include "cuda/layer_output.h"

namespace mhc::cuda {

// In one pass over the rows, for four streams on a device that is large enough for the width.
bool pass_backward_fits(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
size_t pass_backward_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
void run_pass_backward(const BoundaryBackwardProblem& problem, Job& job);

// Whatever the number of streams: a token to a block, which reads its rows twice, and the gradients of the weights after it.
size_t backward_in_steps_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
void backward_in_steps(const BoundaryBackwardProblem& problem, Job& job);

// Whichever of the two.
size_t any_backward_space(const BoundaryBackwardProblem& problem, const DeviceProperties& device);
void any_backward(const BoundaryBackwardProblem& problem, Job& job);

// The rows of a backward. A type without a layer: any.
template <class X, class H>
struct BackwardRows {
  Array<const X> x, d_x_next;
  LayerOutput<H> f;
  Array<const H> d_h;
  Array<X> d_x;
  Array<H> d_f;
};

// body(rows), of the types that the problem has.
template <class Body>
void with_rows(const BoundaryBackwardProblem& p, const Body& body) {
  const auto of = [&](auto x, auto h) {
    using X = decltype(x);
    using H = decltype(h);
    body(BackwardRows<X, H>{Array<const X>(p.x), Array<const X>(p.d_x_next), LayerOutput<H>(p.f, p.f_scale), Array<const H>(p.d_h),
                            Array<X>(p.d_x), Array<H>(p.d_f)});
  };
  if (!p.d_h) return with_row_type(p.x.type, [&](auto x) { of(x, x); });
  with_row_types(p.x.type, p.d_h.type, of);
}

}  // namespace mhc::cuda
