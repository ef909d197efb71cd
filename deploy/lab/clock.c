/* Shift the wall clock in every process that preloads this library, by the nanoseconds in the file
 * VOLLEY_LAB_CLOCK_FILE (eight bytes). A change of the file steps the clock. Monotonic clocks stay correct.
 *
 *     cc -shared -fPIC -O2 -o clock.so clock.c -ldl
 *
 * It is small on purpose. With libfaketime, h2load's allocator deadlocks at the start, and select()
 * and poll() sometimes fail with EINVAL. This library never allocates and changes only the wall clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile long long *mapped(void) {
  static const long long none = 0;
  const char *path = getenv("VOLLEY_LAB_CLOCK_FILE");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return &none;
  void *memory = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? &none : memory;
}

static long long offset(void) {
  static const volatile long long *shared;
  if (!shared) shared = mapped();
  return *shared;
}

static void shift(struct timespec *t, long long by) {
  long long ns = t->tv_sec * SECOND + t->tv_nsec + by;
  t->tv_sec = ns / SECOND;
  t->tv_nsec = ns % SECOND;
}

static int wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec *t) {
  int result = syscall(SYS_clock_gettime, clock, t);
  if (result == 0 && wall(clock)) shift(t, offset());
  return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *t, int base) {
  clock_gettime(CLOCK_REALTIME, t);
  return base;
}

/* Waiting until an instant of the wall clock: the kernel expects the correct one. */

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
  struct timespec t = *until;
  if ((flags & TIMER_ABSTIME) && wall(clock)) shift(&t, -offset());
  long result = syscall(SYS_clock_nanosleep, clock, flags, &t, left);
  return result == 0 ? 0 : 4 /* EINTR */;
}

/* A value this large is an instant of the wall clock, not of the machine's uptime. */
static struct timespec true_instant(const struct timespec *until) {
  struct timespec t = *until;
  if (t.tv_sec > 1000000000) shift(&t, -offset());
  return t;
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict until) {
  static int (*real)(sem_t *, const struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
  struct timespec t = true_instant(until);
  return real(s, &t);
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict until) {
  static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  struct timespec t = true_instant(until);
  return real(c, m, &t);
}
