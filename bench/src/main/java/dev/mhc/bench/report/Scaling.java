// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;

/** The part of the page about what one parameter changes, where the others are as in most of the suite. */
final class Scaling {
  private static final String[] OTHERS = {"streams", "4", "width", "2560", "dtype", "BF16", "threads", "0"};
  private static final List<String> BOUNDARY = List.of("boundary.forward", "boundary.backward");
  private static final List<String> STACK = List.of("stack.forward", "stack.forwardAndBackward");

  private final Results results;

  /**
   * A plot.
   *
   * @param names of the benchmarks, forward first
   * @param tokens T, where it is not what varies
   * @param parameter that varies
   * @param unit what the time is divided by
   * @param scale and multiplied by
   */
  private record Curve(List<String> names, int tokens, String parameter, String xTitle, String yTitle,
      ToDoubleFunction<Measurement> unit, double scale) {}

  private Scaling(Results results) {
    this.results = results;
  }

  static void describe(Results results, Html html) {
    String[] plots = Stream.of(
        new Curve(BOUNDARY, 0, "tokens", "T, tokens", "µs a token", m -> number(m, "tokens"), 1e6),
        new Curve(BOUNDARY, 2048, "width", "C, channels of a stream", "ns a channel of a token",
            m -> number(m, "tokens") * number(m, "width"), 1e9),
        new Curve(BOUNDARY, 2048, "streams", "n, streams", "µs a token", m -> number(m, "tokens"), 1e6),
        new Curve(BOUNDARY, 2048, "threads", "threads", "ms", m -> 1, 1e3),
        new Curve(STACK, 512, "layers", "L, layers", "µs a token and layer", m -> number(m, "tokens") * number(m, "layers"), 1e6))
        .map(new Scaling(results)::svg).filter(Objects::nonNull).toArray(String[]::new);
    if (plots.length > 0) {
      html.heading("How it scales");
      html.paragraph("One parameter varies; the others are T=2048, n=4, C=2560, bf16, all threads. A stack, at T=512, is all that"
          + " its layers do outside of F, each with parameters and rows of its own. Its two ends, entry and last post, move"
          + " 14 C together, a boundary 10. Dashed: the limit.");
      html.plots(plots);
    }
  }

  /** Null if there are no two points of each line. */
  private String svg(Curve curve) {
    var plot = new Plot(curve.names.get(0).replaceFirst("\\..*", "") + " by " + curve.parameter, curve.xTitle, curve.yTitle, 540, 330)
        .logarithmic(true, curve.parameter.equals("tokens"));
    double[] xs = {};
    for (String name : curve.names) {
      List<Measurement> points = results.measurements().stream().filter(m -> m.name().equals(name) && isOn(curve, m))
          .sorted(Comparator.comparingDouble(m -> x(curve, m))).toList();
      if (points.size() < 2) {
        return null;
      }
      int color = Page.color(points.get(0));
      xs = points.stream().mapToDouble(m -> x(curve, m)).toArray();
      plot.line(words(name), color, xs, points.stream().mapToDouble(m -> y(curve, m, m.time().value())).toArray());
      plot.dashed("its limit", color, xs,
          points.stream().mapToDouble(m -> y(curve, m, results.rates(m).floor(m.cost()).value())).toArray());
    }
    return plot.ticks(xs).svg();
  }

  private static String words(String name) {
    String method = name.substring(name.indexOf('.') + 1);
    return method.equals("forwardAndBackward") ? "with backward" : method;
  }

  private static boolean isOn(Curve curve, Measurement m) {
    for (int i = 0; i < OTHERS.length; i += 2) {
      if (!OTHERS[i].equals(curve.parameter) && !m.parameter(OTHERS[i]).equals(OTHERS[i + 1])) {
        return false;
      }
    }
    return curve.tokens == 0 || number(m, "tokens") == curve.tokens;
  }

  private double x(Curve curve, Measurement m) {
    double value = number(m, curve.parameter);
    return curve.parameter.equals("threads") && value == 0 ? results.machine().threads() : value;
  }

  private static double y(Curve curve, Measurement m, double seconds) {
    return seconds * curve.scale / curve.unit.applyAsDouble(m);
  }

  private static double number(Measurement m, String parameter) {
    return Double.parseDouble(m.parameter(parameter));
  }
}
