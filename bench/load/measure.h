// Clock, latency samples and this process's own CPU time: what every load tool reports.

#ifndef SEALGATE_BENCH_MEASURE_H
#define SEALGATE_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

// Monotonic, in nanoseconds.
uint64_t now_ns(void);

// User and system time of all threads of this process, in seconds.
double own_cpu_seconds(void);

// Every latency is kept: percentiles are exact, and 8 bytes a handshake are affordable.
struct samples {
  uint64_t* ns;
  size_t count;
  size_t capacity;
};

void samples_add(struct samples* samples, uint64_t ns);
void samples_merge(struct samples* into, const struct samples* from);
void samples_free(struct samples* samples);

// Sorts, then prints `{"p50":…,"p90":…,"p99":…,"max":…}` in milliseconds; all null when there are none.
void samples_print(struct samples* samples, FILE* out);

// Prints a JSON string, quotes included.
void print_json_string(const char* text, FILE* out);

// Ends the program with `message` and the meaning of errno on stderr.
_Noreturn void die(const char* message);

#endif
