/** Results as data, what they mean, and pages of them. */
package dev.mhc.bench.report;
