// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import static dev.mhc.bench.Check.token;

import dev.mhc.Coefficients;
import dev.mhc.DType;
import dev.mhc.Tensor;
import java.util.Arrays;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/** Compares what a {@link BoundaryCase} in the paper's conventions computes with {@link Reference}. */
public final class BoundaryCheck {
  private BoundaryCheck() {}

  /** The forward on the first, the last and some tokens between. */
  public static void forward(BoundaryCase boundary) {
    forward(boundary, boundary::boundary);
  }

  /**
   * The same by another operation.
   *
   * @param work the forward of a set
   */
  public static void forward(BoundaryCase boundary, Consumer<BoundaryCase.Set> work) {
    BoundaryCase.Set on = boundary.first();
    Check.poison(on.xNext());
    Check.poison(on.h());
    work.accept(on);
    Check.written("xNext", on.xNext());
    Check.written("h", on.h());
    DType type = on.x().dtype();
    Coefficients current = boundary.current().coefficients();
    Coefficients made = boundary.next().coefficients();
    var reference = new Reference(boundary.next().parameters(), (int) on.x().dim(1));
    for (int token : Check.tokens(on.x().dim(0))) {
      double[] xNext = Reference.post(token(on.x(), token), token(on.f(), token), token(current.postMix(), token),
          token(current.resMix(), token));
      Check.rounded("xNext of token " + token, type, token(on.xNext(), token), xNext);
      double[] stored = token(on.xNext(), token); // the coefficients are those of what was stored
      Reference.Mixes mixes = reference.coefficients(stored);
      Check.rounded("h of token " + token, type, token(on.h(), token), Reference.pre(stored, mixes.pre()));
      coefficients(token, made, mixes);
    }
  }

  /** The coefficients of a token. */
  public static void coefficients(int token, Coefficients made, Reference.Mixes expected) {
    Check.close("preMix of token " + token, token(made.preMix(), token), expected.pre(), Check.COEFFICIENTS, 0);
    Check.close("postMix of token " + token, token(made.postMix(), token), expected.post(), Check.COEFFICIENTS, 0);
    Check.close("resMix of token " + token, token(made.resMix(), token), expected.res(), Check.COEFFICIENTS, 1e-6);
  }

  /** The backward, along a random direction of each token's x and f. */
  public static void backward(BoundaryCase boundary) {
    backward(boundary, boundary::boundaryBackward, UnaryOperator.identity());
  }

  /**
   * The same where the layer behind the boundary does not take h as it is.
   *
   * @param work the backward, of a set whose dH is the gradient of that input
   * @param input of the layer, from h
   */
  public static void backward(BoundaryCase boundary, Consumer<BoundaryCase.Set> work, UnaryOperator<double[]> input) {
    BoundaryCase.Set on = boundary.first();
    boundary.boundary(on);
    boundary.receiveCoefficientGradients();
    Check.poison(on.dX());
    Check.poison(on.dF());
    work.accept(on);
    Check.written("dX", on.dX());
    Check.written("dF", on.dF());
    Coefficients current = boundary.current().coefficients();
    Coefficients received = boundary.next().coefficientGradients();
    var reference = new Reference(boundary.next().parameters(), (int) on.x().dim(1));
    for (int token : Check.tokens(on.x().dim(0))) {
      double[] x = token(on.x(), token);
      double[] post = token(current.postMix(), token);
      double[] res = token(current.resMix(), token);
      Check.gradient("the backward of token " + token, at -> {
        double[] xNext = Reference.post(Arrays.copyOf(at, x.length), Arrays.copyOfRange(at, x.length, at.length), post,
            res);
        Reference.Mixes mixes = reference.coefficients(xNext);
        return Check.join(xNext, input.apply(Reference.pre(xNext, mixes.pre())), mixes.post(), mixes.res());
      }, Check.join(x, token(on.f(), token)),
          Check.join(token(on.dXNext(), token), token(on.dH(), token), token(received.postMix(), token),
              token(received.resMix(), token)),
          Check.join(token(on.dX(), token), token(on.dF(), token)), Check.rounding(on.x().dtype()));
    }
  }

  /**
   * Of a boundary its first half: the next residual, with the coefficients of the layer before.
   *
   * @param work that writes xNext of a set
   */
  public static void post(BoundaryCase boundary, Consumer<BoundaryCase.Set> work) {
    BoundaryCase.Set on = boundary.first();
    Check.poison(on.xNext());
    work.accept(on);
    Coefficients current = boundary.current().coefficients();
    post(on.x(), on.f(), current.postMix(), current.resMix(), on.xNext());
  }

  /**
   * Its backward.
   *
   * @param work that writes dX and dF of a set, from its dXNext
   */
  public static void postBackward(BoundaryCase boundary, Consumer<BoundaryCase.Set> work) {
    BoundaryCase.Set on = boundary.first();
    Check.poison(on.dX());
    Check.poison(on.dF());
    work.accept(on);
    Coefficients current = boundary.current().coefficients();
    postBackward(on.x(), on.f(), current.postMix(), current.resMix(), on.dXNext(), on.dX(), on.dF());
  }

  /** The next residual of some tokens, where xNext was poisoned before. */
  public static void post(Tensor x, Tensor f, Tensor postMix, Tensor resMix, Tensor xNext) {
    Check.written("xNext", xNext);
    for (int token : Check.tokens(x.dim(0))) {
      Check.rounded("xNext of token " + token, x.dtype(), token(xNext, token),
          Reference.post(token(x, token), token(f, token), token(postMix, token), token(resMix, token)));
    }
  }

  /** The gradients of some tokens' x and f, along a random direction, where they were poisoned before. */
  public static void postBackward(Tensor x, Tensor f, Tensor postMix, Tensor resMix, Tensor dXNext, Tensor dX, Tensor dF) {
    Check.written("dX", dX);
    Check.written("dF", dF);
    for (int token : Check.tokens(x.dim(0))) {
      double[] from = token(x, token);
      double[] post = token(postMix, token);
      double[] res = token(resMix, token);
      Check.gradient("dX and dF of token " + token,
          at -> Reference.post(Arrays.copyOf(at, from.length), Arrays.copyOfRange(at, from.length, at.length), post, res),
          Check.join(from, token(f, token)), token(dXNext, token), Check.join(token(dX, token), token(dF, token)),
          Check.rounding(x.dtype()));
    }
  }
}
