// SPDX-License-Identifier: Apache-2.0
package dev.mhc.bench;

import dev.mhc.NativeLibraryException;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** How a program with a command line says what went wrong: in one line where its reader can do something about it. */
public final class Program {
  private Program() {}

  /**
   * A command line.
   *
   * @param name before each message
   * @param program annotated as picocli wants it
   * @param told exceptions, beside those of files and of the native library, whose message is enough
   */
  public static CommandLine commandLine(String name, Object program, PrintWriter output, PrintWriter errors,
      List<Class<? extends Exception>> told) {
    return new CommandLine(program).setCaseInsensitiveEnumValuesAllowed(true).setOut(output).setErr(errors)
        .setParameterExceptionHandler((e, arguments) -> {
          e.getCommandLine().getErr().println(name + ": " + e.getMessage() + "; --help shows the options");
          return CommandLine.ExitCode.USAGE;
        })
        .setExecutionExceptionHandler((e, command, result) -> {
          if (e instanceof NativeLibraryException || e instanceof IOException
              || told.stream().anyMatch(each -> each.isInstance(e))) {
            command.getErr().println(name + ": " + e.getMessage());
          } else {
            e.printStackTrace(command.getErr());
          }
          return CommandLine.ExitCode.SOFTWARE;
        });
  }

  /** The exception of a command line that is wrong. */
  public static ParameterException wrong(CommandSpec spec, String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  /**
   * Accepts an option's value.
   *
   * @throws ParameterException if it is out of its range
   */
  public static void check(CommandSpec spec, String option, int value, int least, int most) {
    if (value < least || value > most) {
      throw wrong(spec, option + " is " + value + "; expected " + least + " to " + most);
    }
  }
}
