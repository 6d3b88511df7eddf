/*
 * Runs the container's service: starts it, copies what it writes, passes signals on, asks whether it still answers,
 * and leaves nothing behind. One loop of poll; nothing in it waits for the service, for a reader or for a probe.
 */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  COPY_CAPACITY = 1024 * 1024,
  /* Free for our own messages, however much waits for a reader. */
  COPY_RESERVE = 8 * MESSAGE_LENGTH_MAX,
  READ_LENGTH_MAX = 64 * 1024,
  /* How long what was written may take to its reader once all has ended. */
  END_TIMEOUT_MS = 2000,
  /* Beyond its own deadline a probe gets this long: it may hang in a disk, where it cannot watch a clock. */
  PROBE_GRACE_MS = 1000,
};

static const int FORWARDED[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
enum { FORWARDED_COUNT = sizeof FORWARDED / sizeof FORWARDED[0] };

/* One of the service's two streams on its way to our own. */
struct copy {
  int from; /* -1 once the service has closed it */
  int to;
  bool to_is_socket, was_refused;
  bool mid_line; /* what was made ready last did not end its line */
  /* data[sent..ready) goes to `to`, and is in the log; data[ready..filled) waits for the end of its line. */
  size_t sent, ready, filled;
  char data[COPY_CAPACITY];
};

static struct {
  const struct run_options *options;
  struct copy output, errors;
  int signals;
  char **words;  /* what runs: the check first, if there is one, then the command */
  pid_t command; /* 0 once it has ended */
  int end_status; /* of waitpid; SIGKILL as long as it is not known */
  bool is_not_alive;
  int64_t started_at_ms;
  int64_t kill_at_ms; /* 0: nobody has asked us to stop */
  int64_t pass_on_at_ms; /* 0: no signal waits to be passed on */
  int stop_signal;
  int64_t end_at_ms;  /* 0: the service runs */
  bool has_children;
  struct {
    pid_t pid; /* 0: no probe is under way */
    int reason;
    bool is_late; /* it was counted, and killed */
    bool was_alive;
    uint64_t failures;
    int64_t next_at_ms, late_at_ms;
  } liveness;
} self;

static void say_on_stderr(const char *line, size_t length)
{
  struct copy *copy = &self.errors;
  /* After a line that stays unfinished, ours begins one of its own. */
  size_t line_end = copy->mid_line ? 1 : 0;
  if (copy->filled + length + line_end > COPY_CAPACITY)
    return;
  char *place = copy->data + copy->ready;
  memmove(place + line_end + length, place, copy->filled - copy->ready);
  if (line_end == 1)
    *place = '\n';
  memcpy(place + line_end, line, length);
  copy->ready += line_end + length;
  copy->filled += line_end + length;
  copy->mid_line = false;
}

static void say(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void write_to_log(const char *bytes, size_t length, bool begins_line)
{
  struct log_file *log = self.options->log;
  if (log == NULL || length == 0)
    return;
  struct reason why;
  enum log_event event = log_write(log, bytes, length, begins_line, &why);
  if (event == LOG_FAILED) {
    char text[sizeof why.text + 128], line[MESSAGE_LENGTH_MAX];
    snprintf(text, sizeof text, "the log file cannot be written, the service goes on without it: %s", why.text);
    say_on_stderr(line, format_message(line, "ERROR", text));
  } else if (event == LOG_RESUMED) {
    say("WARNING", "the log file is written again, %llu lines are missing in it",
        (unsigned long long)log->lines_missing);
  }
}

static void say(const char *level, const char *format, ...)
{
  char text[MESSAGE_LENGTH_MAX / 2], line[MESSAGE_LENGTH_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  size_t length = format_message(line, level, text);
  say_on_stderr(line, length);
  write_to_log(line, length, true);
}

/* A descriptor for one of our own streams that never blocks, while others who hold the stream see no change. */
static void open_destination(struct copy *copy, int fd)
{
  struct stat stream = {0};
  copy->to = fd;
  copy->to_is_socket = fstat(fd, &stream) == 0 && S_ISSOCK(stream.st_mode);
  if (!S_ISFIFO(stream.st_mode) && !S_ISCHR(stream.st_mode))
    return;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (own >= 0)
    copy->to = own;
  else
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void make_ready(struct copy *copy, size_t end)
{
  size_t begin = copy->ready;
  if (end == begin)
    return;
  bool begins_line = !copy->mid_line;
  copy->mid_line = copy->data[end - 1] != '\n';
  copy->ready = end;
  write_to_log(copy->data + begin, end - begin, begins_line);
}

/* Room for what the service writes; 0 stops reading, and so the service, until the reader has caught up. */
static size_t room_in(struct copy *copy)
{
  const size_t limit = COPY_CAPACITY - COPY_RESERVE;
  if (copy->sent > 0 && (copy->sent == copy->filled || copy->filled + READ_LENGTH_MAX > limit)) {
    memmove(copy->data, copy->data + copy->sent, copy->filled - copy->sent);
    copy->ready -= copy->sent;
    copy->filled -= copy->sent;
    copy->sent = 0;
  }
  /* A line longer than all of the room goes on its way in pieces. */
  if (copy->filled >= limit && copy->ready == 0)
    make_ready(copy, copy->filled);
  return copy->filled < limit ? limit - copy->filled : 0;
}

/* Takes what the service has written. False when there is nothing (more) to be had for now. */
static bool read_copy(struct copy *copy)
{
  size_t room = room_in(copy);
  if (copy->from < 0 || room == 0)
    return false;
  ssize_t count = read(copy->from, copy->data + copy->filled, room < READ_LENGTH_MAX ? room : READ_LENGTH_MAX);
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return false;
  if (count <= 0) {
    close(copy->from);
    copy->from = -1;
    make_ready(copy, copy->filled);
    return false;
  }
  const char *added = copy->data + copy->filled;
  copy->filled += (size_t)count;
  const char *line_end = memrchr(added, '\n', (size_t)count);
  if (line_end != NULL)
    make_ready(copy, (size_t)(line_end - copy->data) + 1);
  return true;
}

static void write_copy(struct copy *copy)
{
  size_t length = copy->ready - copy->sent;
  if (length == 0)
    return;
  const char *bytes = copy->data + copy->sent;
  ssize_t count = copy->to_is_socket ? send(copy->to, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                     : write(copy->to, bytes, length);
  if (count >= 0) {
    copy->sent += (size_t)count;
  } else if (errno != EAGAIN && errno != EINTR) {
    /* Nobody reads any more, or its disk is full: the service goes on, with its log file. */
    copy->sent = copy->ready;
    if (!copy->was_refused)
      say("ERROR", "%s cannot be written: %m", copy == &self.output ? "stdout" : "stderr");
    copy->was_refused = true;
  }
}

/* At the very end: what the pipe still holds, into the log at least, when nobody reads our own stream. */
static void drain_copy(struct copy *copy)
{
  do {
    copy->sent = copy->ready;
  } while (read_copy(copy));
  make_ready(copy, copy->filled);
  write_copy(copy);
}

static void exec_command(char **command, int output, int errors)
{
  sigset_t none;
  sigemptyset(&none);
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvp(command[0], command);
  int error = errno;
  char text[PATH_MAX], line[MESSAGE_LENGTH_MAX];
  snprintf(text, sizeof text, "%.1024s cannot be started: %m", command[0]);
  if (write(STDERR_FILENO, line, format_message(line, "ERROR", text)) < 0)
    _exit(EXIT_CANNOT_EXECUTE);
  _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE);
}

static bool start_command(char **command)
{
  self.words = command;
  int output[2], errors[2];
  if (pipe2(output, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0)
    return false;
  self.command = fork();
  if (self.command == 0)
    exec_command(command, output[1], errors[1]);
  close(output[1]);
  close(errors[1]);
  /* Our own ends alone: the service's stay as every program expects them. */
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  fcntl(errors[0], F_SETFL, O_NONBLOCK);
  self.output.from = output[0];
  self.errors.from = errors[0];
  return self.command > 0;
}

/*
 * As PID 1 of a container everything in it is ours. Elsewhere only our children are; theirs become ours, as we are
 * the subreaper, when they die: so it is called anew after each death until no child is left.
 */
static void kill_all(void)
{
  if (getpid() == 1) {
    kill(-1, SIGKILL);
    return;
  }
  if (self.command > 0)
    kill(-self.command, SIGKILL);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  FILE *children = fopen(path, "re");
  if (children == NULL)
    return;
  for (int child; fscanf(children, "%d", &child) == 1;)
    kill(child, SIGKILL);
  fclose(children);
}

static void begin_end(void)
{
  if (self.end_at_ms == 0)
    self.end_at_ms = now_ms() + END_TIMEOUT_MS;
  kill_all();
}

/* What the check has written, and no more of it: the command's streams come in the place of these. */
static void finish_copy(struct copy *copy)
{
  while (read_copy(copy))
    continue;
  if (copy->from < 0)
    return;
  close(copy->from);
  copy->from = -1;
  make_ready(copy, copy->filled);
}

static bool start_after_check(void)
{
  finish_copy(&self.output);
  finish_copy(&self.errors);
  if (!start_command(self.options->command)) {
    say("ERROR", "no process or descriptor to be had: %m");
    return false;
  }
  say("INFO", "%s runs as process %d", self.words[0], (int)self.command);
  return true;
}

static void command_ended(int status)
{
  bool was_check = self.words != self.options->command;
  self.command = 0;
  self.end_status = status;
  if (was_check && status == 0 && self.kill_at_ms == 0 && start_after_check())
    return;
  begin_end();
}

/* The last word, after all that the service wrote. */
static int say_end(void)
{
  const char *name = self.words[0];
  int status = self.end_status;
  int code = WIFSIGNALED(status) ? EXIT_SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
  const char *level = code == 0 || self.kill_at_ms > 0 || self.is_not_alive ? "INFO" : "ERROR";
  if (self.command > 0)
    say("ERROR", "%s does not end even when it is killed", name);
  else if (WIFSIGNALED(status))
    say(level, "%s was ended by SIG%s", name, sigabbrev_np(WTERMSIG(status)));
  else
    say(level, "%s ended with code %d", name, code);
  return self.is_not_alive ? EXIT_NOT_ALIVE : code;
}

static void count_liveness(bool is_alive, const struct reason *why)
{
  const struct run_options *options = self.options;
  bool is_starting =
      !self.liveness.was_alive && now_ms() - self.started_at_ms < (int64_t)options->liveness_start_ms;
  if (self.kill_at_ms > 0 || self.end_at_ms > 0 || (!is_alive && is_starting))
    return;
  if (is_alive) {
    if (self.liveness.failures > 0)
      say("INFO", "alive again");
    self.liveness.was_alive = true;
    self.liveness.failures = 0;
    return;
  }
  self.liveness.failures += 1;
  unsigned long long failures = self.liveness.failures, failures_max = options->liveness_failures_max;
  if (failures < failures_max) {
    say("WARNING", "not alive, %llu of %llu times in a row: %s", failures, failures_max, why->text);
    return;
  }
  say("ERROR", "not alive, %llu times in a row; it is killed, to be started anew: %s", failures, why->text);
  self.is_not_alive = true;
  begin_end();
}

/* In a process of its own: whatever it waits for, the copying goes on. */
static void start_probe(void)
{
  int reason[2];
  struct reason why = {"the probe could not be started"};
  self.liveness.is_late = false;
  self.liveness.late_at_ms = now_ms() + (int64_t)self.options->liveness_timeout_ms + PROBE_GRACE_MS;
  if (pipe2(reason, O_CLOEXEC | O_NONBLOCK) != 0) {
    count_liveness(false, &why);
    return;
  }
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool is_alive = probe(self.options->liveness, self.options->liveness_timeout_ms, &why);
    bool is_told = is_alive || write(reason[1], why.text, strlen(why.text)) > 0;
    _exit(is_alive && is_told ? 0 : EXIT_NOT_HEALTHY);
  }
  close(reason[1]);
  self.liveness.reason = reason[0];
  if (pid > 0) {
    self.liveness.pid = pid;
    self.has_children = true;
    return;
  }
  close(reason[0]);
  count_liveness(false, &why);
}

static void probe_ended(int status)
{
  struct reason why = {"the probe did not end in time"};
  char text[sizeof why.text];
  ssize_t length = read(self.liveness.reason, text, sizeof text - 1);
  close(self.liveness.reason);
  if (length > 0)
    because(&why, "%.*s", (int)length, text);
  self.liveness.pid = 0;
  if (!self.liveness.is_late)
    count_liveness(WIFEXITED(status) && WEXITSTATUS(status) == 0, &why);
}

static void watch_liveness(void)
{
  static const struct reason late = {"the probe did not end in time"};
  int64_t now = now_ms();
  if (self.liveness.pid > 0 && now >= self.liveness.late_at_ms) {
    /* Each interval anew, should it hang where not even SIGKILL ends it. */
    kill(self.liveness.pid, SIGKILL);
    self.liveness.is_late = true;
    self.liveness.late_at_ms = now + (int64_t)self.options->liveness_interval_ms;
    count_liveness(false, &late);
  }
  if (self.liveness.pid == 0 && now >= self.liveness.next_at_ms) {
    self.liveness.next_at_ms = now + (int64_t)self.options->liveness_interval_ms;
    start_probe();
  }
}

static void reap(void)
{
  int status;
  pid_t pid;
  bool was_any = false;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    was_any = true;
    if (pid == self.command)
      command_ended(status);
    else if (pid == self.liveness.pid)
      probe_ended(status);
  }
  self.has_children = pid == 0;
  if (was_any && self.end_at_ms > 0)
    kill_all();
}

static void pass_on(int number)
{
  say("INFO", "SIG%s is passed on to %s", sigabbrev_np(number), self.words[0]);
  kill(self.command, number);
}

static void pass_stop_on(int number)
{
  self.pass_on_at_ms = 0;
  self.kill_at_ms = now_ms() + (int64_t)self.options->stop_timeout_ms;
  pass_on(number);
}

/* The first one may have to wait; a second one is impatience, and a third changes nothing about when all is killed. */
static void take_stop(int number)
{
  const struct run_options *options = self.options;
  bool is_first = self.kill_at_ms == 0, is_check = self.words != options->command;
  if (is_first && options->stop_delay_ms > 0 && !is_check) {
    self.stop_signal = number;
    self.pass_on_at_ms = now_ms() + (int64_t)options->stop_delay_ms;
    self.kill_at_ms = self.pass_on_at_ms + (int64_t)options->stop_timeout_ms;
    say("INFO", "SIG%s is passed on to %s in %llu ms", sigabbrev_np(number), self.words[0],
        (unsigned long long)options->stop_delay_ms);
  } else if (is_first || self.pass_on_at_ms > 0) {
    pass_stop_on(number);
  } else {
    pass_on(number);
  }
}

static void take_signals(void)
{
  struct signalfd_siginfo taken;
  while (read(self.signals, &taken, sizeof taken) == sizeof taken) {
    int number = (int)taken.ssi_signo;
    if (number == SIGCHLD || self.command == 0)
      continue;
    if (number == SIGTERM || number == SIGINT)
      take_stop(number);
    else
      pass_on(number);
  }
  reap();
}

static bool is_under_way(const struct copy *copy)
{
  return copy->from >= 0 || copy->ready > copy->sent;
}

static bool has_ended(void)
{
  if (self.end_at_ms == 0)
    return false;
  bool is_all_done = !self.has_children && !is_under_way(&self.output) && !is_under_way(&self.errors);
  return is_all_done || now_ms() >= self.end_at_ms;
}

static bool is_running(void)
{
  return self.kill_at_ms == 0 && self.end_at_ms == 0;
}

static void watch_clock(void)
{
  if (self.pass_on_at_ms > 0 && self.end_at_ms == 0 && now_ms() >= self.pass_on_at_ms)
    pass_stop_on(self.stop_signal);
  if (self.kill_at_ms > 0 && self.end_at_ms == 0 && now_ms() >= self.kill_at_ms) {
    say("WARNING", "%s has not ended within %llu ms: it is killed", self.words[0],
        (unsigned long long)self.options->stop_timeout_ms);
    begin_end();
  }
  if (self.options->liveness != NULL && is_running())
    watch_liveness();
}

/* How long poll may wait; -1 for as long as nothing happens. */
static int wait_ms(void)
{
  int64_t next = self.end_at_ms > 0       ? self.end_at_ms
                 : self.pass_on_at_ms > 0 ? self.pass_on_at_ms
                                          : self.kill_at_ms;
  if (self.options->liveness != NULL && is_running())
    next = self.liveness.pid > 0 ? self.liveness.late_at_ms : self.liveness.next_at_ms;
  if (next == 0)
    return -1;
  int64_t left = next - now_ms();
  return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void take_what_happens(void)
{
  struct copy *copies[] = {&self.output, &self.errors};
  struct pollfd waited[5] = {{.fd = self.signals, .events = POLLIN}};
  for (int at = 0; at < 2; at++) {
    struct copy *copy = copies[at];
    waited[1 + at] = (struct pollfd){.fd = room_in(copy) > 0 ? copy->from : -1, .events = POLLIN};
    waited[3 + at] = (struct pollfd){.fd = copy->ready > copy->sent ? copy->to : -1, .events = POLLOUT};
  }
  if (poll(waited, 5, wait_ms()) < 0)
    return;
  for (int at = 0; at < 2; at++) {
    if (waited[1 + at].revents != 0)
      read_copy(copies[at]);
    if (waited[3 + at].revents != 0)
      write_copy(copies[at]);
  }
  if (waited[0].revents != 0)
    take_signals();
}

int run(const struct run_options *options)
{
  self.options = options;
  self.end_status = SIGKILL;
  self.started_at_ms = now_ms();
  self.liveness.next_at_ms = self.started_at_ms + (int64_t)options->liveness_interval_ms;
  self.has_children = true;
  open_destination(&self.output, STDOUT_FILENO);
  open_destination(&self.errors, STDERR_FILENO);

  sigset_t taken;
  sigemptyset(&taken);
  sigaddset(&taken, SIGCHLD);
  for (int at = 0; at < FORWARDED_COUNT; at++)
    sigaddset(&taken, FORWARDED[at]);
  sigprocmask(SIG_SETMASK, &taken, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file at its size limit is an error to report, not an end */
  self.signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (self.signals < 0 || !start_command(options->check != NULL ? options->check : options->command)) {
    fprintf(stderr, "keeper: no process or descriptor to be had: %m\n");
    return EXIT_CANNOT_EXECUTE;
  }
  if (options->log != NULL)
    log_remove_old(options->log, options->log_age_days_max);
  say("INFO", "%s runs as process %d", self.words[0], (int)self.command);
  while (!has_ended()) {
    take_what_happens();
    watch_clock();
  }
  drain_copy(&self.output);
  drain_copy(&self.errors);
  int code = say_end();
  write_copy(&self.errors);
  return code;
}
