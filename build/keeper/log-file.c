/* A log file that is rotated by size, and that never stops the service, whatever the disk does. */
#include "keeper.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Room for ".N" after the path. */
enum { SUFFIX_LENGTH_MAX = 24 };

static bool is_host_character(char character)
{
  return isalnum((unsigned char)character) || strchr("._-", character) != NULL;
}

bool log_configure(struct log_file *log, const char *pattern, struct reason *why)
{
  const char *slash = strrchr(pattern, '/');
  const char *name = slash == NULL ? pattern : slash + 1;
  size_t folder_length = (size_t)(name - pattern);
  const char *host_mark = strstr(pattern, "%h");
  log->names_host = host_mark != NULL;
  if (*name == '\0' || strlen(pattern) > PATH_MAX / 2 || strlen(name) > NAME_MAX / 2)
    return because(why, "--log %s: it names no file, or is too long", pattern);
  if (log->names_host && (host_mark < name || strstr(host_mark + 1, "%h") != NULL))
    return because(why, "--log %s: %%h may stand once, in the file's name", pattern);

  char host[HOST_NAME_MAX + 1] = "";
  gethostname(host, sizeof host - 1);
  for (char *at = host; *at != '\0'; at++)
    if (!is_host_character(*at))
      *at = '_';
  snprintf(log->folder, sizeof log->folder, "%.*s", (int)folder_length, pattern);
  snprintf(log->name_start, sizeof log->name_start, "%.*s", log->names_host ? (int)(host_mark - name) : NAME_MAX, name);
  snprintf(log->name_end, sizeof log->name_end, "%s", log->names_host ? host_mark + 2 : "");
  snprintf(log->path, sizeof log->path, "%.*s%s%s%s", (int)folder_length, pattern, log->name_start,
           log->names_host ? host : "", log->name_end);
  log->fd = -1;
  return true;
}

/* Whether the name's first `length` characters are the pattern with some host's name. */
static bool matches_pattern(const struct log_file *log, const char *name, size_t length)
{
  size_t start = strlen(log->name_start), end = strlen(log->name_end);
  if (length < start + end || strncmp(name, log->name_start, start) != 0 ||
      strncmp(name + length - end, log->name_end, end) != 0)
    return false;
  for (size_t at = start; at < length - end; at++)
    if (!is_host_character(name[at]))
      return false;
  return (length > start + end) == log->names_host;
}

static bool is_one_of_ours(const struct log_file *log, const char *name)
{
  size_t length = strlen(name), base = length;
  while (base > 0 && isdigit((unsigned char)name[base - 1]))
    base -= 1;
  bool is_rotated = base > 1 && base < length && name[base - 1] == '.';
  return matches_pattern(log, name, length) || (is_rotated && matches_pattern(log, name, base - 1));
}

void log_remove_old(const struct log_file *log, uint64_t age_days_max)
{
  DIR *folder = opendir(log->folder[0] == '\0' ? "." : log->folder);
  if (folder == NULL)
    return;
  const char *own = log->path + strlen(log->folder);
  time_t oldest = time(NULL) - (time_t)age_days_max * 24 * 60 * 60;
  for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    struct stat file;
    if (is_one_of_ours(log, entry->d_name) && strcmp(entry->d_name, own) != 0 &&
        fstatat(dirfd(folder), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode) &&
        file.st_mtim.tv_sec < oldest)
      unlinkat(dirfd(folder), entry->d_name, 0);
  }
  closedir(folder);
}

static void close_log(struct log_file *log)
{
  if (log->fd >= 0)
    close(log->fd);
  log->fd = -1;
}

static bool open_log(struct log_file *log, struct reason *why)
{
  /* Read as well, for its last byte; without waiting, should it be a pipe; never through a link laid by another. */
  const int flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  log->fd = open(log->path, flags, 0640);
  struct stat file;
  if (log->fd < 0 || fstat(log->fd, &file) != 0)
    return because(why, "%s: %m", log->path);
  if (!S_ISREG(file.st_mode))
    return because(why, "%s: it is no regular file", log->path);
  char last = '\n';
  if (file.st_size > 0 && pread(log->fd, &last, 1, file.st_size - 1) != 1)
    return because(why, "%s: %m", log->path);
  log->mid_line = last != '\n';
  return true;
}

