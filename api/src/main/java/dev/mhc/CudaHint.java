// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.bindings.generated.cudart.cudart_h;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What to do about an error of the CUDA runtime. */
final class CudaHint {
  private static final String CAPTURE = "what allocates, or waits for the GPU, cannot be captured: run the operations once before,"
      + " which leaves their graph nothing to prepare";
  private static final Map<Integer, String> HINTS = Map.ofEntries(
      Map.entry(cudart_h.cudaErrorInitializationError(), "the driver does not start in this process (after a fork it cannot);"
          + " look at nvidia-smi, or use Device.cpu()"),
      Map.entry(cudart_h.cudaErrorStubLibrary(), "the libcuda.so.1 that was found is the toolkit's stub for linking: take its"
          + " folder off LD_LIBRARY_PATH"),
      Map.entry(cudart_h.cudaErrorDevicesUnavailable(), "another process has the GPU to itself, or it is out of order:"
          + " nvidia-smi tells both"),
      Map.entry(cudart_h.cudaErrorNoDevice(), "the driver sees no GPU: look at nvidia-smi and at the environment variable"
          + " CUDA_VISIBLE_DEVICES, or use Device.cpu()"),
      Map.entry(cudart_h.cudaErrorNoKernelImageForDevice(), "libmhc_cuda was built for other GPUs: build it with this one's"
          + " compute capability in CMAKE_CUDA_ARCHITECTURES"),
      Map.entry(cudart_h.cudaErrorMemoryAllocation(), "the GPU's memory is used up: close tensors, or use smaller ones"),
      Map.entry(cudart_h.cudaErrorLaunchOutOfResources(), "this is a bug of mhc; please report it with the name of the GPU"),
      Map.entry(cudart_h.cudaErrorECCUncorrectable(), "the GPU's memory is faulty: nvidia-smi -q -d ECC tells; the device"
          + " cannot be used any more in this process"),
      Map.entry(cudart_h.cudaErrorLaunchTimeout(), "a GPU that drives a display ends long kernels; the device cannot be used any"
          + " more in this process"),
      Map.entry(cudart_h.cudaErrorSystemNotReady(), "GPUs behind NVSwitch need NVIDIA's fabric manager, which does not run"),
      Map.entry(cudart_h.cudaErrorSystemDriverMismatch(), "the driver was updated without its kernel module: restart the machine,"
          + " or load the module anew"),
      Map.entry(cudart_h.cudaErrorCompatNotSupportedOnDevice(), "NVIDIA's compatibility libcuda.so.1 was found, which is for"
          + " data-centre GPUs: take its folder off LD_LIBRARY_PATH"),
      Map.entry(cudart_h.cudaErrorStreamCaptureUnsupported(), CAPTURE),
      Map.entry(cudart_h.cudaErrorStreamCaptureInvalidated(), CAPTURE),
      Map.entry(cudart_h.cudaErrorStreamCaptureUnjoined(), "the stream that the capture began in has to await, in the end, an event"
          + " of each stream that joined it"),
      Map.entry(cudart_h.cudaErrorStreamCaptureIsolation(), "in a capture only events that were recorded within it can be waited"
          + " for"));

  private CudaHint() {}

  static @Nullable String of(int code) {
    String hint = HINTS.get(code);
    return hint == null && Cuda.isSticky(code)
        ? "the device cannot be used any more in this process; compute-sanitizer tells where it happened" : hint;
  }
}
