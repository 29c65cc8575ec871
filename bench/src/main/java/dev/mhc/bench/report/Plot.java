// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Lines and dots over two axes, each linear or logarithmic, as SVG. Colours are those of the page's style sheet. */
public final class Plot {
  private static final int LEFT = 62;
  private static final int RIGHT = 14;
  private static final int TOP = 58;
  private static final int BOTTOM = 44;

  private enum Style {
    LINE, CURVE, DASHED, DOTS
  }

  private record Series(String name, Style style, int color, double[] x, double[] y, String[] labels) {}

  private final String title;
  private final String xTitle;
  private final String yTitle;
  private final int width;
  private final int height;
  private final List<Series> series = new ArrayList<>();
  private boolean logarithmicX;
  private boolean logarithmicY;
  private double[] xTicks;
  private double x0;
  private double x1;
  private double y0;
  private double y1;

  /** An empty one, of a size in pixels. */
  public Plot(String title, String xTitle, String yTitle, int width, int height) {
    this.title = title;
    this.xTitle = xTitle;
    this.yTitle = yTitle;
    this.width = width;
    this.height = height;
  }

  /** Chooses logarithmic axes. */
  public Plot logarithmic(boolean x, boolean y) {
    logarithmicX = x;
    logarithmicY = y;
    return this;
  }

  /** Marks the horizontal axis at these values alone. */
  public Plot ticks(double... values) {
    xTicks = values;
    return this;
  }

  /** A line with a dot at each value. */
  public Plot line(String name, int color, double[] x, double[] y) {
    series.add(new Series(name, Style.LINE, color, x, y, null));
    return this;
  }

  /** A line without dots, for many values; those that the axes cannot show are left out. */
  public Plot curve(String name, int color, double[] x, double[] y) {
    int[] finite = java.util.stream.IntStream.range(0, y.length).filter(i -> Double.isFinite(y[i]) && (!logarithmicY || y[i] > 0)).toArray();
    series.add(new Series(name, Style.CURVE, color, Arrays.stream(finite).mapToDouble(i -> x[i]).toArray(),
        Arrays.stream(finite).mapToDouble(i -> y[i]).toArray(), null));
    return this;
  }

  /** A dashed line. */
  public Plot dashed(String name, int color, double[] x, double[] y) {
    series.add(new Series(name, Style.DASHED, color, x, y, null));
    return this;
  }

  /** Each with a label, which the page shows when the mouse is over it; those that begin with "*" are written beside it. */
  public Plot dots(String name, int color, double[] x, double[] y, String... labels) {
    series.add(new Series(name, Style.DOTS, color, x, y, labels));
    return this;
  }

  /** As SVG, for an {@link Html} page. */
  public String svg() {
    ranges();
    var svg = new StringBuilder(format("<svg viewBox='0 0 %d %d' width='%d' height='%d' role='img'>", width, height, width,
        height));
    svg.append(format("<text class='title' x='4' y='16'>%s</text>", escape(title)));
    legend(svg);
    axes(svg);
    for (Series each : series) {
      draw(svg, each);
    }
    return svg.append("</svg>").toString();
  }

  private void ranges() {
    double[] xs = series.stream().flatMapToDouble(s -> Arrays.stream(s.x)).toArray();
    double[] ys = series.stream().flatMapToDouble(s -> Arrays.stream(s.y)).toArray();
    x0 = Arrays.stream(xs).min().orElse(1); // there may be nothing to show
    x1 = Arrays.stream(xs).max().orElse(1);
    double least = Arrays.stream(ys).min().orElse(1);
    y0 = logarithmicY ? least / 1.3 : Math.min(0, least * 1.08);
    y1 = Arrays.stream(ys).max().orElse(1) * (logarithmicY ? 1.3 : 1.08);
    if (x0 == x1) {
      x0 *= 0.5;
      x1 *= 2;
    }
    if (y0 == y1) { // zeros alone
      y1 = 1;
    }
  }

  private double x(double value) {
    return LEFT + (width - LEFT - RIGHT) * part(value, x0, x1, logarithmicX);
  }

  private double y(double value) {
    return height - BOTTOM - (height - TOP - BOTTOM) * part(value, y0, y1, logarithmicY);
  }

  private static double part(double value, double from, double to, boolean logarithmic) {
    return logarithmic ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  }

