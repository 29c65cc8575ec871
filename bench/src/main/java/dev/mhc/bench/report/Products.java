// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static dev.mhc.bench.report.Plot.format;

import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** The part of the page about matrix products. */
final class Products {
  private static final int LABELS = 170;

  private Products() {}

  /** Whether a benchmark is one. */
  static boolean isOne(Measurement m) {
    return m.operation().matches("gemm|fp8Gemm|openBlas|muon");
  }

  static void describe(Results results, Html html) {
    List<Measurement> products = results.measurements().stream().filter(Products::isOne)
        .sorted(Comparator.comparingDouble(m -> -rate(m))).toList();
    if (products.isEmpty()) {
      return;
    }
    html.heading("Matrix products");
    html.paragraph("Of [T, C] by [C, C] matrices, and a step of Muon for a [T, C] matrix. On a CPU all end in OpenBLAS's product of"
        + " fp32 matrices, which is called by itself beside them. What it leaves of the multiply-adds is its own; what the others"
        + " reach less than it goes into other types on the way there and back, and in Muon into what is no product.");
    html.plots(products.stream().map(Products::shape).distinct().sorted(Comparator.comparingInt(String::length))
        .map(shape -> bars(results, products, shape)).toArray(String[]::new));
  }

  private static String bars(Results results, List<Measurement> products, String shape) {
    var bars = new Bars("Multiply-adds a second, " + shape, LABELS);
    products.stream().filter(m -> shape(m).equals(shape)).forEach(m -> bars.bar(
        m.name() + " " + m.parameter("dtype").toLowerCase(Locale.ROOT), rate(m),
        format("%.3g G/s, %.0f %% of the limit", rate(m) * 1e-9, 100 * results.fraction(m)),
        m.operation().equals("openBlas") ? Page.LIMIT : Page.FORWARD));
    return bars.svg();
  }

  private static String shape(Measurement m) {
    return format("T=%s C=%s, %s", m.parameter("tokens"), m.parameter("width"), Tables.threads(m.parameter("threads")));
  }

  private static double rate(Measurement m) {
    return m.cost().multiplyAdds() / m.time().value();
  }
}