/* FILE.2 becomes FILE.3, FILE.1 FILE.2, FILE FILE.1; what was the last is gone. */
static bool rotate_log(struct log_file *log, struct reason *why)
{
  close_log(log);
  if (log->keep == 0)
    return unlink(log->path) == 0 || errno == ENOENT || because(why, "%s cannot be removed: %m", log->path);
  for (uint64_t number = log->keep; number > 0; number--) {
    char from[PATH_MAX + SUFFIX_LENGTH_MAX], to[PATH_MAX + SUFFIX_LENGTH_MAX];
    snprintf(to, sizeof to, "%s.%llu", log->path, (unsigned long long)number);
    snprintf(from, sizeof from, number == 1 ? "%s" : "%s.%llu", log->path, (unsigned long long)number - 1);
    if (rename(from, to) != 0 && errno != ENOENT)
      return because(why, "%s cannot be renamed: %m", from);
  }
  return true;
}

/* How much of it goes into the file that is open: whole lines, or a piece of one that no file could hold. 0: rotate. */
static size_t part_that_fits(const struct log_file *log, const char *bytes, size_t length, size_t size)
{
  size_t room = size < log->bytes_max ? log->bytes_max - size : 0;
  if (length <= room)
    return length;
  const char *line_end = memrchr(bytes, '\n', room);
  if (line_end != NULL)
    return (size_t)(line_end - bytes) + 1;
  return size == 0 ? room : 0;
}

/* Appends and counts what it could append. */
static bool append(struct log_file *log, const char *bytes, size_t length, bool begins_line, size_t *done,
                   struct reason *why)
{
  while (*done < length) {
    struct stat file = {0};
    /* Where someone has removed the file, or its folder, a new one is made. */
    if (log->fd >= 0 && (fstat(log->fd, &file) != 0 || file.st_nlink == 0))
      close_log(log);
    if (log->fd < 0 && (!open_log(log, why) || fstat(log->fd, &file) != 0))
      return false;
    bool lacks_line_end = log->mid_line && begins_line && *done == 0;
    size_t size = (size_t)file.st_size + lacks_line_end;
    size_t part = part_that_fits(log, bytes + *done, length - *done, size);
    if (part == 0) {
      if (!rotate_log(log, why))
        return false;
      continue;
    }
    if (lacks_line_end && write(log->fd, "\n", 1) != 1)
      return because(why, "%s: %m", log->path);
    log->mid_line = false;
    ssize_t count = write(log->fd, bytes + *done, part);
    if (count < 0)
      return because(why, "%s: %m", log->path);
    *done += (size_t)count;
    log->mid_line = *done > 0 && bytes[*done - 1] != '\n';
  }
  return true;
}

static uint64_t count_lines(const char *bytes, size_t length)
{
  uint64_t lines = 0;
  for (const char *end = bytes + length; (bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL; bytes++)
    lines += 1;
  return lines;
}

enum log_event log_write(struct log_file *log, const char *bytes, size_t length, bool begins_line, struct reason *why)
{
  size_t done = 0;
  bool may_try = !log->failed || now_ms() >= log->retry_at_ms;
  if (may_try && append(log, bytes, length, begins_line, &done, why)) {
    bool resumed = log->failed;
    log->failed = false;
    return resumed ? LOG_RESUMED : LOG_AS_BEFORE;
  }
  bool failed_before = log->failed;
  if (!failed_before)
    log->lines_missing = 0;
  log->failed = true;
  log->lines_missing += count_lines(bytes + done, length - done);
  if (may_try) {
    close_log(log);
    log->retry_at_ms = now_ms() + (int64_t)log->retry_ms;
  }
  return failed_before ? LOG_AS_BEFORE : LOG_FAILED;
}
