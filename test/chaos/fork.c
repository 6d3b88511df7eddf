/*
 * fork() for Node.js, so that chaos can kill processes by the thousand: a child begins with all code loaded, which
 * is most of what a start costs. Serves one purpose under strict conditions, which `nursery.ts` keeps:
 *
 * - the parent runs V8 without threads of its own (--single-threaded), because a child has none but the caller's
 * - the parent holds no connection and has drawn no random number: a child shares nothing but code and log files
 *
 * Built without headers: of Node-API and libuv only what is declared here is used, and both are stable.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

typedef void *napi_env, *napi_value, *napi_callback_info;
typedef int napi_status;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

extern napi_status napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern napi_status napi_create_int32(napi_env, int, napi_value *);
extern napi_status napi_create_object(napi_env, napi_value *);
extern napi_status napi_get_uv_event_loop(napi_env, void **);
extern int uv_loop_fork(void *);

static napi_value number(napi_env env, int value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

/* V8 marks its heap MADV_DONTFORK: without this a child would start with holes where its objects are. */
static void let_all_pages_fork(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[1024], mode[8];
  unsigned long start, end;
  if (maps == NULL) return;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3 && mode[3] == 'p')
      madvise((void *)start, end - start, MADV_DOFORK);
  }
  fclose(maps);
}

/* fork(): in the parent the child's id, in the child its own id negated, 0 where there is no child. */
static napi_value fork_here(napi_env env, napi_callback_info info) {
  void *loop = NULL;
  pid_t pid;
  (void)info;
  if (napi_get_uv_event_loop(env, &loop) != 0) return number(env, 0);
  let_all_pages_fork();
  pid = fork();
  if (pid == 0) {
    /* The parent's epoll must not be shared. */
    if (uv_loop_fork(loop) != 0) _exit(70);
    return number(env, -(int)getpid());
  }
  return number(env, pid > 0 ? (int)pid : 0);
}

/* reap(): one child that has ended, as {pid, signal, code}; pid 0 where none has. */
static napi_value reap(napi_env env, napi_callback_info info) {
  int status = 0;
  napi_value death = NULL;
  pid_t pid = waitpid(-1, &status, WNOHANG);
  (void)info;
  napi_create_object(env, &death);
  napi_set_named_property(env, death, "pid", number(env, pid > 0 ? (int)pid : 0));
  napi_set_named_property(env, death, "signal", number(env, WIFSIGNALED(status) ? WTERMSIG(status) : 0));
  napi_set_named_property(env, death, "code", number(env, WIFEXITED(status) ? WEXITSTATUS(status) : 0));
  return death;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function = NULL;
  napi_create_function(env, "fork", 4, fork_here, NULL, &function);
  napi_set_named_property(env, exports, "fork", function);
  napi_create_function(env, "reap", 4, reap, NULL, &function);
  napi_set_named_property(env, exports, "reap", function);
  return exports;
}
