// SPDX-License-Identifier: Apache-2.0
// The single pass where it is made for the problem; elsewhere its operations one after the other.
#include "cuda/coefficients.h"
#include "cuda/pass.h"
#include "cuda/rows.h"

namespace mhc::cuda {
namespace {

// A compact [T, C] tensor in the workspace.
View layer_tensor(char* data, const BoundaryProblem& p) {
  View view;
  view.data = data;
  view.rank = 2;
  view.shape[0] = p.sizes.tokens;
  view.shape[1] = view.stride[0] = p.sizes.width;
  view.stride[1] = 1;
  view.type = p.layer_type;
  view.given = true;
  return view;
}

// Whether anything is wanted of what goes to F; recompute may only want the rest.
bool layer_input(const BoundaryProblem& p) { return p.h || p.y || p.h_fp8; }

struct Space {
  char *coefficients, *h, *y;
  size_t bytes;

  Space(const BoundaryProblem& p, char* base) {
    Pieces pieces(base);
    int64_t layer = p.sizes.tokens * p.sizes.width * static_cast<int64_t>(size_of(p.layer_type));
    coefficients = pieces.take<char>(static_cast<int64_t>(coefficients_in_steps_space(p.sizes, p.config)));
    h = pieces.take<char>(p.h || !layer_input(p) ? 0 : layer);
    y = pieces.take<char>(p.norm_weight && !p.y ? layer : 0);
    bytes = pieces.used();
  }
};

void boundary_in_steps(const BoundaryProblem& p, Job& job) {
  const Space space(p, job.workspace);
  const View entering = p.f ? p.x_next : p.x;
  if (p.f) post({p.sizes, p.config.orientation, p.x, p.f, p.f_scale, p.post_mix, p.res_mix, p.x_next}, job);
  coefficients_in_steps(p.sizes, p.config, p.parameters, entering, p.next, space.coefficients, job);
  if (!layer_input(p)) return;
  const View h = p.h ? p.h : layer_tensor(space.h, p);
  pre({p.sizes, entering, p.shifted_pre_mix ? p.shifted_pre_mix : p.next.pre_mix, h}, job);
  View result = h;
  if (p.norm_weight) {
    result = p.y ? p.y : layer_tensor(space.y, p);
    rmsnorm({p.sizes, p.norm_eps, h, p.norm_weight, result, {}}, job);
  }
  if (!p.h_fp8) return;
  fp8_quantize({p.sizes.tokens, p.sizes.width, MHC_FP8_TILE_1X128, p.fp8_scale_rounding, kFp8AmaxFloor, result, p.h_fp8, p.h_scale},
               job);
}

}  // namespace

size_t boundary_space(const BoundaryProblem& p, const DeviceProperties& device) {
  return pass_fits(p.sizes, p.config, device) ? pass_space(p.sizes, device) : Space(p, nullptr).bytes;
}

void boundary(const BoundaryProblem& p, Job& job) {
  if (!pass_fits(p.sizes, p.config, job.device)) return boundary_in_steps(p, job);
  run_pass({p.sizes, p.config, p.parameters, p.x, p.f, p.f_scale, p.post_mix, p.res_mix, p.x_next, p.shifted_pre_mix, p.next,
            p.h, p.norm_weight, p.y, p.h_fp8, p.h_scale, p.norm_eps, p.fp8_scale_rounding, p.layer_type},
           job);
}

}  // namespace mhc::cuda
