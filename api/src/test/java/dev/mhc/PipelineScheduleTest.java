// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import dev.mhc.PipelineSchedule.Step;
import dev.mhc.PipelineSchedule.Step.Kind;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Schedules: the known ones, and which are refused. */
class PipelineScheduleTest {
  private static final Step F0 = Step.forward(0, 0);
  private static final Step F1 = Step.forward(0, 1);
  private static final Step B0 = Step.backward(0, 0);
  private static final Step B1 = Step.backward(0, 1);
  private static final Step IDLE = Step.IDLE;

  @Test
  void oneForwardOneBackward() {
    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(4, 4);
    assertThat(text(schedule)).containsExactly(
        "F0 F1 F2 F3 -- -- -- B0 -- B1 -- B2 -- B3",
        "-- F0 F1 F2 -- -- B0 F3 B1 -- B2 -- B3 --",
        "-- -- F0 F1 -- B0 F2 B1 F3 B2 -- B3 -- --",
        "-- -- -- F0 B0 F1 B1 F2 B2 F3 B3 -- -- --");
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "1, 5", "2, 1", "2, 6", "3, 2", "4, 8", "8, 3", "8, 32"})
  void numbersOfSchedules(int ranks, int microBatches) {
    PipelineSchedule schedule = PipelineSchedule.oneForwardOneBackward(ranks, microBatches);
    assertThat(schedule.ticks()).isEqualTo(2 * (microBatches + ranks - 1));
    assertThat(schedule.bubble()).isEqualTo((ranks - 1.0) / (microBatches + ranks - 1));
    for (int rank = 0; rank < ranks; rank++) {
      assertThat(schedule.inFlight(rank)).isEqualTo(Math.min(microBatches, ranks - rank));
    }
    assertThat(PipelineSchedule.forwardOnly(ranks, microBatches).ticks()).isEqualTo(microBatches + ranks - 1);
  }

  @ParameterizedTest
  @CsvSource({"2, 4", "4, 8", "4, 20", "8, 16", "8, 40"})
  void bothEndsFillEachOthersBubbles(int ranks, int microBatches) {
    PipelineSchedule both = PipelineSchedule.bothEnds(ranks, microBatches);
    PipelineSchedule single = PipelineSchedule.oneForwardOneBackward(ranks, microBatches);
    assertThat(both.bubble()).isLessThan(single.bubble());
    for (int rank = 0; rank < ranks; rank++) {
      assertThat(both.inFlight(rank)).isLessThanOrEqualTo(ranks + 1);
      int own = rank;
      assertThat(both.steps().get(rank)).anySatisfy(step -> assertThat(step.direction()).isEqualTo(1))
          .anySatisfy(step -> assertThat(step.direction()).as("rank %d", own).isZero());
    }
  }

  /** What a rank sends after a tick, the other one receives after that tick; so no exchange can wait for a later one. */
  @Test
  void whatIsSentIsReceived() {
    for (PipelineSchedule schedule : List.of(PipelineSchedule.oneForwardOneBackward(4, 6), PipelineSchedule.bothEnds(4, 8))) {
      int messages = 0;
      for (int tick = 0; tick < schedule.ticks(); tick++) {
        for (int rank = 0; rank < 4; rank++) {
          PipelineSchedule.Message sent = schedule.sent(rank, tick);
          if (sent != null) {
            assertThat(schedule.received(sent.peer(), tick)).contains(new PipelineSchedule.Message(rank, sent.step()));
            messages++;
          }
          messages -= schedule.received(rank, tick).size();
        }
      }
      assertThat(messages).isZero();
    }
  }

  @Test
  void whatWouldWaitForEver() {
    refused(1, List.of(List.of(F0, IDLE, B0), List.of(F0, B0, IDLE)),
        "steps would wait for ever: FORWARD of micro-batch 0 in stage 1 is in tick 0, but needs FORWARD in stage 0, of tick 0");
    refused(1, List.of(List.of(F0, IDLE, B0), List.of(IDLE, F0, B0)),
        "BACKWARD of micro-batch 0 in stage 0 is in tick 2, but needs BACKWARD in stage 1, of tick 2; expected a later tick");
    // a cycle: each rank waits for the other
    refused(2, List.of(List.of(F0, B1, F1, B0), List.of(B0, F0, B1, F1)), "steps would wait for ever");
  }

  @Test
  void whatIsMissingOrTooMuch() {
    refused(1, List.of(List.of(F0, IDLE, IDLE, B0), List.of(IDLE, F0, IDLE, IDLE)),
        "steps has no BACKWARD of micro-batch 0 in stage 1; expected one");
    refused(1, List.of(List.of(F0, F0, IDLE, B0), List.of(IDLE, F0, B0, IDLE)),
        "steps[0][1] is " + F0 + "; expected it once, but it is also in tick 0");
    refused(1, List.of(List.of(F0, IDLE, IDLE, B0), List.of(IDLE, F0, B0)), "steps[1] has 3 ticks; expected 4");
    refused(1, List.of(List.of(F0, B0)), "steps is for 1 ranks; expected 2");
    refused(1, List.of(List.of(F0, IDLE, IDLE, B0), List.of(IDLE, F1, B0, IDLE)), "steps[1][1].microBatch is 1; expected 0 to 0");
    refused(1, List.of(List.of(F0, IDLE, IDLE, B0), List.of(IDLE, Step.forward(1, 0), B0, IDLE)),
        "steps[1][1].direction is 1; expected 0 to 0");
    assertThatIllegalArgumentException().isThrownBy(() -> new PipelineSchedule(1, 1, 1, false, List.of(List.of(F0, B0))))
        .withMessageContaining("steps has a BACKWARD of micro-batch 0 in stage 0; expected none, without training");
    assertThatIllegalArgumentException().isThrownBy(() -> PipelineSchedule.bothEnds(0, 1)).withMessageContaining("ranks is 0");
    assertThatIllegalArgumentException().isThrownBy(() -> PipelineSchedule.forwardOnly(1, 0))
        .withMessageContaining("microBatches is 0");
  }

  @Test
  void ownSchedules() {
    var schedule = new PipelineSchedule(2, 1, 2, true, List.of(List.of(F0, F1, IDLE, IDLE, B1, B0),
        List.of(IDLE, F0, F1, B1, B0, IDLE)));
    assertThat(schedule.inFlight(0)).isEqualTo(2);
    assertThat(schedule.ticks()).isEqualTo(6);
  }

  private static void refused(int microBatches, List<List<Step>> steps, String message) {
    assertThatIllegalArgumentException().isThrownBy(() -> new PipelineSchedule(2, 1, microBatches, true, steps))
        .withMessageContaining(message);
  }

  private static List<String> text(PipelineSchedule schedule) {
    return schedule.steps().stream().map(steps -> steps.stream()
        .map(step -> step.kind() == Kind.IDLE ? "--" : step.kind().name().substring(0, 1) + step.microBatch())
        .collect(Collectors.joining(" "))).toList();
  }
}
