// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import dev.mhc.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** All that a run needs to go on as if it had not been interrupted. A folder keeps the last two. */
final class Checkpoint {
  private static final int KEPT = 2;
  private static final String NAME = "step-%07d.safetensors";
  private static final String FORMAT = "1";
  private static final Gson GSON = new GsonBuilder().serializeSpecialFloatingPointValues().create(); // gains of hc

  private final Settings settings;
  private final int step;
  private final History history;
  private final Map<String, SafeTensors.Values> tensors;
  private final @Nullable Path file;

  Checkpoint(Settings settings, int step, History history, List<Learned> learned) {
    this(settings, step, history, tensors(learned), null);
  }

  private Checkpoint(Settings settings, int step, History history, Map<String, SafeTensors.Values> tensors,
      @Nullable Path file) {
    this.settings = settings;
    this.step = step;
    this.history = history;
    this.tensors = tensors;
    this.file = file;
  }

  private static Map<String, SafeTensors.Values> tensors(List<Learned> learned) {
    var tensors = new LinkedHashMap<String, SafeTensors.Values>();
    learned.forEach(each -> parts(each).forEach((name, tensor) -> tensors.put(name, SafeTensors.Values.of(tensor))));
    return tensors;
  }

  private static Map<String, Tensor> parts(Learned learned) {
    var parts = new LinkedHashMap<String, Tensor>();
    parts.put(learned.name, learned.value);
    parts.put(learned.name + ".momentum", learned.momentum);
    if (learned.square != null) {
      parts.put(learned.name + ".square", learned.square);
    }
    return parts;
  }

  Settings settings() {
    return settings;
  }

  int step() {
    return step;
  }

  History history() {
    return history;
  }

  /** Writes a file into a folder, and lets the oldest go. */
  Path write(Path folder) throws IOException {
    Map<String, String> words = Map.of("format", FORMAT, "step", String.valueOf(step), "settings", GSON.toJson(settings),
        "history", GSON.toJson(history));
    Path written = folder.resolve(String.format(Locale.ROOT, NAME, step));
    new SafeTensors(words, tensors).write(written);
    List<Path> all = all(folder);
    for (Path old : all.subList(0, Math.max(0, all.size() - KEPT))) {
      Files.delete(old);
    }
    return written;
  }

  /** The last one in a folder. */
  static Optional<Path> last(Path folder) throws IOException {
    List<Path> all = all(folder);
    return all.isEmpty() ? Optional.empty() : Optional.of(all.getLast());
  }

  private static List<Path> all(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.getFileName().toString().matches("step-\\d{7}\\.safetensors")).sorted().toList();
    }
  }

  /**
   * Reads a file.
   *
   * @throws IOException with the reason, if it is not intact, and the name of one before it, if there is one
   */
  static Checkpoint read(Path file) throws IOException {
    try {
      SafeTensors read = SafeTensors.read(file);
      if (!FORMAT.equals(read.words().get("format"))) {
        throw new IOException(file + " is no checkpoint of this program: its format is " + read.words().get("format")
            + "; expected " + FORMAT);
      }
      return new Checkpoint(GSON.fromJson(read.words().get("settings"), Settings.class),
          Integer.parseInt(read.words().get("step")), GSON.fromJson(read.words().get("history"), History.class),
          read.tensors(), file);
    } catch (JsonParseException | NumberFormatException e) {
      throw new IOException(file + " is damaged: " + e.getMessage(), e);
    } catch (IOException e) {
      throw new IOException(e.getMessage() + before(file), e);
    }
  }

  private static String before(Path file) throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    if (!Files.isDirectory(folder)) {
      return "";
    }
    List<Path> all = all(folder);
    int index = all.indexOf(folder.resolve(file.getFileName()));
    return index < 1 ? "" : ". The one before it is " + all.get(index - 1);
  }

  /** Puts what was read into a model's parameters and their optimiser. */
  void restore(List<Learned> learned) throws IOException {
    for (Learned each : learned) {
      for (Map.Entry<String, Tensor> part : parts(each).entrySet()) {
        SafeTensors.Values values = tensors.get(part.getKey());
        if (values == null || !Arrays.equals(values.shape(), part.getValue().shape())) {
          throw new IOException(file + " has " + part.getKey() + " of shape " + (values == null ? "none"
              : Arrays.toString(values.shape())) + "; expected " + Arrays.toString(part.getValue().shape()));
        }
        MemorySegment.copy(values.data(), 0, part.getValue().segment(), 0, values.data().byteSize());
      }
    }
  }
}
