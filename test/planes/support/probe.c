/*
 * What a process of a container can do, told from inside its namespaces, without a program of ours in its image:
 *
 *   probe PID UID connect ADDRESS:PORT…    → a line for each: connected, or the error's name
 *   probe PID UID write PATH               → written, or the error's name
 *   probe PID UID exec FOLDER              → executed, or the error's name: a copy of this program, run from there
 *   probe PID UID fill PATH MEBIBYTES      → the error's name with which it ends, or filled; the file is removed
 *   probe PID UID remember MEBIBYTES       → survived; a limit kills it before
 *   probe PID UID fork COUNT               → how many processes there came to be
 *   probe PID UID work MILLISECONDS COUNT  → worked; so many processes do nothing but work, for so long
 *
 * It enters the cgroups of PID (their limits hold for it), the mount, network and IPC namespaces, and becomes UID
 * without a single capability, as the container's own process is. Static: it needs nothing of the image.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 2000
#define CONNECTIONS_MAX 256
#define MEBIBYTE (1024 * 1024)
#define EXECUTED 42

static void fail(const char *what)
{
  fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
  exit(2);
}

static void tell(const char *outcome)
{
  puts(outcome);
  exit(0);
}


static const char *name_of(int error)
{
  const char *name = strerrorname_np(error);
  return name == NULL ? "unknown" : name;
}

/* A connection under way, or the error with which it could not even begin. */
static int begin_connect(char *target, int *error)
{
  char *colon = strchr(target, ':');
  if (colon == NULL)
    fail(target);
  *colon = '\0';
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
  if (inet_pton(AF_INET, target, &peer.sin_addr) != 1)
    fail(target);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0)
    fail("socket");
  *error = connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0 ? 0 : errno;
  return fd;
}

/* All at once, within one time. */
static void connect_to(char **targets, int count)
{
  int errors[CONNECTIONS_MAX];
  struct pollfd waiting[CONNECTIONS_MAX];
  if (count > CONNECTIONS_MAX)
    fail("too many targets");
  for (int at = 0; at < count; at++)
    waiting[at] = (struct pollfd){.fd = begin_connect(targets[at], &errors[at]), .events = POLLOUT};
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int open = count, left_ms = CONNECT_TIMEOUT_MS; open > 0 && left_ms > 0;) {
    poll(waiting, (nfds_t)count, left_ms);
    open = 0;
    for (int at = 0; at < count; at++) {
      socklen_t length = sizeof errors[at];
      if (errors[at] == EINPROGRESS && waiting[at].revents != 0)
        getsockopt(waiting[at].fd, SOL_SOCKET, SO_ERROR, &errors[at], &length);
      if (errors[at] == EINPROGRESS)
        open++;
      else
        waiting[at].fd = -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    left_ms = CONNECT_TIMEOUT_MS - (int)((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000);
  }
  for (int at = 0; at < count; at++)
    puts(errors[at] == 0 ? "connected" : name_of(errors[at] == EINPROGRESS ? ETIMEDOUT : errors[at]));
}

static void tell_error(int error)
{
  tell(name_of(error));
}

static void write_to(const char *path)
{
  int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
  if (fd < 0)
    tell_error(errno);
  ssize_t written = write(fd, "x", 1);
  int error = errno;
  close(fd);
  unlink(path);
  if (written != 1)
    tell_error(error);
  tell("written");
}

static void exec_from(const char *folder, int self)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/probe-copy", folder);
  int copy = open(path, O_CREAT | O_WRONLY | O_EXCL, 0700);
  if (copy < 0)
    tell_error(errno);
  char buffer[65536];
  for (ssize_t length; (length = read(self, buffer, sizeof buffer)) > 0;)
    if (write(copy, buffer, (size_t)length) != length)
      tell_error(errno);
  close(copy);
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, "executed", NULL);
    _exit(errno);
  }
  int status;
  waitpid(child, &status, 0);
  unlink(path);
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXECUTED)
    tell("executed");
  tell_error(WIFEXITED(status) ? WEXITSTATUS(status) : EINTR);
}

