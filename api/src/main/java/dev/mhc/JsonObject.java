// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Writes one flat JSON object. */
final class JsonObject {
  private final StringBuilder text = new StringBuilder("{");

  JsonObject add(String key, @Nullable String value) {
    return raw(key, value == null ? "null" : quoted(value));
  }

  JsonObject add(String key, int value) {
    return raw(key, String.valueOf(value));
  }

  /** JSON has no NaN: null. */
  JsonObject add(String key, double value) {
    return raw(key, Double.isFinite(value) ? String.valueOf(value) : "null");
  }

  JsonObject add(String key, List<String> values) {
    return raw(key, values.stream().map(JsonObject::quoted).collect(Collectors.joining(", ", "[", "]")));
  }

  private JsonObject raw(String key, String value) {
    text.append(text.length() > 1 ? ", " : "").append(quoted(key)).append(": ").append(value);
    return this;
  }

  private static String quoted(String value) {
    var quoted = new StringBuilder("\"");
    for (char c : value.toCharArray()) {
      switch (c) {
        case '"', '\\' -> quoted.append('\\').append(c);
        case '\n' -> quoted.append("\\n");
        default -> quoted.append(c < ' ' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
      }
    }
    return quoted.append('"').toString();
  }

  @Override
  public String toString() {
    return text + "}";
  }
}
