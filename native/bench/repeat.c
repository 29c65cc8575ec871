/* SPDX-License-Identifier: Apache-2.0 */
/* Calls an operation from C, many times: what the same calls from Java are compared with. */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

typedef int (*operation)(void* context, const void* args);

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Nanoseconds that the calls took; the negated status if one fails. */
__attribute__((visibility("default"))) int64_t mhc_repeat(operation call, void* context, const void* args,
                                                          int64_t count) {
  int64_t start = nanoseconds();
  for (int64_t i = 0; i < count; ++i) {
    int status = call(context, args);
    if (status != 0) return -status;
  }
  return nanoseconds() - start;
}
