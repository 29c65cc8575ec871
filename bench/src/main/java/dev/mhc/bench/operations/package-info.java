/** JMH benchmarks: a class for each operation, under its name. */
package dev.mhc.bench.operations;
