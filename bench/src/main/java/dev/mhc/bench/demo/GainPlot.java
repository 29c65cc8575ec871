// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.demo;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Function;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The composite gain over depth as a picture: forward on the left, backward on the right. */
final class GainPlot {
  private static final int WIDTH = 760;
  private static final int HEIGHT = 620;

  private GainPlot() {}

  /** Writes a PNG. */
  static void write(List<Run> runs, int tokens, Path file) throws IOException {
    double top = runs.stream().flatMapToDouble(r -> java.util.stream.DoubleStream.concat(
        java.util.Arrays.stream(r.forwardGain()), java.util.Arrays.stream(r.backwardGain())))
        .filter(Double::isFinite).max().orElse(1);
    String over = " (mean over " + tokens + " tokens)";
    XYChart forward = chart("Forward: largest |row sum| of H_l … H_1" + over, runs, Run::forwardGain, top);
    XYChart backward = chart("Backward: largest |column sum| of H_l … H_1" + over, runs, Run::backwardGain, top);
    BitmapEncoder.saveBitmap(List.of(forward, backward), 1, 2, file.toString(), BitmapFormat.PNG);
  }

  private static XYChart chart(String title, List<Run> runs, Function<Run, double[]> gain, double top) {
    XYChart chart = new XYChartBuilder().width(WIDTH).height(HEIGHT).title(title).xAxisTitle("layer l")
        .yAxisTitle("composite Amax gain (log scale)").build();
    var style = chart.getStyler();
    style.setYAxisLogarithmic(true);
    style.setYAxisMin(0.1);
    style.setYAxisMax(Math.pow(10, Math.max(1, Math.ceil(Math.log10(top)))));
    style.setXAxisMin(0.0);
    style.setXAxisMax((double) runs.get(0).forwardGain().length);
    style.setXAxisDecimalPattern("0");
    style.setXAxisMaxLabelCount(13);
    style.setYAxisTickLabelsFormattingFunction(GainPlot::label);
    style.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 16));
    style.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 15));
    style.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
    style.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
    style.setLegendPosition(LegendPosition.InsideNW);
    style.setChartBackgroundColor(Color.WHITE);
    style.setPlotGridLinesColor(new Color(225, 225, 225));
    style.setMarkerSize(0);
    for (Run run : runs) {
      add(chart, run, gain.apply(run));
    }
    return chart;
  }

  /** One line; where the gain is no longer a number that fits a float, it ends. */
  private static void add(XYChart chart, Run run, double[] gain) {
    int length = 0;
    while (length < gain.length && Double.isFinite(gain[length]) && gain[length] > 0) {
      length++;
    }
    if (length == 0) {
      return;
    }
    var depth = new double[length];
    for (int l = 0; l < length; l++) {
      depth[l] = l + 1;
    }
    String name = String.format(java.util.Locale.ROOT, "%s (ends at %s)", run.kind().label, value(gain[gain.length - 1]));
    XYSeries series = chart.addSeries(name, depth, java.util.Arrays.copyOf(gain, length));
    series.setMarker(SeriesMarkers.NONE);
    series.setLineColor(color(run.kind()));
    series.setLineStyle(stroke(run.kind()));
  }

  private static Color color(Kind kind) {
    return switch (kind) {
      case RESIDUAL -> new Color(170, 170, 170);
      case HC -> new Color(200, 40, 40);
      case MHC -> new Color(20, 90, 200);
      case MHC_LITE -> new Color(240, 150, 0);
    };
  }

  /** Three of the lines lie on each other: the lower one is the wider one, the upper one has gaps. */
  private static BasicStroke stroke(Kind kind) {
    return switch (kind) {
      case RESIDUAL -> new BasicStroke(10, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND);
      case HC -> new BasicStroke(3, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND);
      case MHC -> new BasicStroke(5, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND);
      case MHC_LITE -> new BasicStroke(2.5f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND, 10, new float[] {7, 7}, 0);
    };
  }

  private static String label(double value) {
    return value >= 1e6 ? String.format(java.util.Locale.ROOT, "%.0e", value)
        : value >= 1 ? String.format(java.util.Locale.ROOT, "%,.0f", value) : String.valueOf(value);
  }

  /** A gain in few digits. */
  static String value(double gain) {
    if (!Double.isFinite(gain)) {
      return String.valueOf(gain);
    }
    return String.format(java.util.Locale.ROOT, gain < 10 ? "%.3f" : gain < 1e6 ? "%,.0f" : "%.1e", gain);
  }
}
