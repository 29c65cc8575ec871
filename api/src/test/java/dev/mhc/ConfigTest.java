// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.mhc.HyperConnectionConfig.EpsMode;
import dev.mhc.HyperConnectionConfig.Mode;
import dev.mhc.HyperConnectionConfig.Preset;
import dev.mhc.bindings.generated.mhc_config;
import dev.mhc.bindings.generated.mhc_h;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class ConfigTest {
  @ParameterizedTest
  @EnumSource
  void presetsAreThoseOfTheLibrary(Preset preset) {
    Native.library();
    for (int streams = 1; streams <= 16; streams++) {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment ours = arena.allocate(HyperConnectionConfig.NATIVE_BYTES, 8);
        MemorySegment theirs = arena.allocate(HyperConnectionConfig.NATIVE_BYTES, 8);
        preset.config(streams).write(ours);
        assertThat(mhc_h.mhc_config_init(theirs, preset.ordinal(), streams)).isZero();
        assertThat(ours.toArray(ValueLayout.JAVA_BYTE)).isEqualTo(theirs.toArray(ValueLayout.JAVA_BYTE));
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void mixCountIsThatOfTheLibrary(Mode mode) {
    Native.library();
    for (int streams = 1; streams <= (mode == Mode.MHC_LITE ? 5 : 16); streams++) {
      HyperConnectionConfig config = Preset.PAPER.builder(streams).mode(mode).build();
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment block = arena.allocate(HyperConnectionConfig.NATIVE_BYTES, 8);
        MemorySegment count = arena.allocate(ValueLayout.JAVA_LONG);
        config.write(block);
        assertThat(mhc_h.mhc_config_mix_count(block, count)).isZero();
        assertThat(config.mixCount()).isEqualTo((int) count.get(ValueLayout.JAVA_LONG, 0));
      }
    }
  }

  @Test
  void enumsHaveTheNumbersOfTheHeader() {
    Native.library();
    assertThat(mhc_h.MHC_MODE_MHC_LITE()).isEqualTo(Mode.MHC_LITE.ordinal());
    assertThat(mhc_h.MHC_MODE_HC()).isEqualTo(Mode.HC.ordinal());
    assertThat(mhc_h.MHC_PRESET_LIGER()).isEqualTo(Preset.LIGER.ordinal());
    assertThat(mhc_h.MHC_EPS_CLAMP()).isEqualTo(EpsMode.CLAMP.ordinal());
    assertThat(mhc_h.MHC_IN_OUT()).isEqualTo(HyperConnectionConfig.Orientation.IN_OUT.ordinal());
    assertThat(mhc_h.MHC_RMS_EPS_OUTSIDE()).isEqualTo(HyperConnectionConfig.RmsEpsMode.OUTSIDE.ordinal());
    assertThat(mhc_h.MHC_PROJECTION_TF32()).isEqualTo(HyperConnectionConfig.ProjectionPrecision.TF32.ordinal());
    assertThat(mhc_h.MHC_SINKHORN_SOFTMAX_PLUS_EPS())
        .isEqualTo(HyperConnectionConfig.SinkhornStart.SOFTMAX_PLUS_EPS.ordinal());
    assertThat(mhc_h.MHC_SINKHORN_ROWS_FIRST()).isEqualTo(HyperConnectionConfig.SinkhornOrder.ROWS_FIRST.ordinal());
    assertThat(mhc_h.MHC_ACCUMULATE_PARAMETERS()).isEqualTo(Accumulate.PARAMETERS.ordinal());
    assertThat(mhc_h.MHC_ACCUMULATE_INPUTS()).isEqualTo(Accumulate.INPUTS.ordinal());
    assertThat(mhc_h.MHC_CPU_TIER_COUNTING()).isEqualTo(CpuTier.COUNTING.ordinal());
    assertThat(mhc_h.MHC_CPU_TIER_AVX512_BF16()).isEqualTo(CpuTier.AVX512_BF16.ordinal());
    assertThat(mhc_h.MHC_FP8_SCALE_POWER_OF_TWO()).isEqualTo(Fp8.Rounding.POWER_OF_TWO.ordinal());
    assertThat(mhc_h.MHC_FP8_TILE_128X128()).isEqualTo(Fp8.Tile.SQUARE.ordinal());
    assertThat(mhc_h.MHC_LIBRARY_NOT_FOUND()).isEqualTo(6);
    assertThat(mhc_h.MHC_DTYPE_BFLOAT()).isEqualTo(DType.BF16.code);
    assertThat(mhc_h.MHC_DTYPE_FLOAT()).isEqualTo(DType.FP32.code).isEqualTo(DType.FP16.code);
    assertThat(mhc_h.MHC_DTYPE_FLOAT8_E4M3FN()).isEqualTo(DType.FP8_E4M3.code);
    assertThat(mhc_h.MHC_DTYPE_FLOAT8_E8M0FNU()).isEqualTo(DType.E8M0.code);
    assertThat(mhc_h.MHC_DTYPE_INT()).isEqualTo(DType.INT32.code);
    assertThat(mhc_h.MHC_DEVICE_CUDA()).isEqualTo(DeviceType.CUDA.code);
    for (CpuTier tier : CpuTier.values()) {
      assertThat(mhc_h.mhc_cpu_tier_name(tier.ordinal()).getString(0)).isEqualTo(tier.toString());
    }
  }

  @Test
  void operationsHaveTheNumbersOfTheHeader() throws ReflectiveOperationException {
    for (Operation operation : Operation.values()) {
      int number = (int) mhc_h.class.getMethod("MHC_OP_" + operation.name()).invoke(null);
      assertThat(operation.number()).as(operation.name()).isEqualTo(number);
      assertThat(mhc_h.class.getMethod(operation.symbol, MemorySegment.class, MemorySegment.class)).isNotNull();
    }
  }

  @ParameterizedTest
  @CsvSource({"streams,0,1 to 16", "streams,17,1 to 16", "iterations,0,1 to 1000", "iterations,1001,1 to 1000"})
  void refusesIntegersOutOfRange(String name, int value, String expected) {
    var builder = HyperConnectionConfig.builder();
    if (name.equals("streams")) {
      builder.streams(value);
    } else {
      builder.iterations(value);
    }
    assertThatIllegalArgumentException().isThrownBy(builder::build).withMessageContainingAll(name + " is " + value,
        "expected " + expected);
  }

  @ParameterizedTest
  @CsvSource({"-1", "NaN", "Infinity"})
  void refusesNumbersOutOfRange(float value) {
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().rmsEps(value).build())
        .withMessageContainingAll("rmsEps is " + value, "expected");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().preEps(value).build())
        .withMessageContainingAll("preEps is " + value, "expected");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> HyperConnectionConfig.builder().sinkhornEps(EpsMode.ADD, value).build())
        .withMessageContainingAll("sinkhornEps is " + value, "expected");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().postMultiplier(value).build())
        .withMessageContainingAll("postMultiplier is " + value, "expected");
  }

  @Test
  void tf32IsOnRequestAndStaysWithTheConfig() {
    HyperConnectionConfig tf32 =
        Preset.PAPER.builder(4).projectionPrecision(HyperConnectionConfig.ProjectionPrecision.TF32).build();
    assertThat(tf32.toBuilder().iterations(5).build().projectionPrecision())
        .isEqualTo(HyperConnectionConfig.ProjectionPrecision.TF32);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment block = arena.allocate(HyperConnectionConfig.NATIVE_BYTES, 8).fill((byte) -1);
      tf32.write(block);
      assertThat(mhc_config.projection_precision(block)).isEqualTo(mhc_h.MHC_PROJECTION_TF32());
      assertThat(mhc_config.reserved(block).toArray(ValueLayout.JAVA_INT)).containsOnly(0);
    }
    for (Preset preset : Preset.values()) {
      assertThat(preset.builder(4).build().projectionPrecision())
          .isEqualTo(HyperConnectionConfig.ProjectionPrecision.FULL);
    }
    assertThatIllegalArgumentException()
        .isThrownBy(() -> HyperConnectionConfig.builder().projectionPrecision(null).build())
        .withMessageContaining("projectionPrecision");
  }

  @Test
  void refusesWhatModesDoNotHave() {
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().postMultiplier(0).build())
        .withMessageContaining("postMultiplier is 0.0");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> HyperConnectionConfig.builder().mode(Mode.MHC_LITE).streams(6).build())
        .withMessageContainingAll("streams is 6", "1 to 5");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().mode(null).build())
        .withMessageContaining("mode is null");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().sinkhornOrder(null).build())
        .withMessageContaining("sinkhornOrder is null");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().sinkhornStart(null).build())
        .withMessageContaining("sinkhornStart is null");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().orientation(null).build())
        .withMessageContaining("orientation is null");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().rmsEpsMode(null).build())
        .withMessageContaining("rmsEpsMode is null");
    assertThatIllegalArgumentException().isThrownBy(() -> HyperConnectionConfig.builder().sinkhornEps(null, 0).build())
        .withMessageContaining("sinkhornEpsMode is null");
  }

  @Test
  void buildersCopy() {
    HyperConnectionConfig config = Preset.DEEPSEEK_V4_1.config(4);
    assertThat(config.toBuilder().build()).isEqualTo(config);
    assertThat(config.toBuilder().streams(2).build().streams()).isEqualTo(2);
  }
}
