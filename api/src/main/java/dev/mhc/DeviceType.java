// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** Kinds of devices, with DLPack's numbers. */
public enum DeviceType {
  /** The processor, in host memory. */
  CPU(1),
  /** An NVIDIA GPU. */
  CUDA(2);

  final int code;

  DeviceType(int code) {
    this.code = code;
  }

  static DeviceType of(int code) {
    for (DeviceType type : values()) {
      if (type.code == code) {
        return type;
      }
    }
    throw new AssertionError("device type " + code);
  }
}
