// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import dev.mhc.PipelineSchedule.Step.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which rank of a pipeline does what when. Time goes in ticks; in each, a rank takes one micro-batch forward or backward
 * through its stage, or idles. Between two ticks, neighbours exchange what the first one made. Making a schedule checks it:
 * one that would wait for ever, or do a thing twice, is refused.
 *
 * <p>A pipeline can be fed from both ends: in direction 0 rank r is stage r, in direction 1 it is stage
 * {@code ranks - 1 - r} as well, of a replica of the model. A micro-batch goes in one direction.
 *
 * @param ranks how many ranks there are, and stages, at least 1
 * @param directions 1, or 2 for a pipeline that is fed from both ends
 * @param microBatches how many there are, in both directions together, at least 1; times ranks at most {@value #LARGEST}
 * @param training whether micro-batches go backward too
 * @param steps for each rank, what it does in each tick; as many ticks for each
 */
public record PipelineSchedule(int ranks, int directions, int microBatches, boolean training, List<List<Step>> steps) {

  /**
   * What a rank does in one tick.
   *
   * @param kind forward, backward, or nothing
   * @param direction 0, or 1 where there are two; 0 if idle
   * @param microBatch from 0; 0 if idle
   */
  public record Step(Kind kind, int direction, int microBatch) {
    /** Nothing. */
    public static final Step IDLE = new Step(Kind.IDLE, 0, 0);

    /** Kinds of steps. */
    public enum Kind {
      /** Nothing. */
      IDLE,
      /** From the residual that enters the stage to the one that leaves it. */
      FORWARD,
      /** From the gradient of what left the stage to that of what entered it. */
      BACKWARD
    }

    /** Checks that there is a kind. */
    public Step {
      Check.given("kind", kind, "a Kind");
    }

    /** A micro-batch forward. */
    public static Step forward(int direction, int microBatch) {
      return new Step(Kind.FORWARD, direction, microBatch);
    }

    /** A micro-batch backward. */
    public static Step backward(int direction, int microBatch) {
      return new Step(Kind.BACKWARD, direction, microBatch);
    }
  }

  /** Ranks times micro-batches, at most. */
  public static final int LARGEST = 1 << 22;

  private static final int NEVER = Integer.MAX_VALUE;

  /** Checks the schedule. */
  public PipelineSchedule {
    checkSize(ranks, microBatches);
    Check.range("directions", directions, 1, 2);
    Check.given("steps", steps, "a list for each rank");
    if (steps.size() != ranks) {
      throw new IllegalArgumentException("steps is for " + steps.size() + " ranks; expected " + ranks);
    }
    var copy = new ArrayList<List<Step>>();
    for (int rank = 0; rank < ranks; rank++) {
      List<Step> given = Check.given("steps[" + rank + "]", steps.get(rank), "a list of steps");
      for (int tick = 0; tick < given.size(); tick++) {
        Check.given("steps[" + rank + "][" + tick + "]", given.get(tick), "a Step");
      }
      List<Step> own = List.copyOf(given);
      if (own.size() != steps.get(0).size()) {
        throw new IllegalArgumentException("steps[" + rank + "] has " + own.size() + " ticks; expected "
            + steps.get(0).size() + ", as rank 0 has: idle steps fill up");
      }
      copy.add(own);
    }
    steps = List.copyOf(copy);
    new Times(ranks, directions, microBatches, steps).check(training);
  }

  private static void checkSize(int ranks, int microBatches) {
    Check.range("ranks", ranks, 1, 1 << 16);
    Check.range("microBatches", microBatches, 1, 1 << 20);
    if ((long) ranks * microBatches > LARGEST) {
      throw new IllegalArgumentException("microBatches is " + microBatches + "; expected at most " + LARGEST / ranks
          + ", with " + ranks + " ranks");
    }
  }

  /** Micro-batches forward only. */
  public static PipelineSchedule forwardOnly(int ranks, int microBatches) {
    return generate(ranks, 1, microBatches, false);
  }

  /**
   * One forward, one backward: a stage takes a micro-batch backward as soon as it can, and never has more than
   * {@code ranks - stage} of them between forward and backward. It takes {@code 2 (microBatches + ranks - 1)} ticks.
   */
  public static PipelineSchedule oneForwardOneBackward(int ranks, int microBatches) {
    return generate(ranks, 1, microBatches, true);
  }

  /**
   * As {@link #oneForwardOneBackward}, from both ends at once, with two replicas of the model: even micro-batches go in
   * direction 0, odd ones in direction 1, and each fills the other's bubbles, as in DualPipe. A rank has no more than
   * {@code ranks + 1} micro-batches between forward and backward.
   */
  public static PipelineSchedule bothEnds(int ranks, int microBatches) {
    return generate(ranks, 2, microBatches, true);
  }

  /** Which stage a rank is in a direction; and which rank a stage is. */
  public int stage(int rank, int direction) {
    Check.range("rank", rank, 0, ranks - 1L);
    Check.range("direction", direction, 0, directions - 1L);
    return stage(ranks, rank, direction);
  }

  private static int stage(int ranks, int rank, int direction) {
    return direction == 0 ? rank : ranks - 1 - rank;
  }

  /** How many ticks it takes. */
  public int ticks() {
    return steps.get(0).size();
  }

  /** How many micro-batches a rank has between forward and backward at most; 1 where nothing goes backward. */
  public int inFlight(int rank) {
    Check.range("rank", rank, 0, ranks - 1L);
    int now = 0;
    int most = 1;
    for (Step step : steps.get(rank)) {
      now += step.kind == Kind.FORWARD ? 1 : step.kind == Kind.BACKWARD ? -1 : 0;
      most = training ? Math.max(most, now) : most;
    }
    return most;
  }

  /** The part of all ticks of all ranks in which nothing is done. */
  public double bubble() {
    long idle = steps.stream().flatMap(List::stream).filter(step -> step.kind == Kind.IDLE).count();
    return (double) idle / ((long) ranks * ticks());
  }

  /** A message from one rank to a neighbour: the residual of a micro-batch forward, or its gradient backward. */
  record Message(int peer, Step step) {}

  /** What a rank sends after a tick, or null. */
  @Nullable Message sent(int rank, int tick) {
    Step step = steps.get(rank).get(tick);
    int peer = target(ranks, rank, step);
    return peer < 0 ? null : new Message(peer, step);
  }

  /** What a rank receives after a tick. */
  List<Message> received(int rank, int tick) {
    var messages = new ArrayList<Message>();
    for (int peer : new int[] {rank - 1, rank + 1}) {
      if (peer >= 0 && peer < ranks) {
        Step step = steps.get(peer).get(tick);
        if (target(ranks, peer, step) == rank) {
          messages.add(new Message(peer, step));
        }
      }
    }
    return messages;
  }

  /** The rank that needs the result of a step, or -1. */
  private static int target(int ranks, int rank, Step step) {
    if (step.kind == Kind.IDLE) {
      return -1;
    }
    int stage = stage(ranks, rank, step.direction) + (step.kind == Kind.FORWARD ? 1 : -1);
    return stage < 0 || stage >= ranks ? -1 : stage(ranks, stage, step.direction);
  }

  // ------------------------------------------------------------------------------------------------ checking

  /** In which tick each stage takes each micro-batch forward and backward. */
  private static final class Times {
    private final int ranks;
    private final int microBatches;
    private final int[][] forward; // by stage and micro-batch
    private final int[][] backward;
    private final int[] direction; // of each micro-batch, -1 before it is met

    Times(int ranks, int microBatches) {
      this.ranks = ranks;
      this.microBatches = microBatches;
      forward = new int[ranks][microBatches];
      backward = new int[ranks][microBatches];
      direction = new int[microBatches];
      for (int stage = 0; stage < ranks; stage++) {
        Arrays.fill(forward[stage], NEVER);
        Arrays.fill(backward[stage], NEVER);
      }
      Arrays.fill(direction, -1);
    }

    Times(int ranks, int directions, int microBatches, List<List<Step>> steps) {
      this(ranks, microBatches);
      for (int rank = 0; rank < ranks; rank++) {
        for (int tick = 0; tick < steps.get(rank).size(); tick++) {
          Step step = steps.get(rank).get(tick);
          if (step.kind != Kind.IDLE) {
            String where = "steps[" + rank + "][" + tick + "]";
            Check.range(where + ".direction", step.direction, 0, directions - 1L);
            Check.range(where + ".microBatch", step.microBatch, 0, microBatches - 1L);
            if (direction[step.microBatch] == 1 - step.direction) {
              throw new IllegalArgumentException(where + " is " + step + "; expected direction " + (1 - step.direction)
                  + ", in which that micro-batch goes elsewhere");
            }
            put(where, rank, tick, step);
          }
        }
      }
    }

    private void put(String where, int rank, int tick, Step step) {
      int[] times = of(step.kind)[stage(ranks, rank, step.direction)];
      if (times[step.microBatch] != NEVER) {
        throw new IllegalArgumentException(where + " is " + step + "; expected it once, but it is also in tick "
            + times[step.microBatch]);
      }
      times[step.microBatch] = tick;
      direction[step.microBatch] = step.direction;
    }

    private int[][] of(Kind kind) {
      return kind == Kind.FORWARD ? forward : backward;
    }

    void check(boolean training) {
      for (int m = 0; m < microBatches; m++) {
        for (int stage = 0; stage < ranks; stage++) {
          requireThere(Kind.FORWARD, stage, m, true);
          requireThere(Kind.BACKWARD, stage, m, training);
        }
        for (int stage = 0; stage < ranks; stage++) {
          if (stage > 0) {
            requireAfter(Kind.FORWARD, stage, m, Kind.FORWARD, stage - 1);
          }
          if (training) {
            requireAfter(Kind.BACKWARD, stage, m, Kind.FORWARD, stage);
            if (stage < ranks - 1) {
              requireAfter(Kind.BACKWARD, stage, m, Kind.BACKWARD, stage + 1);
            }
          }
        }
      }
    }

    private void requireThere(Kind kind, int stage, int m, boolean wanted) {
      if ((of(kind)[stage][m] != NEVER) != wanted) {
        throw new IllegalArgumentException("steps has " + (wanted ? "no " : "a ") + kind + " of micro-batch " + m
            + " in stage " + stage + "; expected " + (wanted ? "one" : "none, without training"));
      }
    }

    private void requireAfter(Kind kind, int stage, int m, Kind before, int earlierStage) {
      int tick = of(kind)[stage][m];
      int needed = of(before)[earlierStage][m];
      if (tick <= needed) {
        throw new IllegalArgumentException("steps would wait for ever: " + kind + " of micro-batch " + m + " in stage "
            + stage + " is in tick " + tick + ", but needs " + before + " in stage " + earlierStage + ", of tick " + needed
            + "; expected a later tick");
      }
    }
  }

  // ------------------------------------------------------------------------------------------------ making

  private static PipelineSchedule generate(int ranks, int directions, int microBatches, boolean training) {
    checkSize(ranks, microBatches);
    var times = new Times(ranks, microBatches);
    var next = new Next[ranks][directions]; // of each stage and direction
    for (Next[] stage : next) {
      for (int direction = 0; direction < directions; direction++) {
        stage[direction] = new Next(direction, direction);
      }
    }
    var steps = new ArrayList<List<Step>>();
    for (int rank = 0; rank < ranks; rank++) {
      steps.add(new ArrayList<>());
    }
    long left = (training ? 2L : 1L) * ranks * microBatches;
    for (int tick = 0; left > 0; tick++) {
      for (int rank = 0; rank < ranks; rank++) {
        Step step = choose(times, next, ranks, rank, training, tick);
        steps.get(rank).add(step);
        if (step.kind != Kind.IDLE) {
          times.put("generated", rank, tick, step);
          Next own = next[stage(ranks, rank, step.direction)][step.direction];
          own.forward += step.kind == Kind.FORWARD ? directions : 0;
          own.backward += step.kind == Kind.BACKWARD ? directions : 0;
          left--;
        }
      }
    }
    return new PipelineSchedule(ranks, directions, microBatches, training, List.copyOf(steps));
  }

  /** The next micro-batches of a stage in one direction: they go in order. */
  private static final class Next {
    int forward;
    int backward;

    Next(int forward, int backward) {
      this.forward = forward;
      this.backward = backward;
    }
  }

  /** Backward if possible; else forward, if not too many are between; of two directions, the micro-batch of lower number. */
  private static Step choose(Times times, Next[][] next, int ranks, int rank, boolean training, int tick) {
    Step best = Step.IDLE;
    int directions = next[0].length;
    for (int direction = 0; direction < directions; direction++) {
      int stage = stage(ranks, rank, direction);
      Next own = next[stage][direction];
      int between = (own.forward - own.backward) / directions;
      if (training && between > 0 && (stage == ranks - 1 || times.backward[stage + 1][own.backward] < tick)) {
        best = better(best, Step.backward(direction, own.backward));
      }
      if (own.forward < times.microBatches && (stage == 0 || times.forward[stage - 1][own.forward] < tick)
          && (!training || between < ranks - stage)) {
        best = better(best, Step.forward(direction, own.forward));
      }
    }
    return best;
  }

  private static Step better(Step a, Step b) {
    if (a.kind != b.kind) {
      return a.kind.compareTo(b.kind) > 0 ? a : b;
    }
    return a.microBatch <= b.microBatch ? a : b;
  }
}
