// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

/** What belongs to a device, and is closed with it. */
interface Child {
  void close();

  /** Bytes of the device's memory that it owns. */
  default long ownedBytes() {
    return 0;
  }
}
