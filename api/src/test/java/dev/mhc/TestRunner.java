// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/**
 * Runs test classes where there is no Maven: {@code TestRunner OUT.json CLASS...}. Names each test that fails or is left out,
 * and exits with 0 if none failed and at least one passed, with 77 if all were left out.
 */
final class TestRunner {
  private static final int NOTHING_RAN = 77;

  private TestRunner() {}

  public static void main(String... arguments) throws IOException {
    var selectors = new ArrayList<DiscoverySelector>();
    for (int i = 1; i < arguments.length; i++) {
      selectors.add(DiscoverySelectors.selectClass("dev.mhc." + arguments[i]));
    }
    var summary = new SummaryGeneratingListener();
    var said = new ArrayList<String>();
    Launcher launcher = LauncherFactory.create();
    launcher.execute(LauncherDiscoveryRequestBuilder.request().selectors(selectors).build(), summary, new Teller(said));
    summary.getSummary().printFailuresTo(new PrintWriter(System.out), 12);
    var totals = summary.getSummary();
    long passed = totals.getTestsSucceededCount();
    long failed = totals.getTotalFailureCount(); // of classes too
    long leftOut = totals.getTestsFoundCount() - passed - totals.getTestsFailedCount();
    System.out.printf("%d tests: %d passed, %d failed, %d left out%n", totals.getTestsFoundCount(), passed, failed, leftOut);
    var json = new JsonObject().add("passed", (int) passed).add("failed", (int) failed).add("leftOut", (int) leftOut)
        .add("notes", List.copyOf(said));
    Files.writeString(Path.of(arguments[0]), json + System.lineSeparator());
    System.exit(failed > 0 ? 1 : passed > 0 ? 0 : NOTHING_RAN);
  }

  private record Teller(List<String> said) implements TestExecutionListener {
    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
      tell("left out: " + test.getUniqueIdObject().getLastSegment().getValue() + ": " + reason);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      if (result.getStatus() != TestExecutionResult.Status.SUCCESSFUL) {
        String reason = result.getThrowable().map(Throwable::getMessage).map(text -> text.lines().findFirst().orElse("")).orElse("");
        tell((result.getStatus() == TestExecutionResult.Status.FAILED ? "FAILED: " : "left out: ")
            + test.getParentIdObject().map(parent -> parent.getLastSegment().getValue()).orElse("") + " " + test.getDisplayName()
            + ": " + reason);
      }
    }

    private void tell(String text) {
      said.add(text);
      System.out.println(text);
    }
  }
}
