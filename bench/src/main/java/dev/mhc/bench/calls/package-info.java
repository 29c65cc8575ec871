/** What calling native code from Java costs: a call, and the first one of a process. */
package dev.mhc.bench.calls;
