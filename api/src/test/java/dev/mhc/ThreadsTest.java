// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

class ThreadsTest {
  private static final int T = 33;
  private static final int N = 4;
  private static final int C = 96;
  private static final HyperConnectionConfig CONFIG = HyperConnectionConfig.Preset.PAPER.config(N);

  /** A layer of its own for each task, all of them on one device: the same bits as alone. */
  @Test
  void manyThreadsShareADevice() throws Exception {
    try (ExecutorService platform = Executors.newFixedThreadPool(8);
        ExecutorService virtual = Executors.newVirtualThreadPerTaskExecutor();
        Device device = Device.cpu();
        Parameters parameters = Parameters.initialize(device, CONFIG, C, 3)) {
      double[][] expected = new double[16][];
      for (int seed = 0; seed < expected.length; seed++) {
        expected[seed] = forward(device, parameters, seed);
      }
      for (ExecutorService executor : new ExecutorService[] {platform, virtual}) {
        var results = new ArrayList<Future<double[]>>();
        for (int task = 0; task < 160; task++) {
          int seed = task % expected.length;
          results.add(executor.submit(() -> forward(device, parameters, seed)));
        }
        for (int task = 0; task < results.size(); task++) {
          assertThat(results.get(task).get()).isEqualTo(expected[task % expected.length]);
        }
      }
    }
  }

  @Test
  void devicesRunBesideEachOther() throws Exception {
    try (ExecutorService executor = Executors.newFixedThreadPool(4)) {
      double[] expected = onItsOwnDevice(1).call();
      var results = new ArrayList<Future<double[]>>();
      for (int task = 0; task < 16; task++) {
        results.add(executor.submit(onItsOwnDevice(1 + task % 3)));
      }
      for (Future<double[]> result : results) {
        assertThat(result.get()).isEqualTo(expected);
      }
    }
  }

  /** Whoever closes waits for who computes; who comes later is told. Nobody crashes. */
  @Test
  void closingWhileOthersCompute() throws Exception {
    for (int round = 0; round < 20; round++) {
      try (ExecutorService executor = Executors.newFixedThreadPool(4)) {
        Device device = Device.cpu();
        Tensor x = device.tensor(DType.BF16, 256, N, 512).fill(1);
        Tensor h = device.tensor(DType.BF16, 256, 512);
        Tensor preMix = device.tensor(DType.FP32, 256, N).fill(0.25);
        var results = new ArrayList<Future<?>>();
        for (int task = 0; task < 3; task++) {
          results.add(executor.submit(() -> {
            while (true) {
              Operations.pre(x, preMix, h);
            }
          }));
        }
        Thread.sleep(5);
        if (round % 2 == 0) {
          x.close();
        } else {
          device.close();
        }
        for (Future<?> result : results) {
          assertThat(failure(result)).isInstanceOf(IllegalStateException.class).hasMessageContaining("closed");
        }
        device.close();
      }
    }
  }

  private static Throwable failure(Future<?> result) throws InterruptedException {
    try {
      result.get();
      return null;
    } catch (ExecutionException e) {
      return e.getCause();
    }
  }

  private static Callable<double[]> onItsOwnDevice(int threads) {
    return () -> {
      try (Device device = Device.cpu(CpuOptions.DEFAULT.withThreads(threads));
          Parameters parameters = Parameters.initialize(device, CONFIG, C, 3)) {
        return forward(device, parameters, 5);
      }
    };
  }

  private static double[] forward(Device device, Parameters parameters, int seed) {
    var random = new SplittableRandom(seed);
    try (HyperConnection layer = HyperConnection.create(device, CONFIG, parameters);
        HyperConnection next = HyperConnection.create(device, CONFIG, parameters);
        Tensor x = device.tensor(DType.BF16, T, N, C).copyFrom(random.doubles(T * N * C, -1, 1).toArray());
        Tensor f = device.tensor(DType.BF16, T, C).copyFrom(random.doubles(T * C, -1, 1).toArray());
        Tensor h = device.tensor(DType.BF16, T, C)) {
      layer.pre(x, h);
      layer.boundary(x, f, next, x, h);
      return h.toDoubles();
    }
  }
}
