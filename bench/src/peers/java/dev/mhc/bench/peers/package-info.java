/** Other libraries, which the profile "peers" measures beside mhc. */
package dev.mhc.bench.peers;
