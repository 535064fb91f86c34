// A PKCS#11 module that passes every call on to a real one and misbehaves on command.
//
//   SEALGATE_FAULTS_MODULE    path of the real module
//   SEALGATE_FAULTS_CONTROL   path of the control file; read again whenever it changes, no file = no faults
//   SEALGATE_FAULTS_LOG       if set, one line `<pid> <call> <return value>` per call is appended to this
//   file
//
// `sealgate drill` builds it, prints what a host needs to load it, and writes the control file from rules in words
// for people (rules.ts); the tests write it themselves. One rule per line, `#` starts a comment. All rules that
// match a call apply, in order:
//
//   <call or *> delay <us>[-<us>]     wait, fixed or random
//   <call or *> rv <number>           fail without asking the real module
//   <call or *> hang                  never return
//   <call or *> crash                 segmentation fault
//   <call or *> exit <status>         end the process
//   C_Sign wrong                      turn one bit of the signature
//   C_Sign short                      return one byte less
//   C_Sign rate <per second>          past it CKR_FUNCTION_FAILED, like a throttled CloudHSM
//   C_OpenSession cap <n>             CKR_SESSION_COUNT for more than n open sessions
//   C_OpenSession read-only-refused   CKR_TOKEN_WRITE_PROTECTED unless the session is read-write
//   C_GetTokenInfo flags <number>     these CKF_* as well
//   * removed                         no slot has a token, and whatever needs one gets CKR_TOKEN_NOT_PRESENT
//   * reboot <n>                      when n has changed: all sessions and objects of before are invalid
//   * logout <n>                      when n has changed: nobody is logged in any more
//
// each followed by nothing (always), `times <n>` (n calls of this process since the file was read), `after <n>`
// (all calls of this process but the first n), `probability <p>`, or for C_SignInit `mechanism <number>` (keys of one kind).
//
// Threads: any number may call at once, and no lock is held while a rule waits, so that sessions run in parallel
// as with a networked HSM. The rules are an immutable list behind an atomic pointer; a list that was replaced
// may still be in use and is never freed (a test changes its rules a few times).

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pkcs11.h"

typedef struct Rule {
  struct Rule *next;
  char call[32];
  char effect[24];
  double from;  // delay: us; rv, exit, flags, cap, rate, reboot, logout: the number
  double to;
  atomic_long spared;  // calls it does not apply to yet
  atomic_long left;    // calls it still applies to
  double probability;  // 1: always
  CK_ULONG mechanism;  // of a C_SignInit; kAnyMechanism: whatever the call
} Rule;

typedef struct {
  Rule *first;
} Plan;

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;
static _Atomic(Plan *) current;
static atomic_llong checked_at_us;
static pthread_mutex_t checking = PTHREAD_MUTEX_INITIALIZER;
static struct timespec loaded_mtime;
static ino_t loaded_inode;  // clocks of file systems are coarse; a file that was replaced has another inode
static atomic_long open_sessions;
static atomic_ulong epoch;      // the reboots so far
static atomic_ulong logouts;    // the logouts so far
static atomic_ulong last_slot;  // of the last C_OpenSession
static atomic_ulong last_session;
static atomic_llong rate_window_us;
static atomic_long rate_count;

static _Thread_local CK_ULONG asked_mechanism;  // of the C_SignInit that runs now

static const CK_ULONG kAnyMechanism = ~0UL;
static const long long kCheckIntervalUs = 2000;
static const int kEpochShift = 48;  // of a handle; real handles are small

static long long NowUs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void SleepUs(long long us) {
  if (us <= 0) return;  // a sleep of nothing still takes 50 us
  struct timespec rest = {us / 1000000, (us % 1000000) * 1000};
  while (nanosleep(&rest, &rest) != 0) {
  }
}

static double Random(void) {
  static _Thread_local uint64_t state;
  if (state == 0) state = (uint64_t)NowUs() * 2654435761U ^ (uintptr_t)&state;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (double)(state >> 11) / 9007199254740992.0;
}

