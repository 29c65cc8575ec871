// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import static dev.mhc.bench.report.Plot.escape;
import static dev.mhc.bench.report.Plot.format;

/** Small square matrices, one for each layer, as coloured cells: blue above zero, red below, white at zero. */
final class HeatMap {
  private static final int CELL = 15;
  private static final int GAP = 14;
  private static final int TOP = 26;
  private static final int LABEL = 14;
  private static final int COLUMNS = 12;

  private HeatMap() {}

  /** As SVG. */
  static String svg(String title, double[][][] matrices) {
    int n = matrices[0].length;
    int step = CELL * n + GAP;
    int rows = (matrices.length + COLUMNS - 1) / COLUMNS;
    int width = Math.max(step * Math.min(COLUMNS, matrices.length), 330);
    int height = TOP + rows * (step + LABEL);
    var svg = new StringBuilder(format("<svg viewBox='0 0 %d %d' width='%d' height='%d' role='img'>", width, height, width,
        height));
    svg.append(format("<text class='title' x='0' y='16'>%s</text>", escape(title)));
    for (int l = 0; l < matrices.length; l++) {
      int left = l % COLUMNS * step;
      int top = TOP + l / COLUMNS * (step + LABEL);
      for (int o = 0; o < n; o++) {
        for (int i = 0; i < n; i++) {
          svg.append(format("<rect x='%d' y='%d' width='%d' height='%d' fill='%s'><title>from %d to %d: %.3f</title></rect>",
              left + i * CELL, top + o * CELL, CELL - 1, CELL - 1, color(matrices[l][o][i]), i + 1, o + 1, matrices[l][o][i]));
        }
      }
      svg.append(format("<text class='label' x='%d' y='%d'>%d</text>", left, top + n * CELL + 11, l + 1));
    }
    return svg.append("</svg>").toString();
  }

  private static String color(double value) {
    double part = Math.clamp(Math.abs(value), 0, 1);
    int[] full = value >= 0 ? new int[] {31, 111, 208} : new int[] {208, 50, 40};
    return format("rgb(%d,%d,%d)", mix(full[0], part), mix(full[1], part), mix(full[2], part));
  }

  private static int mix(int full, double part) {
    return (int) Math.round(244 + (full - 244) * part);
  }
}
