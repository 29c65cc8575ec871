// SPDX-License-Identifier: Apache-2.0
package dev.mhc.train;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import dev.mhc.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * Named FP32 tensors and words in a file of the safetensors format: the length of the header in 8 bytes, the header in JSON,
 * the tensors. A checksum of the tensors is among the words, as {@value #CHECK}.
 *
 * @param words by name
 * @param tensors by name
 */
record SafeTensors(Map<String, String> words, Map<String, Values> tensors) {
  private static final String CHECK = "crc32c";
  private static final String WORDS = "__metadata__";
  private static final long MOST_HEADER = 100_000_000; // of the format

  /** Little-endian FP32 values in row-major order. */
  record Values(long[] shape, MemorySegment data) {
    static Values of(Tensor tensor) {
      return new Values(tensor.shape(), tensor.segment());
    }

    private long bytes() {
      return Arrays.stream(shape).reduce(Float.BYTES, Math::multiplyExact);
    }
  }

  // ------------------------------------------------------------------------------------------------ writing

  /** Writes a file: beside its place first, then into it at once, so that there is never half a file. */
  void write(Path file) throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    Files.createDirectories(folder);
    Path part = folder.resolve(file.getFileName() + ".part");
    byte[] header = header();
    try (FileChannel out = FileChannel.open(part, StandardOpenOption.CREATE, StandardOpenOption.WRITE,
        StandardOpenOption.TRUNCATE_EXISTING)) {
      writeAll(out, ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).flip());
      writeAll(out, ByteBuffer.wrap(header));
      for (Values each : tensors.values()) {
        for (long at = 0; at < each.bytes(); at += Integer.MAX_VALUE / 2) {
          writeAll(out, each.data.asSlice(at, Math.min(Integer.MAX_VALUE / 2, each.bytes() - at)).asByteBuffer());
        }
      }
      out.force(true);
    }
    Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  private static void writeAll(FileChannel out, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      out.write(bytes);
    }
  }

  private byte[] header() {
    var header = new JsonObject();
    var crc = new CRC32C();
    long at = 0;
    for (Map.Entry<String, Values> each : tensors.entrySet()) {
      Values values = each.getValue();
      var entry = new JsonObject();
      entry.addProperty("dtype", "F32");
      entry.add("shape", new Gson().toJsonTree(values.shape));
      entry.add("data_offsets", new Gson().toJsonTree(new long[] {at, at + values.bytes()}));
      header.add(each.getKey(), entry);
      update(crc, values.data.asSlice(0, values.bytes()));
      at += values.bytes();
    }
    var all = new LinkedHashMap<>(words);
    all.put(CHECK, Long.toHexString(crc.getValue()));
    header.add(WORDS, new Gson().toJsonTree(all));
    String text = header.toString();
    int length = text.getBytes(StandardCharsets.UTF_8).length;
    return (text + " ".repeat((8 - length % 8) % 8)).getBytes(StandardCharsets.UTF_8); // tensors begin aligned
  }

  private static void update(CRC32C crc, MemorySegment data) {
    for (long at = 0; at < data.byteSize(); at += Integer.MAX_VALUE / 2) {
      crc.update(data.asSlice(at, Math.min(Integer.MAX_VALUE / 2, data.byteSize() - at)).asByteBuffer());
    }
  }

  // ------------------------------------------------------------------------------------------------ reading

  /**
   * Reads a file.
   *
   * @throws IOException with the reason, if it is not intact
   */
  static SafeTensors read(Path file) throws IOException {
    try (FileChannel in = FileChannel.open(file)) {
      MemorySegment all = in.map(FileChannel.MapMode.READ_ONLY, 0, in.size(), Arena.ofAuto());
      long length = all.byteSize() < Long.BYTES ? -1 : all.get(ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 0);
      if (length < 0 || length > MOST_HEADER || Long.BYTES + length > all.byteSize()) {
        throw new IOException(file + " is cut short, or no safetensors file: it has " + all.byteSize()
            + " bytes, and says that its header has " + length);
      }
      byte[] header = all.asSlice(Long.BYTES, length).toArray(ValueLayout.JAVA_BYTE);
      return parse(file, new String(header, StandardCharsets.UTF_8), all.asSlice(Long.BYTES + length));
    }
  }

  private static SafeTensors parse(Path file, String header, MemorySegment data) throws IOException {
    var words = new LinkedHashMap<String, String>();
    var tensors = new LinkedHashMap<String, Values>();
    long end = 0;
    try {
      for (Map.Entry<String, JsonElement> each : new Gson().fromJson(header, JsonObject.class).entrySet()) {
        JsonObject entry = each.getValue().getAsJsonObject();
        if (each.getKey().equals(WORDS)) {
          entry.entrySet().forEach(word -> words.put(word.getKey(), word.getValue().getAsString()));
          continue;
        }
        JsonArray offsets = entry.getAsJsonArray("data_offsets");
        long from = offsets.get(0).getAsLong();
        end = Math.max(end, offsets.get(1).getAsLong());
        if (end > data.byteSize()) {
          throw new IOException(file + " is cut short: " + each.getKey() + " ends at byte " + end + " of the tensors, of which"
              + " there are " + data.byteSize());
        }
        var values = new Values(new Gson().fromJson(entry.get("shape"), long[].class), data.asSlice(from,
            offsets.get(1).getAsLong() - from));
        if (!entry.get("dtype").getAsString().equals("F32") || values.bytes() != values.data.byteSize()) {
          throw new IOException(file + ": " + each.getKey() + " is " + entry + "; expected F32 and as many bytes as its shape has");
        }
        tensors.put(each.getKey(), values);
      }
    } catch (RuntimeException e) { // whatever a damaged header leads to
      throw new IOException(file + " is damaged: its header is not that of a safetensors file (" + e.getMessage() + ")", e);
    }
    var crc = new CRC32C();
    update(crc, data);
    if (data.byteSize() != end || !Long.toHexString(crc.getValue()).equals(words.get(CHECK))) {
      throw new IOException(file + " is damaged: the checksum of its tensors is " + Long.toHexString(crc.getValue())
          + "; expected " + words.get(CHECK));
    }
    return new SafeTensors(words, tensors);
  }
}
