// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.StringTokenizer;
import java.util.stream.Stream;

/** One of the golden files that the native tests use too; make_golden.py tells their format. */
final class Golden {
  private record Values(long[] shape, double[] values) {}

  private static final Path HOME = Path.of(System.getProperty("mhc.native.dir"), "tests", "golden");

  private final String name;
  private final Map<String, String> attributes = new HashMap<>();
  private final Map<String, Values> tensors = new HashMap<>();

  Golden(Path file) {
    name = file.getFileName().toString().replace(".txt", "");
    try {
      Iterator<String> lines = Files.readAllLines(file).iterator();
      while (lines.hasNext()) {
        var head = new StringTokenizer(lines.next());
        String kind = head.nextToken();
        String key = head.nextToken();
        if (kind.equals("attr")) {
          attributes.put(key, head.nextToken());
        } else {
          var shape = new long[Integer.parseInt(head.nextToken())];
          for (int i = 0; i < shape.length; i++) {
            shape[i] = Long.parseLong(head.nextToken());
          }
          tensors.put(key, new Values(shape, numbers(lines.next())));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static double[] numbers(String line) {
    var values = new StringTokenizer(line);
    var numbers = new double[values.countTokens()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(values.nextToken());
    }
    return numbers;
  }

  /** As C's %a prints it; Java wants the exponent that C prints too, and neither inf nor nan in small letters. */
  private static double number(String text) {
    return switch (text) {
      case "inf" -> Double.POSITIVE_INFINITY;
      case "-inf" -> Double.NEGATIVE_INFINITY;
      case "nan", "-nan" -> Double.NaN;
      default -> Double.parseDouble(text);
    };
  }

  /** All cases of an operation, by name. */
  static Stream<Golden> of(String operation) {
    try (Stream<Path> files = Files.list(HOME)) {
      List<Golden> cases = files.filter(f -> f.toString().endsWith(".txt")).sorted().map(Golden::new)
          .filter(g -> g.attribute("operation").equals(operation)).toList();
      assertThat(cases).as("golden files of " + operation + " in " + HOME).isNotEmpty();
      return cases.stream();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public String toString() {
    return name;
  }

  String attribute(String key) {
    return attributes.get(key);
  }

  int integer(String key) {
    return Integer.parseInt(attributes.get(key));
  }

  float number(String key, float ifMissing) {
    return attributes.containsKey(key) ? (float) number(attributes.get(key)) : ifMissing;
  }

  boolean has(String tensor) {
    return tensors.containsKey(tensor);
  }

  long[] shape(String tensor) {
    return tensors.get(tensor).shape.clone();
  }

  double[] values(String tensor) {
    return tensors.get(tensor).values.clone();
  }

  DType streamType() {
    return type("dtype");
  }

  DType layerType() {
    return type("layer_dtype");
  }

  private DType type(String key) {
    return DType.valueOf(attribute(key).toUpperCase(java.util.Locale.ROOT));
  }

  HyperConnectionConfig config() {
    return new HyperConnectionConfig(integer("streams"), HyperConnectionConfig.Mode.values()[integer("mode")],
        integer("is_static") == 1, integer("shifted") == 1, integer("iterations"),
        HyperConnectionConfig.SinkhornStart.values()[integer("sinkhorn_start")],
        HyperConnectionConfig.SinkhornOrder.values()[integer("sinkhorn_order")],
        HyperConnectionConfig.EpsMode.values()[integer("sinkhorn_eps_mode")],
        HyperConnectionConfig.Orientation.values()[integer("orientation")],
        HyperConnectionConfig.RmsEpsMode.values()[integer("rms_eps_mode")], number("sinkhorn_eps", 0),
        number("rms_eps", 0), number("pre_eps", 0), number("post_multiplier", 2),
        HyperConnectionConfig.ProjectionPrecision.FULL);
  }

  /** An input, which its type holds exactly; null if the case has none. */
  Tensor input(Device device, DType type, String tensor) {
    if (!has(tensor)) {
      return null;
    }
    return device.tensor(type, shape(tensor)).copyFrom(values(tensor));
  }

  /** Zeros of the shape of an expected result; null if the case has none. */
  Tensor output(Device device, DType type, String tensor) {
    return has(tensor) ? device.tensor(type, shape(tensor)) : null;
  }

  Parameters parameters(Device device, String prefix) {
    return new Parameters(input(device, DType.FP32, prefix + "projection"), input(device, DType.FP32, prefix + "scale"),
        input(device, DType.FP32, prefix + "bias"), input(device, DType.FP32, prefix + "norm_weight"));
  }

  /** The result is the exact value, up to one rounding to its type and the given part of the largest value. */
  void check(String tensor, Tensor result, double tolerance) {
    Values expected = tensors.get(tensor);
    assertThat(result.shape()).as(name + " " + tensor).isEqualTo(expected.shape);
    double[] given = result.toDoubles();
    double largest = 0;
    for (double value : expected.values) {
      largest = Math.max(largest, Math.abs(value));
    }
    double relative = switch (result.dtype()) {
      case BF16 -> 0x1p-8;
      case FP16 -> 0x1p-11;
      default -> 0;
    };
    for (int i = 0; i < given.length; i++) {
      double allowed = tolerance * largest + relative * Math.abs(expected.values[i]);
      assertThat(Math.abs(given[i] - expected.values[i])).as("%s %s[%d]: %s, expected %s", name, tensor, i, given[i],
          expected.values[i]).isLessThanOrEqualTo(allowed);
    }
  }

  /** As {@link #check}, if the case has such a result. */
  void checkIfThere(String tensor, Tensor result, double tolerance) {
    if (has(tensor)) {
      check(tensor, result, tolerance);
    }
  }
}
