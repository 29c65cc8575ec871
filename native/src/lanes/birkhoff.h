// SPDX-License-Identifier: Apache-2.0
// A matrix as a sum of weighted permutations. Each term is a perfect matching whose smallest entry is as large as can be: the
// largest threshold at which the entries that reach it still have one. Its smallest entry is taken off, which leaves at least
// one entry less.
#pragma once

#include <cmath>

#include "lanes/crew.h"
#include "lanes/repeat.h"

namespace MHC_LANES {

// What a crew works in. Entries are what is left over, exact differences of the given ones or nearly so.
struct BirkhoffScratch {
  double entry[kMaxStreams * kMaxStreams], value[kMaxStreams * kMaxStreams], spare[kMaxStreams * kMaxStreams];
  uint32_t allowed[kMaxStreams];  // of each row, the columns
  int column_of[kMaxStreams], row_of[kMaxStreams];
  int found;
};

// crew.sort(value, count, spare) puts numbers in order.
template <class Crew>
class Birkhoff {
 public:
  MHC_FN Birkhoff(const Crew& crew, int n, BirkhoffScratch& scratch) : crew_(crew), n_(n), s_(scratch) {}

  template <class Load>
  MHC_FN void enter(const Load& load) {
    crew_.meet();
    crew_.each(n_ * n_, [&](int e) MHC_INLINE { s_.entry[e] = load(e / n_, e % n_); });
    crew_.meet();
  }

  // Takes the next term off, and returns its weight; 0 if there is none.
  MHC_FN double next() {
    crew_.each(n_ * n_, [&](int e) MHC_INLINE { s_.value[e] = usable(s_.entry[e]) ? s_.entry[e] : HUGE_VAL; });
    crew_.meet();
    crew_.sort(s_.value, n_ * n_, s_.spare);
    int best = -1;  // the largest index known to have a matching
    for (int low = 0, high = n_ * n_ - 1; low <= high;) {
      const int middle = (low + high) / 2;
      if (match(s_.value[middle])) {
        best = middle;
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    if (best < 0) return 0.0;
    const double weight = s_.value[best];
    crew_.meet();
    crew_.each(n_, [&](int i) MHC_INLINE { s_.entry[i * n_ + s_.column_of[i]] -= weight; });
    crew_.meet();
    return weight;
  }
  // Of row i in the term that came last.
  MHC_FN int column_of(int i) const { return s_.column_of[i]; }

  MHC_FN double largest_left() const {
    double most = 0.0;
    for (int e = 0; e < n_ * n_; ++e) {
      const double size = fabs(s_.entry[e]);
      if (size > most || size != size) most = size;  // a NaN stays
    }
    return most;
  }

 private:
  static MHC_FN bool usable(double entry) { return entry > 0.0 && entry < HUGE_VAL; }

  // Whether the entries that reach the threshold have a perfect matching, which is then in column_of.
  MHC_FN bool match(double threshold) {
    crew_.each(n_, [&](int i) MHC_INLINE {
      uint32_t columns = 0;
      for (int j = 0; j < n_; ++j) {
        const double entry = s_.entry[i * n_ + j];
        if (usable(entry) && entry >= threshold) columns |= 1u << j;
      }
      s_.allowed[i] = columns;
      s_.row_of[i] = -1;
    });
    crew_.meet();
    if (crew_.leads()) {
      bool all = true;
      for (int i = 0; i < n_ && all; ++i) all = augment(i);
      for (int j = 0; j < n_ && all; ++j) s_.column_of[s_.row_of[j]] = j;
      s_.found = all;
    }
    crew_.meet();
    const bool found = s_.found != 0;
    crew_.meet();
    return found;
  }

  // A path from a row without a column to a column without a row, on which the rows' columns are moved on.
  MHC_FN bool augment(int row) {
    int rows[kMaxStreams], columns[kMaxStreams];
    uint32_t visited = 0;
    for (int depth = 0; depth >= 0;) {
      const uint32_t open = s_.allowed[row] & ~visited;
      if (open == 0) {
        if (--depth >= 0) row = rows[depth];
        continue;
      }
      int column = 0;
      while ((open >> column & 1u) == 0) ++column;
      visited |= 1u << column;
      rows[depth] = row;
      columns[depth] = column;
      if (s_.row_of[column] < 0) {
        for (; depth >= 0; --depth) s_.row_of[columns[depth]] = rows[depth];
        return true;
      }
      row = s_.row_of[column];
      ++depth;
    }
    return false;
  }

  const Crew crew_;
  const int n_;
  BirkhoffScratch& s_;
};

}  // namespace MHC_LANES
