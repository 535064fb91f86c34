#include "measure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

double own_cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void samples_add(struct samples* samples, uint64_t ns) {
  if (samples->count == samples->capacity) {
    samples->capacity = samples->capacity == 0 ? 4096 : samples->capacity * 2;
    samples->ns = realloc(samples->ns, samples->capacity * sizeof *samples->ns);
    if (samples->ns == NULL) die("no memory for latency samples");
  }
  samples->ns[samples->count++] = ns;
}

void samples_merge(struct samples* into, const struct samples* from) {
  for (size_t i = 0; i < from->count; i++) samples_add(into, from->ns[i]);
}

void samples_free(struct samples* samples) {
  free(samples->ns);
  *samples = (struct samples){0};
}

static int compare_ns(const void* a, const void* b) {
  const uint64_t left = *(const uint64_t*)a, right = *(const uint64_t*)b;
  return (left > right) - (left < right);
}

// Nearest rank: the smallest sample that at least `percent` of all samples do not exceed.
static double percentile_ms(const struct samples* sorted, unsigned percent) {
  size_t rank = (sorted->count * percent + 99) / 100;
  return (double)sorted->ns[rank == 0 ? 0 : rank - 1] / NS_PER_MS;
}

void samples_print(struct samples* samples, FILE* out) {
  if (samples->count == 0) {
    fputs("{\"p50\":null,\"p90\":null,\"p99\":null,\"max\":null}", out);
    return;
  }
  qsort(samples->ns, samples->count, sizeof *samples->ns, compare_ns);
  fprintf(out, "{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}", percentile_ms(samples, 50),
          percentile_ms(samples, 90), percentile_ms(samples, 99), percentile_ms(samples, 100));
}

void print_json_string(const char* text, FILE* out) {
  fputc('"', out);
  for (; *text != '\0'; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', out);
    if ((unsigned char)*text >= 0x20) fputc(*text, out);
  }
  fputc('"', out);
}

void die(const char* message) {
  fprintf(stderr, "%s: %s\n", message, strerror(errno));
  exit(1);
}
