// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Where the tensors of lists lie, to see that what is written shares memory with nothing else. */
final class Places {
  private record Place(String list, int index, Tensor tensor, boolean written) {
    long start() {
      return tensor.memory().address();
    }

    long end() {
      return start() + tensor.memory().byteSize();
    }
  }

  private final List<Place> all = new ArrayList<>();

  /** Tensors that are open. */
  Places add(String list, List<Tensor> tensors, boolean written) {
    for (int i = 0; i < tensors.size(); i++) {
      if (tensors.get(i).memory().byteSize() > 0) {
        all.add(new Place(list, i, tensors.get(i), written));
      }
    }
    return this;
  }

  /** Throws if a tensor that is written shares memory with another. */
  void requireSeparate() {
    all.sort(Comparator.comparingLong(Place::start));
    Place read = null; // of those before, the one that reaches furthest, as is the next
    Place written = null;
    for (Place place : all) {
      requireSeparate(place, written);
      if (place.written) {
        requireSeparate(place, read);
        written = further(written, place);
      } else {
        read = further(read, place);
      }
    }
  }

  private static void requireSeparate(Place place, @Nullable Place before) {
    if (before != null && place.start() < before.end()) {
      Place out = place.written ? place : before;
      Place other = place.written ? before : place;
      Operand.separate(out.list + "[" + out.index + "]", out.tensor, other.list + "[" + other.index + "]", other.tensor);
    }
  }

  private static Place further(@Nullable Place before, Place place) {
    return before == null || place.end() > before.end() ? place : before;
  }
}
