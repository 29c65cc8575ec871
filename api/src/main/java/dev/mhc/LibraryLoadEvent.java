// SPDX-License-Identifier: Apache-2.0
package dev.mhc;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import org.jspecify.annotations.Nullable;

@Name("dev.mhc.LibraryLoad")
@Label("Library Load")
@Category("mhc")
@Description("libmhc, or a library of others that it needs, was found and loaded")
final class LibraryLoadEvent extends Event {
  @Label("Path")
  @Nullable String path;

  @Label("Source")
  @Description("Which of the places searched had it")
  @Nullable String source;

  @Label("Version")
  @Description("Of libmhc; none for others")
  @Nullable String version;
}
