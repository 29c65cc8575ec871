// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static dev.mhc.bench.report.Plot.escape;
import static dev.mhc.bench.report.Plot.format;

import java.util.ArrayList;
import java.util.List;

/** Horizontal bars, each with its value in words, as SVG. */
public final class Bars {
  private static final int WIDTH = 760;
  private static final int ROW = 22;
  private static final int TOP = 30;

  private record Bar(String label, double value, String words, int color) {}

  private final String title;
  private final int labels;
  private final List<Bar> bars = new ArrayList<>();

  /** With so much room, in pixels, for the labels. */
  public Bars(String title, int labels) {
    this.title = title;
    this.labels = labels;
  }

  /** Adds a bar. */
  public Bars bar(String label, double value, String words, int color) {
    bars.add(new Bar(label, value, words, color));
    return this;
  }

  /** As SVG, for an {@link Html} page. */
  public String svg() {
    int height = TOP + ROW * bars.size() + 6;
    double most = bars.stream().mapToDouble(Bar::value).max().orElse(1);
    double room = WIDTH - labels - 190;
    var svg = new StringBuilder(format("<svg viewBox='0 0 %d %d' width='%d' height='%d' role='img'>", WIDTH, height, WIDTH,
        height));
    svg.append(format("<text class='title' x='4' y='16'>%s</text>", escape(title)));
    for (int i = 0; i < bars.size(); i++) {
      Bar bar = bars.get(i);
      int y = TOP + ROW * i;
      double length = Math.max(1, room * bar.value / most);
      svg.append(format("<text class='key' text-anchor='end' x='%d' y='%d'>%s</text>", labels - 8, y + 13, escape(bar.label)));
      svg.append(format("<rect class='bar c%d' x='%d' y='%d' width='%.1f' height='16' rx='2'/>", bar.color, labels, y, length));
      svg.append(format("<text class='key' x='%.1f' y='%d'>%s</text>", labels + length + 7, y + 13, escape(bar.words)));
    }
    return svg.append("</svg>").toString();
  }
}
