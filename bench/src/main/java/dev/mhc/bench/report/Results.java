// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.report;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import com.google.gson.JsonPrimitive;
import com.google.gson.JsonSerializer;
import dev.mhc.bench.TrainingMemory;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.MathContext;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A run of the suite, as its file holds it.
 *
 * @param machine what it was taken on
 * @param measurements benchmarks, limits among them
 * @param comparisons what was measured in turns
 * @param steps training steps by block length
 * @param failures benchmarks that ended with an error
 */
public record Results(Machine machine, List<Measurement> measurements, List<Comparison> comparisons,
    List<TrainingMemory.Step> steps, List<String> failures) {
  private static final MathContext DIGITS = new MathContext(5);
  private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().setFormattingStyle(
      com.google.gson.FormattingStyle.PRETTY.withIndent("").withNewline("\n")).registerTypeAdapter(double.class, number())
      .registerTypeAdapter(Double.class, number()).create();

  private static JsonSerializer<Double> number() {
    return (value, type, context) -> Double.isFinite(value)
        ? new JsonPrimitive(new BigDecimal(value).round(DIGITS)) : null;
  }

  /** Reads a file. */
  public static Results read(Path file) throws IOException {
    try {
      Results results = GSON.fromJson(Files.readString(file), Results.class);
      if (results == null || results.machine == null || results.measurements == null) {
        throw new IOException(file + " holds no results of the suite");
      }
      return results;
    } catch (JsonParseException e) {
      throw new IOException(file + " holds no results of the suite: " + e.getMessage(), e);
    }
  }

  /** Writes a file. */
  public void write(Path file) throws IOException {
    Files.writeString(file, GSON.toJson(this) + "\n");
  }

  /** What the machine could do on the threads of a measurement. */
  public Rates rates(Measurement of) {
    return Rates.of(measurements, of.parameter("threads"));
  }

  /** How much of what the machine could do a measurement reached. */
  public double fraction(Measurement of) {
    return rates(of).floor(of.cost()).value() / of.time().value();
  }

  /** Whether a measurement is one of these operations, and the parameters are these: "tokens", "64", ... */
  public List<Measurement> find(String names, String... parameters) {
    return measurements.stream().filter(m -> m.name().matches(names) && matches(m, parameters)).toList();
  }

  private static boolean matches(Measurement measurement, String... parameters) {
    for (int i = 0; i < parameters.length; i += 2) {
      if (!measurement.parameter(parameters[i]).equals(parameters[i + 1])) {
        return false;
      }
    }
    return true;
  }
}
