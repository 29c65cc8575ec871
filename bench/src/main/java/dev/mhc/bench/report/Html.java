// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import static dev.mhc.bench.report.Plot.escape;

import java.util.List;

/** An HTML page that needs nothing else: headings, words, plots as SVG, tables. Light or dark as the reader's system is. */
public final class Html {
  private static final String STYLE = """
      :root { --paper: #fff; --ink: #1c2733; --soft: #5b6875; --grid: #e3e8ed;
        --c0: #1f6fd0; --c1: #d9730d; --c2: #6b7785; --c3: #8a4fbf; }
      @media (prefers-color-scheme: dark) { :root { --paper: #12171d; --ink: #e4e9ee; --soft: #9aa7b4; --grid: #2a333d;
        --c0: #5aa2f5; --c1: #f2994a; --c2: #93a0ad; --c3: #b98ae6; } }
      body { margin: 2rem auto; max-width: 1180px; padding: 0 1rem; background: var(--paper); color: var(--ink);
        font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
      h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { max-width: 75ch }
      table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
      th, td { padding: 2px 10px; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap }
      th { position: sticky; top: 0; background: var(--paper) }
      th:first-child, td:first-child, th:nth-child(2), .shapes td:nth-child(2) { text-align: left }
      .plots { display: flex; flex-wrap: wrap; gap: 18px } .wide { overflow-x: auto }
      svg { max-width: 100%; height: auto } svg text { fill: var(--ink); font: 12px system-ui, "DejaVu Sans", sans-serif }
      svg .title { font-weight: 600; font-size: 13.5px } svg .tick, svg .axis { fill: var(--soft) }
      svg .label { font-size: 11px } .grid { stroke: var(--grid); fill: none }
      .line, .dashed { fill: none; stroke-width: 2 } .dashed { stroke-dasharray: 5 4 }
      .line.c0, .dashed.c0 { stroke: var(--c0) } .line.c1, .dashed.c1 { stroke: var(--c1) }
      .line.c2, .dashed.c2 { stroke: var(--c2) } .line.c3, .dashed.c3 { stroke: var(--c3) }
      .dot.c0, .bar.c0 { fill: var(--c0) } .dot.c1, .bar.c1 { fill: var(--c1) }
      .dot.c2, .bar.c2 { fill: var(--c2) } .dot.c3, .bar.c3 { fill: var(--c3) }
      """;

  private final StringBuilder html = new StringBuilder();

  /** A page with a title. */
  public Html(String title) {
    html.append("<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>").append(escape(title))
        .append("</title>\n<style>\n").append(STYLE).append("</style></head><body>\n<h1>").append(escape(title))
        .append("</h1>\n");
  }

  /** A heading. */
  public Html heading(String words) {
    html.append("<h2>").append(escape(words)).append("</h2>\n");
    return this;
  }

  /** Words. */
  public Html paragraph(String words) {
    html.append("<p>").append(escape(words)).append("</p>\n");
    return this;
  }

  /** Plots, in a row where there is room. */
  public Html plots(String... svgs) {
    html.append("<div class='plots'>");
    for (String svg : svgs) {
      html.append(svg);
    }
    html.append("</div>\n");
    return this;
  }

  /**
   * A table.
   *
   * @param heads of its columns
   * @param rows their cells
   * @param style class of the table; may be empty
   */
  public Html table(List<String> heads, List<List<String>> rows, String style) {
    html.append("<div class='wide'><table class='").append(style).append("'><tr>");
    heads.forEach(head -> html.append("<th>").append(escape(head)).append("</th>"));
    html.append("</tr>\n");
    for (List<String> row : rows) {
      html.append("<tr>");
      row.forEach(cell -> html.append("<td>").append(escape(cell)).append("</td>"));
      html.append("</tr>\n");
    }
    html.append("</table></div>\n");
    return this;
  }

  /** All of it. */
  public String page() {
    return html + "</body></html>\n";
  }
}
