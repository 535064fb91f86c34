// How fast a PKCS#11 module signs by itself: one session per thread, C_SignInit and C_Sign, nothing else. It has no line
// in common with Sealgate, so that `sealgate bench sign --path raw` can be checked against it; agree.mjs does that.
//
//   cc -O2 -pthread raw-sign.c -ldl && ./a.out MODULE TOKEN-LABEL PIN-FILE KEY-LABEL THREADS SECONDS
//
// A second of warm-up. EC keys: CKM_ECDSA over 32 bytes. RSA keys: CKM_RSA_PKCS over a DigestInfo with SHA-256.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long U; // CK_ULONG, and all handles
typedef struct { U type; void *value; U length; } Attribute; // CK_MECHANISM has the same layout
static const unsigned char digestInfo[51] = "010\015\006\011`\206H\001e\003\004\002\001\005\0\004 ";
static Attribute mechanism;
static U slot, key, inputLength, (*signInit)(U, Attribute *, U), (*sign)(U, const void *, U, void *, U *);
static void *module;
static double from, until, *latencyMs; // of all threads, in the order in which they ended
static size_t count;

#define CALL(name, ...) do { U (*f)() = (U (*)())dlsym(module, #name), rv = f ? f(__VA_ARGS__) : 0x54; \
    if (rv != 0) exit((fprintf(stderr, #name " returned 0x%lx\n", rv), 69)); } while (0)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void *run(void *unused) {
  unsigned char signature[1024];
  U session;
  CALL(C_OpenSession, slot, 6UL /* serial, read-write */, NULL, NULL, &session);
  for (double end, start = now(); start < until; start = now()) {
    U length = sizeof signature;
    if (signInit(session, &mechanism, key) || sign(session, digestInfo, inputLength, signature, &length)) exit(69);
    if ((end = now()) >= from && end < until) latencyMs[__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED)] = (end - start) * 1e3;
  }
  return unused;
}

static int ascending(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

int main(int argc, char **argv) {
  U locking[6] = {[4] = 2}, slots[64], slotCount = 64, session, class = 3 /* private key */, type = 0, found = 0;
  char info[512], label[33], pin[256] = "";
  if (argc != 7 || !(module = dlopen(argv[1], RTLD_NOW))) return fprintf(stderr, "usage, or: %s\n", dlerror()), 64;
  FILE *file = fopen(argv[3], "r");
  if (!file || !fgets(pin, sizeof pin, file)) return perror(argv[3]), 66;
  CALL(C_Initialize, locking);
  CALL(C_GetSlotList, (unsigned char)1, slots, &slotCount);
  snprintf(label, sizeof label, "%-32s", argv[2]); // padded, as the first field of CK_TOKEN_INFO is
  for (U i = 0; i < slotCount; i++) {
    CALL(C_GetTokenInfo, slots[i], info);
    if (memcmp(info, label, 32) == 0) found = 1, slot = slots[i];
  }
  if (!found) return fprintf(stderr, "no token %s\n", argv[2]), 69;
  CALL(C_OpenSession, slot, 6UL, NULL, NULL, &session);
  CALL(C_Login, session, 1UL, pin, (U)strcspn(pin, "\n"));
  CALL(C_FindObjectsInit, session, ((Attribute[]){{0, &class, sizeof class}, {3, argv[4], strlen(argv[4])}}), 2UL);
  CALL(C_FindObjects, session, &key, 1UL, &found);
  CALL(C_FindObjectsFinal, session);
  if (!found) return fprintf(stderr, "no private key %s\n", argv[4]), 69;
  CALL(C_GetAttributeValue, session, key, (&(Attribute){0x100 /* CKA_KEY_TYPE */, &type, sizeof type}), 1UL);
  mechanism.type = type == 0 /* CKK_RSA */ ? 1 : 0x1041;
  inputLength = type == 0 ? sizeof digestInfo : 32;
  signInit = (U (*)(U, Attribute *, U))dlsym(module, "C_SignInit");
  sign = (U (*)(U, const void *, U, void *, U *))dlsym(module, "C_Sign");
  latencyMs = malloc(sizeof(double) << 26); // pages that nobody touches cost nothing
  from = now() + 1, until = from + atof(argv[6]);
  int threads = atoi(argv[5]);
  pthread_t ids[threads > 0 ? threads : 1];
  for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, run, NULL);
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  qsort(latencyMs, count, sizeof(double), ascending);
  printf("{\"signatures\":%zu,\"perSecond\":%.1f,\"p50Ms\":%.4f,\"p99Ms\":%.4f}\n", count, count / (until - from),
         count ? latencyMs[count / 2] : 0, count ? latencyMs[count * 99 / 100] : 0);
  CALL(C_Finalize, NULL);
  return 0;
}
