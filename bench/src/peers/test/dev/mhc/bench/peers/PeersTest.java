// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;

import dev.mhc.Device;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.BoundaryCheck;
import dev.mhc.bench.Peer;
import dev.mhc.bench.Rows;
import java.util.HashMap;
import java.util.ServiceLoader;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Other libraries give what mhc gives, or it is said. */
class PeersTest {
  private static final int TOKENS = 5;
  private static final int WIDTH = 64;

  static Stream<Peer> peers() {
    return ServiceLoader.load(Peer.class).stream().map(ServiceLoader.Provider::get)
        .filter(peer -> peer.getClass().getPackage().equals(PeersTest.class.getPackage()));
  }

  private static BoundaryCase boundary(Device device, Peer peer) {
    var made = new BoundaryCase(device, Preset.PAPER.config(4), peer.type(), TOKENS, WIDTH, 1 << 18);
    BoundaryCheck.forward(made);
    BoundaryCheck.backward(made);
    return made;
  }

  @Test
  void thereAreTwo() {
    assertThat(peers().map(Peer::name)).containsExactlyInAnyOrder("libtorch 2.7.1", "ND4J 1.0.0-M2.1");
  }

  private interface Use {
    void of(BoundaryCase boundary, Peer.Work work);
  }

  private static void work(Peer peer, Use use) {
    try (Device device = Device.cpu();
        BoundaryCase boundary = boundary(device, peer);
        Peer.Work work = peer.work(boundary, device.threads())) {
      use.of(boundary, work);
    }
  }

  @ParameterizedTest
  @MethodSource("peers")
  void agrees(Peer peer) {
    work(peer, (boundary, work) -> {
      assertThat(boundary.sets()).isGreaterThan(1);
      work.check();
      for (int i = 0; i <= boundary.sets(); i++) { // on all rows, and again
        work.forward();
        work.forwardAndBackward();
      }
      work.check();
    });
  }

  @ParameterizedTest
  @MethodSource("peers")
  void aDifferenceIsFound(Peer peer) {
    work(peer, (boundary, work) -> {
      float[] dH = Rows.read(boundary.first().dH());
      boundary.afterEach(operation -> { // behind mhc's forward, before its backward and theirs
        dH[0] += operation.equals("boundary backward") ? 1 : 0;
        Rows.write(boundary.first().dH(), dH);
      });
      assertThatIllegalStateException().isThrownBy(work::check).withMessageMatching("d[A-Z].* of .* and of mhc differ by .*");
    });
  }

  @Test
  void allResultsAreCompared() {
    Peer peer = peers().findFirst().orElseThrow();
    try (Device device = Device.cpu();
        BoundaryCase boundary = boundary(device, peer)) {
      var ours = new Ours(boundary);
      assertThatIllegalStateException().isThrownBy(() -> ours.requireForward("theirs", new HashMap<>()))
          .withMessageContaining("theirs gives []; expected [xNext, h, preMix, postMix, resMix]");
    }
  }
}