static void fill(const char *path, long mebibytes)
{
  static char block[MEBIBYTE];
  memset(block, 'x', sizeof block);
  int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
  if (fd < 0)
    tell_error(errno);
  int error = 0;
  for (long written = 0; written < mebibytes && error == 0; written++)
    for (size_t at = 0; at < sizeof block && error == 0;) {
      ssize_t length = write(fd, block + at, sizeof block - at);
      if (length < 0)
        error = errno;
      else
        at += (size_t)length;
    }
  close(fd);
  unlink(path);
  if (error != 0)
    tell_error(error);
  tell("filled");
}

static void remember(long mebibytes)
{
  for (long held = 0; held < mebibytes; held++) {
    char *block = malloc(MEBIBYTE);
    if (block == NULL)
      tell_error(errno);
    memset(block, (int)held, MEBIBYTE);
  }
  tell("survived");
}

static void fork_many(long count)
{
  long forked = 0;
  for (; forked < count; forked++) {
    pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    if (child < 0)
      break;
  }
  signal(SIGTERM, SIG_IGN);
  kill(0, SIGTERM);
  while (wait(NULL) > 0)
    ;
  printf("%ld\n", forked);
  exit(0);
}

static void work(long milliseconds, long count)
{
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  int is_first = 1;
  for (long other = 1; other < count && is_first; other++)
    is_first = fork() != 0;
  do
    clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < milliseconds);
  if (!is_first)
    _exit(0);
  while (wait(NULL) > 0)
    ;
  tell("worked");
}

/* Every line of PID's cgroup file names a controller and a folder; version 2 has one line, 0::FOLDER. */
static void enter_cgroups(const char *pid)
{
  char path[256], line[4096];
  snprintf(path, sizeof path, "/proc/%s/cgroup", pid);
  FILE *lines = fopen(path, "re");
  if (lines == NULL)
    fail("cgroup");
  while (fgets(line, sizeof line, lines) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *folder = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (folder == NULL)
      continue;
    *folder++ = '\0';
    controllers++;
    if (strncmp(controllers, "name=", 5) == 0)
      controllers += 5;
    char procs[8192];
    snprintf(procs, sizeof procs, "/sys/fs/cgroup/%s%s/cgroup.procs", controllers, folder);
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      continue;
    if (dprintf(fd, "%d", (int)getpid()) < 0)
      fail(procs);
    close(fd);
  }
  fclose(lines);
}

static void enter(const char *pid, const char *name)
{
  char path[256];
  snprintf(path, sizeof path, "/proc/%s/ns/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, 0) != 0)
    fail(path);
  close(fd);
}

static void become(uid_t user)
{
  for (int capability = 0; capability <= 63; capability++)
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  if (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
    fail("setresuid");
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int main(int count, char **words)
{
  if (count == 2 && strcmp(words[1], "executed") == 0)
    return EXECUTED;
  if (count < 5) {
    fprintf(stderr, "usage: see the head of probe.c\n");
    return 64;
  }
  const char *pid = words[1], *what = words[3], *subject = words[4];
  long number = count > 5 ? atol(words[5]) : 0;
  setpgid(0, 0);
  int self = open("/proc/self/exe", O_RDONLY);
  if (self < 0)
    fail("/proc/self/exe");
  enter_cgroups(pid);
  /* The namespace of mounts last: the paths of the others are this machine's. */
  int mounts;
  char path[256];
  snprintf(path, sizeof path, "/proc/%s/ns/mnt", pid);
  if ((mounts = open(path, O_RDONLY | O_CLOEXEC)) < 0)
    fail(path);
  enter(pid, "net");
  enter(pid, "ipc");
  if (setns(mounts, 0) != 0)
    fail(path);
  become((uid_t)atol(words[2]));

  if (strcmp(what, "connect") == 0) {
    connect_to(words + 4, count - 4);
    return 0;
  }
  if (strcmp(what, "write") == 0)
    write_to(subject);
  else if (strcmp(what, "exec") == 0)
    exec_from(subject, self);
  else if (strcmp(what, "fill") == 0)
    fill(subject, number);
  else if (strcmp(what, "remember") == 0)
    remember(atol(subject));
  else if (strcmp(what, "fork") == 0)
    fork_many(atol(subject));
  else if (strcmp(what, "work") == 0)
    work(atol(subject), number);
  errno = EINVAL;
  fail(what);
}
