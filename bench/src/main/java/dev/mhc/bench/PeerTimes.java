// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.DType;
import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.bench.report.Comparison;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A boundary by mhc and by another library, in turns, after a comparison of their results. */
final class PeerTimes {
  /** The kind of these comparisons. */
  static final String KIND = "peers";

  private static final long[][] SHAPES = {{64, 2048}, {2048, 2048}};
  private static final double SECONDS = 25;

  private PeerTimes() {}

  /** At each of the shapes. */
  static List<Comparison> measure(Peer peer) {
    var made = new ArrayList<Comparison>();
    for (long[] shape : SHAPES) {
      try (Device device = Device.cpu();
          var boundary = new BoundaryCase(device, Preset.PAPER.config(4), peer.type(), shape[0], shape[1], 64L << 20)) {
        BoundaryCheck.forward(boundary);
        BoundaryCheck.backward(boundary);
        try (Peer.Work work = peer.work(boundary, device.threads())) {
          work.check();
          made.add(comparison("boundary, forward", peer.type(), device, shape, forward(peer, boundary, work)));
          made.add(comparison("boundary, forward and backward", peer.type(), device, shape, both(peer, boundary, work)));
        }
      }
    }
    return made;
  }

  private static Map<String, Spread> forward(Peer peer, BoundaryCase boundary, Peer.Work work) {
    return new Rounds().add("mhc", Rounds.Contestant.of(() -> boundary.boundary(boundary.rotate())))
        .add(peer.name(), Rounds.Contestant.of(work::forward)).run(3, 101, SECONDS / 4);
  }

  private static Map<String, Spread> both(Peer peer, BoundaryCase boundary, Peer.Work work) {
    return new Rounds().add("mhc", BoundaryTimes.both(boundary, BoundaryCase::boundary, BoundaryCase::boundaryBackward))
        .add(peer.name() + " with " + peer.differentiator(), Rounds.Contestant.of(work::forwardAndBackward))
        .run(3, 101, SECONDS / 2);
  }

  private static Comparison comparison(String title, DType type, Device device, long[] shape,
      Map<String, Spread> times) {
    var parameters = new LinkedHashMap<String, String>();
    parameters.put("tokens", String.valueOf(shape[0]));
    parameters.put("streams", "4");
    parameters.put("width", String.valueOf(shape[1]));
    parameters.put("dtype", type.name());
    parameters.put("threads", String.valueOf(device.threads()));
    return new Comparison(KIND, title, parameters, times.entrySet().stream()
        .map(each -> new Comparison.Entry(each.getKey(), each.getValue().seconds(), null)).toList());
  }
}
