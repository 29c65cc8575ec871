// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench.peers;

import dev.mhc.DType;
import dev.mhc.bench.BoundaryCase;
import dev.mhc.bench.Peer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.memory.conf.WorkspaceConfiguration;
import org.nd4j.linalg.api.memory.enums.LearningPolicy;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.nativeblas.NativeOpsHolder;

/**
 * The boundary as a user of ND4J writes it. The forward is operations on arrays, in a workspace, which makes what they
 * allocate free from the second call on. These have no gradients: forward and backward are a graph's, of SameDiff.
 */
public final class Nd4jPeer implements Peer {
  private static final String VERSION = "1.0.0-M2.1";

  /** For the service loader. */
  public Nd4jPeer() {}

  @Override
  public String name() {
    return "ND4J " + VERSION;
  }

  @Override
  public String differentiator() {
    return "SameDiff";
  }

  @Override
  public DType type() {
    return DType.FP32;
  }

  @Override
  public Work work(BoundaryCase boundary, int threads) {
    Natives.ready();
    Nd4j.factory().blas().setMaxThreads(threads); // first: it has the rest of ND4J made
    NativeOpsHolder.getInstance().getDeviceNativeOps().setOmpNumThreads(threads);
    return new Chain(boundary);
  }

  private static final class Chain implements Work {
    private static final WorkspaceConfiguration KEPT = WorkspaceConfiguration.builder()
        .policyLearning(LearningPolicy.FIRST_LOOP).build();
    private static final String WORKSPACE = "mhc-bench";

    private final BoundaryCase boundary;
    private final List<Nd4jArrays> sets = new ArrayList<>();
    private final SameDiffChain graph;

    Chain(BoundaryCase boundary) {
      this.boundary = boundary;
      for (int i = 0; i < boundary.sets(); i++) {
        sets.add(new Nd4jArrays(boundary, boundary.set(i)));
      }
      graph = new SameDiffChain(sets.getFirst());
    }

    private static MemoryWorkspace workspace() {
      return Nd4j.getWorkspaceManager().getAndActivateWorkspace(KEPT, WORKSPACE);
    }

    @Override
    public void forward() {
      try (var _ = workspace()) {
        Nd4jChain.forward(sets.get(boundary.rotate().index()));
      }
    }

    @Override
    public void forwardAndBackward() {
      graph.forwardAndBackward(sets.get(boundary.rotate().index()));
    }

    @Override
    public void check() {
      var ours = new Ours(boundary);
      Nd4jArrays first = sets.get(boundary.first().index());
      try (var _ = workspace()) {
        ours.requireForward("ND4J", floats(Nd4jChain.forward(first)));
      }
      ours.requireAll("SameDiff", floats(graph.forwardAndBackward(first)));
    }

    private static Map<String, float[]> floats(Map<String, INDArray> arrays) {
      var floats = new HashMap<String, float[]>();
      arrays.forEach((name, array) -> floats.put(name, array.dup('c').data().asFloat()));
      return floats;
    }

    @Override
    public void close() {
      Nd4j.getWorkspaceManager().destroyAllWorkspacesForCurrentThread();
    }
  }
}
