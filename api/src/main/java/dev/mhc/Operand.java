// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import org.jspecify.annotations.Nullable;

/** Checks of an operation's tensors. Nothing is allocated unless a check fails. */
final class Operand {
  private Operand() {}

  /** The shape that an operand of a prepared operation has to have, in words and in numbers: -1 for any extent. */
  record Shape(String words, long... extents) {}

  /**
   * Everything but the shape; false if there is no tensor, and need not be. Call with the device's lock held.
   *
   * @param types element types, or-ed with the flags of {@link Types}
   * @param shape the expected shape in words
   */
  static boolean accept(String name, @Nullable Tensor tensor, Device device, int types, String shape) {
    if (tensor == null) {
      if ((types & Types.OPTIONAL) == 0) {
        throw new IllegalArgumentException(name + " is null; expected a tensor " + shape);
      }
      return false;
    }
    tensor.requireUsable(name, device);
    if ((tensor.type & types) == 0) {
      throw new IllegalArgumentException(name + " is " + tensor + "; expected " + Types.names(types) + " elements");
    }
    if (!tensor.innerContiguous && (types & Types.ANY_STRIDES) == 0) {
      throw new IllegalArgumentException(name + " is " + tensor + "; expected a last dimension with stride 1");
    }
    if ((types & Types.OUT) != 0 && !tensor.writable) {
      throw new IllegalArgumentException(name + " is " + tensor + ", read-only; expected a tensor that can be written");
    }
    return true;
  }

  /** As {@link #accept}, with the shape: -1 for any extent. */
  static boolean accept(String name, @Nullable Tensor tensor, Device device, int types, String shape, long[] expected) {
    if (!accept(name, tensor, device, types, shape)) {
      return false;
    }
    boolean right = tensor.shape.length == expected.length;
    for (int i = 0; right && i < expected.length; i++) {
      right = fits(tensor, i, expected[i]);
    }
    if (!right) {
      throw wrongShape(name, tensor, shape, expected);
    }
    return true;
  }

  /** As above, with a shape that was prepared. */
  static boolean accept(String name, @Nullable Tensor tensor, Device device, int types, Shape shape) {
    return accept(name, tensor, device, types, shape.words, shape.extents);
  }

  /** What is written must not share memory with what is read. */
  static void separate(String name, Tensor written, String otherName, @Nullable Tensor other) {
    if (other != null && written.overlaps(other)) {
      throw new IllegalArgumentException(name + " is " + written + ", in memory that " + otherName + ", " + other
          + ", has too; expected memory of its own");
    }
  }

  static boolean fits(Tensor tensor, int index, long expected) {
    return expected < 0 || tensor.shape[index] == expected;
  }

  static IllegalArgumentException wrongShape(String name, Tensor tensor, String shape, long... expected) {
    var text = new StringBuilder("[");
    for (long dim : expected) {
      text.append(text.length() > 1 ? ", " : "").append(dim < 0 ? "any" : String.valueOf(dim));
    }
    return new IllegalArgumentException(name + " is " + tensor + "; expected shape " + shape + " = " + text + "]");
  }
}