// ---- The control file ----

static Rule *ParseRule(char *line) {
  char *save = NULL;
  char *call = strtok_r(line, " \t\r\n", &save);
  if (call == NULL || call[0] == '#') return NULL;
  char *effect = strtok_r(NULL, " \t\r\n", &save);
  if (effect == NULL) return NULL;
  Rule *rule = calloc(1, sizeof *rule);
  snprintf(rule->call, sizeof rule->call, "%s", call);
  snprintf(rule->effect, sizeof rule->effect, "%s", effect);
  rule->probability = 1;
  rule->mechanism = kAnyMechanism;
  atomic_init(&rule->spared, 0);
  atomic_init(&rule->left, -1);
  for (char *word = strtok_r(NULL, " \t\r\n", &save); word != NULL; word = strtok_r(NULL, " \t\r\n", &save)) {
    if (word[0] == '#') break;
    if (strcmp(word, "times") == 0 || strcmp(word, "after") == 0 || strcmp(word, "probability") == 0 ||
        strcmp(word, "mechanism") == 0) {
      char *value = strtok_r(NULL, " \t\r\n", &save);
      if (value == NULL) break;
      if (word[0] == 't') {
        atomic_init(&rule->left, atol(value));
      } else if (word[0] == 'a') {
        atomic_init(&rule->spared, atol(value));
      } else if (word[0] == 'm') {
        rule->mechanism = strtoul(value, NULL, 0);
      } else {
        rule->probability = atof(value);
      }
      continue;
    }
    char *end = NULL;
    rule->from = strtod(word, &end);
    rule->to = *end == '-' ? strtod(end + 1, NULL) : rule->from;
  }
  return rule;
}

static Plan *ReadPlan(const char *path) {
  Plan *plan = calloc(1, sizeof *plan);
  FILE *file = fopen(path, "re");
  if (file == NULL) return plan;
  Rule **tail = &plan->first;
  char line[256];
  while (fgets(line, sizeof line, file) != NULL) {
    Rule *rule = ParseRule(line);
    if (rule == NULL) continue;
    *tail = rule;
    tail = &rule->next;
  }
  fclose(file);
  return plan;
}

// `reboot` and `logout` are events, not states: they happen once, when their number changes.
static void ApplyEvents(const Plan *plan) {
  for (const Rule *rule = plan->first; rule != NULL; rule = rule->next) {
    unsigned long number = (unsigned long)rule->from;
    if (strcmp(rule->effect, "reboot") == 0 && atomic_exchange(&epoch, number) != number) {
      real->C_CloseAllSessions(atomic_load(&last_slot));
      atomic_store(&open_sessions, 0);
    }
    if (strcmp(rule->effect, "logout") == 0 && atomic_exchange(&logouts, number) != number) {
      real->C_Logout(atomic_load(&last_session));
    }
  }
}

// Under the lock.
static void CheckFile(void) {
  const char *path = getenv("SEALGATE_FAULTS_CONTROL");
  struct stat status = {0};
  if (path != NULL) stat(path, &status);
  if (status.st_mtim.tv_sec == loaded_mtime.tv_sec && status.st_mtim.tv_nsec == loaded_mtime.tv_nsec &&
      status.st_ino == loaded_inode)
    return;
  loaded_mtime = status.st_mtim;
  loaded_inode = status.st_ino;
  Plan *plan = ReadPlan(path);
  atomic_store(&current, plan);
  ApplyEvents(plan);
}

// At most every 2 ms, by one thread: a stat() is cheap, but not as cheap as a call it would be added to. The others wait
// for what it finds, so that a call that begins 2 ms after the file was replaced sees it.
static Plan *CurrentPlan(void) {
  if (NowUs() - atomic_load(&checked_at_us) >= kCheckIntervalUs) {
    pthread_mutex_lock(&checking);
    long long now = NowUs();
    if (now - atomic_load(&checked_at_us) >= kCheckIntervalUs) {
      CheckFile();
      atomic_store(&checked_at_us, now);
    }
    pthread_mutex_unlock(&checking);
  }
  return atomic_load(&current);
}

