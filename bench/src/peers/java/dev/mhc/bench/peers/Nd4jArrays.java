// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import dev.mhc.Coefficients;
import dev.mhc.Parameters;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.nd4j.Nd4jTensors;
import org.nd4j.linalg.api.ndarray.INDArray;

/** A set of rows, the mixes of the layer before, the parameters of the one behind and what reaches it, as arrays of ND4J. */
final class Nd4jArrays {
  final INDArray x;
  final INDArray f;
  final INDArray post;
  final INDArray res;
  final INDArray projection;
  final INDArray scale;
  final INDArray bias;
  final INDArray dXNext;
  final INDArray dH;
  final INDArray dPost;
  final INDArray dRes;

  /** On the memory of the case itself. */
  Nd4jArrays(BoundaryCase boundary, BoundaryCase.Set on) {
    Coefficients current = boundary.current().coefficients();
    Parameters next = boundary.next().parameters();
    Coefficients received = boundary.next().coefficientGradients();
    x = Nd4jTensors.array(on.x());
    f = Nd4jTensors.array(on.f());
    post = Nd4jTensors.array(current.postMix());
    res = Nd4jTensors.array(current.resMix());
    projection = Nd4jTensors.array(next.projection());
    scale = Nd4jTensors.array(next.scale());
    bias = Nd4jTensors.array(next.bias());
    dXNext = Nd4jTensors.array(on.dXNext());
    dH = Nd4jTensors.array(on.dH());
    dPost = Nd4jTensors.array(received.postMix());
    dRes = Nd4jTensors.array(received.resMix());
  }
}
