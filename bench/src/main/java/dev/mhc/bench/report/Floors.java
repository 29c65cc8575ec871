// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What keeps operations from their limits: memory, multiply-adds, that these wait for each other, or something else. */
final class Floors {
  static final List<String> HEADS = List.of("operation", "time", "its bytes alone", "its multiply-adds alone",
      "one after the other", "what is left");
  static final String TITLE = "What stands in the way";
  static final String WORDS = "The two floors of an operation, apart. The larger one would be its time if memory worked while"
      + " the core multiplies, all the while. Both together are its time if neither works while the other does. What is left"
      + " after both is neither: other instructions, what the caches have to give more than once, and waiting.";

  private Floors() {}

  /** A row for each operation that computes, at the largest shape that all have. */
  static List<List<String>> rows(Results results) {
    var rows = new ArrayList<List<String>>();
    for (Measurement each : Page.largest(results)) {
      if (each.cost().multiplyAdds() == 0 || Products.isOne(each)) {
        continue;
      }
      Rates rates = results.rates(each);
      double time = each.time().value();
      double bytes = rates.bytes(each.cost()).value();
      double adds = rates.adds(each.cost()).value();
      rows.add(List.of(each.name(), Tables.time(time), share(bytes, time), share(adds, time), share(bytes + adds, time),
          time > bytes + adds ? share(time - bytes - adds, time) : "nothing"));
    }
    return rows;
  }

  private static String share(double part, double time) {
    return String.format(Locale.ROOT, "%s, %.0f %%", Tables.time(part), 100 * part / time);
  }
}
