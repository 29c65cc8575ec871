// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import java.util.ArrayList;
import java.util.List;

/** Rows of text in columns: the first one flush left, the others flush right. */
public final class Table {
  private final List<String[]> rows = new ArrayList<>();

  /** A table with these column heads. */
  public Table(String... heads) {
    rows.add(heads);
  }

  /** Adds a row; it may be shorter than the heads. */
  public Table row(String... cells) {
    rows.add(cells);
    return this;
  }

  @Override
  public String toString() {
    int[] widths = new int[rows.get(0).length];
    for (String[] row : rows) {
      for (int i = 0; i < row.length; i++) {
        widths[i] = Math.max(widths[i], row[i].length());
      }
    }
    var text = new StringBuilder();
    for (int r = 0; r < rows.size(); r++) {
      line(text, rows.get(r), widths);
      if (r == 0) {
        for (int i = 0; i < widths.length; i++) {
          text.append(i == 0 ? "  " : "   ").append("-".repeat(widths[i]));
        }
        text.append(System.lineSeparator());
      }
    }
    return text.toString();
  }

  private static void line(StringBuilder text, String[] row, int[] widths) {
    var line = new StringBuilder();
    for (int i = 0; i < row.length; i++) {
      line.append(i == 0 ? "  " : "   ");
      line.append(String.format(i == 0 ? "%-" + Math.max(1, widths[i]) + "s" : "%" + Math.max(1, widths[i]) + "s", row[i]));
    }
    text.append(line.toString().stripTrailing()).append(System.lineSeparator());
  }
}