// ---- Rules and calls ----

static bool Applies(Rule *rule, const char *call) {
  if (strcmp(rule->call, "*") != 0 && strcmp(rule->call, call) != 0) return false;
  if (rule->mechanism != kAnyMechanism && rule->mechanism != asked_mechanism) return false;
  if (rule->probability < 1 && Random() >= rule->probability) return false;
  if (atomic_load(&rule->spared) > 0 && atomic_fetch_sub(&rule->spared, 1) > 0) return false;
  if (atomic_load(&rule->left) < 0) return true;
  // Counts down to 0 exactly, also when several threads meet here.
  long left = atomic_load(&rule->left);
  while (left > 0 && !atomic_compare_exchange_weak(&rule->left, &left, left - 1)) {
  }
  return left > 0;
}

static const Rule *FindRule(const char *call, const char *effect) {
  Plan *plan = CurrentPlan();
  if (plan == NULL) return NULL;
  for (Rule *rule = plan->first; rule != NULL; rule = rule->next) {
    if (strcmp(rule->effect, effect) == 0 && Applies(rule, call)) return rule;
  }
  return NULL;
}

static void Log(const char *call, CK_RV rv) {
  const char *path = getenv("SEALGATE_FAULTS_LOG");
  if (path == NULL) return;
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  dprintf(fd, "%d %s 0x%lx\n", (int)getpid(), call, rv);
  close(fd);
}

// What every call goes through. Returns what it is to fail with, or CKR_OK to go on.
static CK_RV Faults(const char *call) {
  Plan *plan = CurrentPlan();
  CK_RV rv = CKR_OK;
  for (Rule *rule = plan == NULL ? NULL : plan->first; rule != NULL && rv == CKR_OK; rule = rule->next) {
    const char *effect = rule->effect;
    bool ours = strcmp(effect, "delay") == 0 || strcmp(effect, "rv") == 0 || strcmp(effect, "hang") == 0 ||
                strcmp(effect, "crash") == 0 || strcmp(effect, "exit") == 0 || strcmp(effect, "removed") == 0;
    if (!ours || !Applies(rule, call)) continue;
    if (strcmp(effect, "delay") == 0) SleepUs((long long)(rule->from + Random() * (rule->to - rule->from)));
    if (strcmp(effect, "rv") == 0) rv = (CK_RV)rule->from;
    // The module starts and ends without a token; everything else needs one.
    bool needs_token = strcmp(call, "C_Initialize") != 0 && strcmp(call, "C_Finalize") != 0;
    if (strcmp(effect, "removed") == 0 && needs_token) rv = CKR_TOKEN_NOT_PRESENT;
    if (strcmp(effect, "exit") == 0) _exit((int)rule->from);
    if (strcmp(effect, "crash") == 0) raise(SIGSEGV);
    while (strcmp(effect, "hang") == 0) SleepUs(1000000);
  }
  if (rv != CKR_OK) Log(call, rv);
  return rv;
}

// Handles carry the number of the reboot they were made after, so that those of before are recognised.
static CK_ULONG Tag(CK_ULONG handle) { return handle | (atomic_load(&epoch) << kEpochShift); }
static CK_ULONG Untag(CK_ULONG handle) { return handle & ((1UL << kEpochShift) - 1); }
static bool Stale(CK_ULONG handle) { return handle >> kEpochShift != (atomic_load(&epoch) & 0xffff); }

#define RETURN_FAULT(call)             \
  do {                                 \
    CK_RV fault = Faults(call);        \
    if (fault != CKR_OK) return fault; \
  } while (0)

