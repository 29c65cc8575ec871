// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import dev.mhc.bench.Cost;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.Stream;

/**
 * A benchmark with its parameters.
 *
 * @param name operation and method: "boundary.forward"
 * @param parameters of it
 * @param seconds of a call: for each fork the mean of each iteration
 * @param cost what a call has to move and to compute
 * @param ledger what it should move and what was counted; null for limits and for what has no rows
 */
public record Measurement(String name, Map<String, String> parameters, double[][] seconds, Cost cost, Ledger ledger) {
  /**
   * Traffic of rows, in elements of C a token.
   *
   * @param moved what has to come from memory and go there
   * @param counted loads and stores, one by one
   */
  public record Ledger(double moved, double counted) {
    /** Whether they are the same. */
    public boolean holds() {
      return Math.abs(moved - counted) < 1e-9;
    }
  }

  /** With the forks of another that is the same otherwise. */
  public Measurement with(Measurement other) {
    return new Measurement(name, parameters,
        Stream.concat(Arrays.stream(seconds), Arrays.stream(other.seconds)).toArray(double[][]::new), cost, ledger);
  }

  /** Name and parameters: what is the same thing in another run. */
  public String key() {
    return name + " " + parameters;
  }

  /** The operation: "boundary". */
  public String operation() {
    return name.substring(0, name.indexOf('.'));
  }

  /** Whether it is a limit. */
  public boolean isLimit() {
    return operation().equals("limit");
  }

  /** A parameter; "" where there is none. */
  public String parameter(String parameter) {
    return parameters.getOrDefault(parameter, "");
  }

  /** Mean seconds of a call, with an interval that says how sure that is. */
  public Interval time() {
    return Interval.ofForks(seconds);
  }
}
