// How fast a PKCS#11 module signs by itself: one session per thread, C_SignInit and C_Sign, nothing else. It has no line
// in common with Sealgate, so that `sealgate bench sign --path raw` can be checked against it; agree.mjs does that.
//
//   cc -O2 -pthread raw-sign.c -ldl && ./a.out MODULE TOKEN-LABEL PIN-FILE KEY-LABEL THREADS WARM-UP SECONDS
//
// EC keys: CKM_ECDSA over 32 bytes. RSA keys: CKM_RSA_PKCS over a DigestInfo with SHA-256.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long U; // CK_ULONG, CK_RV, and all handles
typedef struct { U type; void *value; U length; } Attribute; // CK_MECHANISM has the same layout
// Places in CK_FUNCTION_LIST, in words; the first is its version.
enum { Initialize = 1, Finalize, GetSlotList = 5, GetTokenInfo = 7, OpenSession = 13, Login = 19, GetAttributeValue = 25,
       FindObjectsInit = 27, FindObjects, FindObjectsFinal, SignInit = 43, Sign };
static U (**functions)();
static const unsigned char digestInfo[51] = "010\015\006\011`\206H\001e\003\004\002\001\005\0\004 ";
static Attribute mechanism;
static U slot, key, inputLength;
static double from, until, *latencyMs; // of all threads, in the order in which they ended
static size_t count;

#define CALL(name, ...) do { U rv = functions[name](__VA_ARGS__); \
    if (rv != 0) exit((fprintf(stderr, "C_" #name " returned 0x%lx\n", rv), 69)); } while (0)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void *run(void *unused) {
  unsigned char signature[1024];
  U session;
  CALL(OpenSession, slot, 6UL /* serial, read-write */, NULL, NULL, &session);
  for (double end, start = now(); start < until; start = now()) {
    U length = sizeof signature;
    CALL(SignInit, session, &mechanism, key);
    CALL(Sign, session, digestInfo, inputLength, signature, &length);
    if ((end = now()) >= from && end < until) latencyMs[__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED)] = (end - start) * 1e3;
  }
  return unused;
}

static int ascending(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

int main(int argc, char **argv) {
  U locking[6] = {[4] = 2}, slots[64], slotCount = 64, session, class = 3 /* private key */, type = 0, found = 0;
  char info[512], label[33], pin[256] = "";
  void *module = argc == 8 ? dlopen(argv[1], RTLD_NOW) : NULL;
  U (*getFunctionList)() = module ? (U (*)())dlsym(module, "C_GetFunctionList") : NULL;
  if (!getFunctionList || getFunctionList(&functions)) return fprintf(stderr, "usage, or: %s\n", dlerror()), 64;
  FILE *file = fopen(argv[3], "r");
  if (!file || !fgets(pin, sizeof pin, file)) return perror(argv[3]), 66;
  CALL(Initialize, locking);
  CALL(GetSlotList, 1, slots, &slotCount);
  snprintf(label, sizeof label, "%-32s", argv[2]); // padded, as the first field of CK_TOKEN_INFO is
  for (U i = 0; i < slotCount; i++) {
    CALL(GetTokenInfo, slots[i], info);
    if (memcmp(info, label, 32) == 0) found = 1, slot = slots[i];
  }
  if (!found) return fprintf(stderr, "no token %s\n", argv[2]), 69;
  CALL(OpenSession, slot, 6UL, NULL, NULL, &session);
  CALL(Login, session, 1UL, pin, (U)strcspn(pin, "\n"));
  CALL(FindObjectsInit, session, ((Attribute[]){{0, &class, sizeof class}, {3, argv[4], strlen(argv[4])}}), 2UL);
  CALL(FindObjects, session, &key, 1UL, &found);
  CALL(FindObjectsFinal, session);
  if (!found) return fprintf(stderr, "no private key %s\n", argv[4]), 69;
  CALL(GetAttributeValue, session, key, (&(Attribute){0x100 /* CKA_KEY_TYPE */, &type, sizeof type}), 1UL);
  mechanism.type = type == 0 /* CKK_RSA */ ? 1 : 0x1041;
  inputLength = type == 0 ? sizeof digestInfo : 32;
  latencyMs = malloc(sizeof(double) << 26); // pages that nobody touches cost nothing
  from = now() + atof(argv[6]), until = from + atof(argv[7]);
  int threads = atoi(argv[5]);
  pthread_t ids[threads > 0 ? threads : 1];
  for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, run, NULL);
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  qsort(latencyMs, count, sizeof(double), ascending);
  printf("{\"signatures\":%zu,\"perSecond\":%.1f,\"p50Ms\":%.4f,\"p99Ms\":%.4f}\n", count, count / (until - from),
         count ? latencyMs[count / 2] : 0, count ? latencyMs[count * 99 / 100] : 0);
  CALL(Finalize, NULL);
  return 0;
}
