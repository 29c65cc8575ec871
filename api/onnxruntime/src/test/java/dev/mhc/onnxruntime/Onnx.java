// SPDX-License-Identifier: Apache-2.0
package dev.mhc.onnxruntime;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** The smallest model in ONNX's format (protocol buffers), written by hand. */
final class Onnx {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

  /** y = x + x, both of two dimensions. elementType: ONNX's number of it, 1 for float. */
  static byte[] twice(int elementType) {
    Onnx node = new Onnx().text(1, "x").text(1, "x").text(2, "y").text(4, "Add");
    Onnx graph = new Onnx().part(1, node).text(2, "twice").part(11, value("x", elementType)).part(12, value("y", elementType));
    return new Onnx().number(1, 8).part(8, new Onnx().number(2, 13)).part(7, graph).bytes.toByteArray();
  }

  private static Onnx value(String name, int elementType) {
    Onnx shape = new Onnx().part(1, new Onnx().text(2, "T")).part(1, new Onnx().text(2, "C"));
    return new Onnx().text(1, name).part(2, new Onnx().part(1, new Onnx().number(1, elementType).part(2, shape)));
  }

  private Onnx number(int field, int value) {
    bytes.write(field << 3);
    bytes.write(value);
    return this;
  }

  private Onnx text(int field, String value) {
    return part(field, value.getBytes(StandardCharsets.UTF_8));
  }

  private Onnx part(int field, Onnx value) {
    return part(field, value.bytes.toByteArray());
  }

  private Onnx part(int field, byte[] value) {
    if (value.length > 127) {
      throw new IllegalArgumentException("a part has " + value.length + " bytes; expected at most 127, whose length is one byte");
    }
    bytes.write(field << 3 | 2);
    bytes.write(value.length);
    bytes.writeBytes(value);
    return this;
  }
}