#define RETURN_LOGGED(call, expression) \
  do {                                  \
    CK_RV result = (expression);        \
    Log(call, result);                  \
    return result;                      \
  } while (0)

#define RETURN_IF_STALE(session) \
  if (Stale(session)) return CKR_SESSION_HANDLE_INVALID

static CK_RV Initialize(CK_VOID_PTR args) {
  RETURN_FAULT("C_Initialize");
  RETURN_LOGGED("C_Initialize", real->C_Initialize(args));
}

static CK_RV Finalize(CK_VOID_PTR reserved) {
  RETURN_FAULT("C_Finalize");
  RETURN_LOGGED("C_Finalize", real->C_Finalize(reserved));
}

static CK_RV GetSlotList(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count) {
  CK_RV fault = Faults("C_GetSlotList");
  if (fault == CKR_TOKEN_NOT_PRESENT) {
    *count = 0;
    return CKR_OK;
  }
  if (fault != CKR_OK) return fault;
  RETURN_LOGGED("C_GetSlotList", real->C_GetSlotList(present, slots, count));
}

static CK_RV GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
  RETURN_FAULT("C_GetTokenInfo");
  CK_RV rv = real->C_GetTokenInfo(slot, info);
  const Rule *flags = FindRule("C_GetTokenInfo", "flags");
  if (rv == CKR_OK && flags != NULL) info->flags |= (CK_FLAGS)flags->from;
  RETURN_LOGGED("C_GetTokenInfo", rv);
}

static CK_RV OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_VOID_PTR notify,
                         CK_SESSION_HANDLE *session) {
  RETURN_FAULT("C_OpenSession");
  const Rule *cap = FindRule("C_OpenSession", "cap");
  if (cap != NULL && atomic_load(&open_sessions) >= (long)cap->from)
    RETURN_LOGGED("C_OpenSession", CKR_SESSION_COUNT);
  bool read_write = (flags & CKF_RW_SESSION) != 0;
  if (!read_write && FindRule("C_OpenSession", "read-only-refused") != NULL) {
    RETURN_LOGGED("C_OpenSession", CKR_TOKEN_WRITE_PROTECTED);
  }
  CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
  if (rv == CKR_OK) {
    atomic_fetch_add(&open_sessions, 1);
    atomic_store(&last_slot, slot);
    atomic_store(&last_session, *session);
    *session = Tag(*session);
  }
  RETURN_LOGGED("C_OpenSession", rv);
}

static CK_RV CloseSession(CK_SESSION_HANDLE session) {
  RETURN_FAULT("C_CloseSession");
  RETURN_IF_STALE(session);
  CK_RV rv = real->C_CloseSession(Untag(session));
  if (rv == CKR_OK) atomic_fetch_sub(&open_sessions, 1);
  RETURN_LOGGED("C_CloseSession", rv);
}

static CK_RV CloseAllSessions(CK_SLOT_ID slot) {
  RETURN_FAULT("C_CloseAllSessions");
  atomic_store(&open_sessions, 0);
  RETURN_LOGGED("C_CloseAllSessions", real->C_CloseAllSessions(slot));
}

static CK_RV GetSessionInfo(CK_SESSION_HANDLE session, CK_VOID_PTR info) {
  RETURN_FAULT("C_GetSessionInfo");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_GetSessionInfo", real->C_GetSessionInfo(Untag(session), info));
}

static CK_RV Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG pin_bytes) {
  RETURN_FAULT("C_Login");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_Login", real->C_Login(Untag(session), user, pin, pin_bytes));
}

static CK_RV Logout(CK_SESSION_HANDLE session) {
  RETURN_FAULT("C_Logout");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_Logout", real->C_Logout(Untag(session)));
}

static CK_RV GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_VOID_PTR attributes,
                               CK_ULONG count) {
  RETURN_FAULT("C_GetAttributeValue");
  RETURN_IF_STALE(session);
  if (Stale(object)) return CKR_OBJECT_HANDLE_INVALID;
  RETURN_LOGGED("C_GetAttributeValue",
                real->C_GetAttributeValue(Untag(session), Untag(object), attributes, count));
}

