// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.security.SecureRandom;
import java.util.Arrays;
import java.util.HexFormat;

/** Names a communicator that is being set up: one rank makes it, and hands it to the others by any means. Immutable. */
public final class UniqueId {
  /** How many bytes it has, as NCCL's. */
  public static final int BYTES = 128;

  private static final byte[] OF_CPU = {0, 'm', 'h', 'c', ' ', 'c', 'p', 'u'};
  private static final SecureRandom RANDOM = new SecureRandom();

  private final byte[] bytes;

  private UniqueId(byte[] bytes) {
    this.bytes = bytes;
  }

  /** One that nobody has made before, for ranks on CPUs. */
  static UniqueId random() {
    byte[] bytes = new byte[BYTES];
    RANDOM.nextBytes(bytes);
    System.arraycopy(OF_CPU, 0, bytes, 0, OF_CPU.length);
    return new UniqueId(bytes);
  }

  /** Whether it is not NCCL's, which holds an address. */
  boolean isOfCpu() {
    return Arrays.equals(OF_CPU, 0, OF_CPU.length, bytes, 0, OF_CPU.length);
  }

  /**
   * The one with these bytes.
   *
   * @param bytes {@value #BYTES} of them, from {@link #bytes}
   */
  public static UniqueId of(byte[] bytes) {
    Check.given("bytes", bytes, BYTES + " bytes");
    if (bytes.length != BYTES) {
      throw new IllegalArgumentException("bytes has " + bytes.length + " bytes; expected " + BYTES);
    }
    return new UniqueId(bytes.clone());
  }

  /** Its bytes, as a copy: to send to other ranks. */
  public byte[] bytes() {
    return bytes.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof UniqueId id && Arrays.equals(bytes, id.bytes);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(bytes);
  }

  @Override
  public String toString() {
    return HexFormat.of().formatHex(bytes, 8, 16);
  }
}
