// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Products of one form through cuBLASLt: the plan for operands without gaps is made at once, those for others when they come,
 * and kept. Guarded by the device's lock.
 */
final class CudaProduct implements Child {
  private static final int KEPT = 8; // plans; the one unused longest goes

  /** How operands lie. */
  private record Lie(LtMatrix a, LtMatrix b, LtMatrix d) {}

  private final CudaDevice device;
  private final LtPlan.Form form;
  private final boolean empty;
  private final @Nullable DType biasType;
  private final LinkedHashMap<Lie, LtPlan> plans = new LinkedHashMap<>(KEPT, 0.75f, true);
  private @Nullable Storage workspace;
  private final Turns turns = new Turns();
  private boolean closed;

  /** The matrices are those that are expected. */
  CudaProduct(CudaDevice device, LtPlan.Form form, LtMatrix a, LtMatrix b, LtMatrix d, @Nullable DType biasType) {
    this.device = device;
    this.form = form;
    this.biasType = biasType;
    empty = d.rows() == 0 || d.columns() == 0 || a.columns() == 0 || a.rows() == 0;
    try (var _ = device.held()) {
      if (!empty) {
        plan(new Lie(a, b, d));
      }
      device.add(this);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private LtPlan plan(Lie lie) {
    LtPlan plan = plans.get(lie);
    if (plan != null) {
      return plan;
    }
    plan = device.call(() -> new LtPlan(device.cublas(), form, lie.a, lie.b, lie.d, biasType));
    plans.put(lie, plan);
    if (plans.size() > KEPT) {
      Map.Entry<Lie, LtPlan> oldest = plans.firstEntry();
      plans.remove(oldest.getKey());
      oldest.getValue().close();
    }
    if (workspace == null || workspace.data.byteSize() < plan.workspace()) {
      if (workspace != null) {
        workspace.close();
      }
      workspace = Storage.allocate(device, plan.workspace());
    }
    return plan;
  }

  /** Whether cuBLASLt has a product for operands that lie so. */
  boolean takes(Tensor a, Tensor b, Tensor d) {
    try {
      plan(new Lie(LtMatrix.of(a), LtMatrix.of(b), LtMatrix.of(d)));
      return true;
    } catch (CublasException e) {
      if (Cublas.isUnsupported(e)) {
        return false;
      }
      throw e;
    }
  }

  /** Whether there is nothing to multiply. */
  boolean isEmpty() {
    return empty;
  }

  /** Puts a product on the current stream. Scales: addresses, 0 for none. Called with the device's lock held. */
  void run(float alpha, float beta, Tensor a, long aScale, Tensor b, long bScale, @Nullable Tensor bias, Tensor d) {
    LtPlan plan = plan(new Lie(LtMatrix.of(a), LtMatrix.of(b), LtMatrix.of(d)));
    MemorySegment room = workspace == null ? MemorySegment.NULL : workspace.data;
    device.call(() -> {
      CudaStream stream = device.currentStream();
      turns.take(stream);
      if (aScale != 0) {
        plan.scales(aScale, bScale);
      }
      plan.run(alpha, beta, a.memory(), b.memory(), bias == null ? MemorySegment.NULL : bias.memory(), d.memory(), room,
          stream.handle());
      return null;
    });
  }

  @Override
  public void close() {
    try (var _ = device.held()) {
      if (closed) {
        return;
      }
      closed = true;
      device.remove(this);
      plans.values().forEach(LtPlan::close);
      plans.clear();
      if (workspace != null) {
        workspace.close();
      }
    }
  }
}