static CK_RV FindObjectsInit(CK_SESSION_HANDLE session, CK_VOID_PTR attributes, CK_ULONG count) {
  RETURN_FAULT("C_FindObjectsInit");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_FindObjectsInit", real->C_FindObjectsInit(Untag(session), attributes, count));
}

static CK_RV FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                         CK_ULONG *count) {
  RETURN_FAULT("C_FindObjects");
  RETURN_IF_STALE(session);
  CK_RV rv = real->C_FindObjects(Untag(session), objects, max, count);
  for (CK_ULONG i = 0; rv == CKR_OK && i < *count; i++) objects[i] = Tag(objects[i]);
  RETURN_LOGGED("C_FindObjects", rv);
}

static CK_RV FindObjectsFinal(CK_SESSION_HANDLE session) {
  RETURN_FAULT("C_FindObjectsFinal");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_FindObjectsFinal", real->C_FindObjectsFinal(Untag(session)));
}

static CK_RV DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  RETURN_FAULT("C_DestroyObject");
  RETURN_IF_STALE(session);
  if (Stale(object)) return CKR_OBJECT_HANDLE_INVALID;
  RETURN_LOGGED("C_DestroyObject", real->C_DestroyObject(Untag(session), Untag(object)));
}

static CK_RV GenerateKey(CK_SESSION_HANDLE session, CK_VOID_PTR mechanism, CK_VOID_PTR attributes,
                         CK_ULONG count, CK_OBJECT_HANDLE *key) {
  RETURN_FAULT("C_GenerateKey");
  RETURN_IF_STALE(session);
  CK_RV rv = real->C_GenerateKey(Untag(session), mechanism, attributes, count, key);
  if (rv == CKR_OK) *key = Tag(*key);
  RETURN_LOGGED("C_GenerateKey", rv);
}

static CK_RV GenerateKeyPair(CK_SESSION_HANDLE session, CK_VOID_PTR mechanism, CK_VOID_PTR public_attributes,
                             CK_ULONG public_count, CK_VOID_PTR private_attributes, CK_ULONG private_count,
                             CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key) {
  RETURN_FAULT("C_GenerateKeyPair");
  RETURN_IF_STALE(session);
  CK_RV rv = real->C_GenerateKeyPair(Untag(session), mechanism, public_attributes, public_count,
                                     private_attributes, private_count, public_key, private_key);
  if (rv == CKR_OK) {
    *public_key = Tag(*public_key);
    *private_key = Tag(*private_key);
  }
  RETURN_LOGGED("C_GenerateKeyPair", rv);
}

static CK_RV EncryptInit(CK_SESSION_HANDLE session, CK_VOID_PTR mechanism, CK_OBJECT_HANDLE key) {
  RETURN_FAULT("C_EncryptInit");
  RETURN_IF_STALE(session);
  if (Stale(key)) return CKR_KEY_HANDLE_INVALID;
  RETURN_LOGGED("C_EncryptInit", real->C_EncryptInit(Untag(session), mechanism, Untag(key)));
}

static CK_RV Encrypt(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_bytes, CK_BYTE *output,
                     CK_ULONG *output_bytes) {
  RETURN_FAULT("C_Encrypt");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_Encrypt", real->C_Encrypt(Untag(session), data, data_bytes, output, output_bytes));
}

static CK_RV DecryptInit(CK_SESSION_HANDLE session, CK_VOID_PTR mechanism, CK_OBJECT_HANDLE key) {
  RETURN_FAULT("C_DecryptInit");
  RETURN_IF_STALE(session);
  if (Stale(key)) return CKR_KEY_HANDLE_INVALID;
  RETURN_LOGGED("C_DecryptInit", real->C_DecryptInit(Untag(session), mechanism, Untag(key)));
}