  private void legend(StringBuilder svg) {
    double at = LEFT;
    for (Series each : series) {
      if (each.name.isEmpty()) {
        continue;
      }
      String mark = each.style == Style.DOTS ? format("<circle class='dot c%d' cx='%.1f' cy='33' r='4'/>", each.color, at + 9)
          : format("<path class='%s c%d' d='M%.1f 33h18'/>", each.style == Style.DASHED ? "dashed" : "line", each.color, at);
      svg.append(mark).append(format("<text class='key' x='%.1f' y='37'>%s</text>", at + 23, escape(each.name)));
      at += 40 + 6.4 * each.name.length();
    }
  }

  private void axes(StringBuilder svg) {
    for (double tick : ticks(y0, y1, logarithmicY, 6)) {
      svg.append(format("<path class='grid' d='M%d %.1fH%d'/><text class='tick' text-anchor='end' x='%d' y='%.1f'>%s</text>",
          LEFT, y(tick), width - RIGHT, LEFT - 6, y(tick) + 4, number(tick)));
    }
    for (double tick : xTicks != null ? Arrays.stream(xTicks).boxed().toList() : ticks(x0, x1, logarithmicX, 8)) {
      svg.append(format("<path class='grid' d='M%.1f %dV%d'/><text class='tick' text-anchor='middle' x='%.1f' y='%d'>%s</text>",
          x(tick), TOP, height - BOTTOM, x(tick), height - BOTTOM + 16, number(tick)));
    }
    svg.append(format("<text class='axis' text-anchor='middle' x='%d' y='%d'>%s</text>", (LEFT + width - RIGHT) / 2,
        height - 8, escape(xTitle)));
    svg.append(format("<text class='axis' text-anchor='middle' transform='translate(14 %d) rotate(-90)'>%s</text>",
        (TOP + height - BOTTOM) / 2, escape(yTitle)));
  }

  private void draw(StringBuilder svg, Series each) {
    if (each.style != Style.DOTS) {
      var path = new StringBuilder();
      for (int i = 0; i < each.x.length; i++) {
        path.append(format("%s%.1f %.1f", i == 0 ? "M" : "L", x(each.x[i]), y(each.y[i])));
      }
      svg.append(format("<path class='%s c%d' d='%s'/>", each.style == Style.DASHED ? "dashed" : "line", each.color, path));
    }
    for (int i = 0; i < each.x.length && (each.style == Style.LINE || each.style == Style.DOTS); i++) {
      boolean written = each.labels != null && each.labels[i].startsWith("*");
      String label = each.labels == null ? number(each.x[i]) + ": " + number(each.y[i])
          : each.labels[i].substring(written ? 1 : 0);
      svg.append(format("<circle class='dot c%d' cx='%.1f' cy='%.1f' r='4'><title>%s</title></circle>", each.color,
          x(each.x[i]), y(each.y[i]), escape(label)));
      if (written) {
        boolean left = x(each.x[i]) > width - 150;
        svg.append(format("<text class='label' text-anchor='%s' x='%.1f' y='%.1f'>%s</text>", left ? "end" : "start",
            x(each.x[i]) + (left ? -8 : 8), y(each.y[i]) + 4, escape(label)));
      }
    }
  }

  /** Round values, about so many. */
  static List<Double> ticks(double from, double to, boolean logarithmic, int about) {
    var ticks = new ArrayList<Double>();
    if (logarithmic) {
      double[] steps = to / from > 300 ? new double[] {1} : to / from > 8 ? new double[] {1, 2, 5} : new double[] {1, 1.5, 2, 3, 5, 7};
      for (double decade = Math.pow(10, Math.floor(Math.log10(from))); decade <= to; decade *= 10) {
        for (double step : steps) {
          if (decade * step >= from && decade * step <= to) {
            ticks.add(decade * step);
          }
        }
      }
      return ticks;
    }
    double raw = (to - from) / about;
    double decade = Math.pow(10, Math.floor(Math.log10(raw)));
    double step = decade * (raw / decade > 5 ? 10 : raw / decade > 2 ? 5 : raw / decade > 1 ? 2 : 1);
    for (long i = (long) Math.ceil(from / step); i * step <= to; i++) {
      ticks.add(i * step);
    }
    return ticks;
  }

  /** Three digits, or what stands before the point. */
  public static String number(double value) {
    if (value == 0) {
      return "0";
    }
    double size = Math.abs(value);
    String text = size >= 100 ? format("%.0f", value) : size >= 1 ? format("%.2f", value) : format("%.3g", value);
    return text.contains(".") && !text.contains("e") ? text.replaceFirst("\\.?0+$", "") : text;
  }

  /** Text as XML has it. */
  public static String escape(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;");
  }

  /** With points, whatever the language. */
  public static String format(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