static CK_RV Decrypt(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_bytes, CK_BYTE *output,
                     CK_ULONG *output_bytes) {
  RETURN_FAULT("C_Decrypt");
  RETURN_IF_STALE(session);
  RETURN_LOGGED("C_Decrypt", real->C_Decrypt(Untag(session), data, data_bytes, output, output_bytes));
}

static CK_RV SignInit(CK_SESSION_HANDLE session, CK_VOID_PTR mechanism, CK_OBJECT_HANDLE key) {
  asked_mechanism = *(const CK_ULONG *)mechanism;  // the first member of CK_MECHANISM
  RETURN_FAULT("C_SignInit");
  RETURN_IF_STALE(session);
  if (Stale(key)) return CKR_KEY_HANDLE_INVALID;
  RETURN_LOGGED("C_SignInit", real->C_SignInit(Untag(session), mechanism, Untag(key)));
}

static bool Throttled(void) {
  const Rule *rate = FindRule("C_Sign", "rate");
  if (rate == NULL) return false;
  long long now = NowUs();
  if (now - atomic_load(&rate_window_us) >= 100000) {
    atomic_store(&rate_window_us, now);
    atomic_store(&rate_count, 0);
  }
  return atomic_fetch_add(&rate_count, 1) >= (long)(rate->from / 10);
}

static CK_RV Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_bytes, CK_BYTE *signature,
                  CK_ULONG *signature_bytes) {
  RETURN_FAULT("C_Sign");
  RETURN_IF_STALE(session);
  if (Throttled()) RETURN_LOGGED("C_Sign", CKR_FUNCTION_FAILED);
  CK_RV rv = real->C_Sign(Untag(session), data, data_bytes, signature, signature_bytes);
  if (rv == CKR_OK && signature != NULL) {
    if (FindRule("C_Sign", "wrong") != NULL) signature[*signature_bytes / 2] ^= 1;
    if (FindRule("C_Sign", "short") != NULL) *signature_bytes -= 1;
  }
  RETURN_LOGGED("C_Sign", rv);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **functions);

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **functions) {
  if (real == NULL) {
    const char *path = getenv("SEALGATE_FAULTS_MODULE");
    void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get_list)(CK_FUNCTION_LIST **) = NULL;
    if (module != NULL) *(void **)&get_list = dlsym(module, "C_GetFunctionList");
    if (get_list == NULL || get_list(&real) != CKR_OK) {
      fprintf(stderr, "p11-faults: SEALGATE_FAULTS_MODULE: %s\n", path == NULL ? "not set" : dlerror());
      return CKR_GENERAL_ERROR;
    }
    list = *real;
    list.C_Initialize = Initialize;
    list.C_Finalize = Finalize;
    list.C_GetFunctionList = (void *)C_GetFunctionList;
    list.C_GetSlotList = GetSlotList;
    list.C_GetTokenInfo = GetTokenInfo;
    list.C_OpenSession = OpenSession;
    list.C_CloseSession = CloseSession;
    list.C_CloseAllSessions = CloseAllSessions;
    list.C_GetSessionInfo = GetSessionInfo;
    list.C_Login = Login;
    list.C_Logout = Logout;
    list.C_GetAttributeValue = GetAttributeValue;
    list.C_FindObjectsInit = FindObjectsInit;
    list.C_FindObjects = FindObjects;
    list.C_FindObjectsFinal = FindObjectsFinal;
    list.C_DestroyObject = DestroyObject;
    list.C_GenerateKey = GenerateKey;
    list.C_GenerateKeyPair = GenerateKeyPair;
    list.C_EncryptInit = EncryptInit;
    list.C_Encrypt = Encrypt;
    list.C_DecryptInit = DecryptInit;
    list.C_Decrypt = Decrypt;
    list.C_SignInit = SignInit;
    list.C_Sign = Sign;
  }
  *functions = &list;
  return CKR_OK;
}
