/*
 * keeper: the first process of every container of the planes, and its health probe. The images hold no shell, and
 * Docker does not restart a container that is merely unhealthy; this one program does both.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  EXIT_NOT_HEALTHY = 1,
  EXIT_WRONG_USE = 64,
  EXIT_NOT_ALIVE = 70,
  EXIT_NO_ADDRESS = 78,
  EXIT_CANNOT_EXECUTE = 126,
  EXIT_NOT_FOUND = 127,
  EXIT_SIGNALLED = 128,
};

/* Why something is not as it should be, for a person: one line, printable ASCII alone, cut where it is too long. */
struct reason {
  char text[240];
};

/* Always false, so that a function can say why and end in one step: return because(why, "…"). */
bool because(struct reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Milliseconds of a clock that nobody sets. */
int64_t now_ms(void);

/* address.c */
enum expansion { EXPANDED, EXPANSION_WRONG_FORM, EXPANSION_NO_ADDRESS };

/* Replaces, in place, every %{address:NETWORK/BITS} by this machine's own IPv4 address within that network. */
enum expansion expand_addresses(char *text, struct reason *why);

/* The length of the %{address:…} that text begins with; 0 where it begins otherwise or the network is no network. */
size_t address_form_length(const char *text);

/* probe.c */
enum target_kind { TARGET_HTTP, TARGET_MONGO, TARGET_TOR, TARGET_TOR_ANSWERS, TARGET_FILE };

struct target {
  enum target_kind kind;
  char host[64]; /* as it was given, expanded anew by each probe */
  uint16_t port;
  char path[PATH_MAX]; /* of the request, of Tor's cookie, of the file */
  uint64_t age_s_max;
};

bool parse_target(const char *text, struct target *target, struct reason *why);

/* Whether the target is healthy, decided within timeout_ms. */
bool probe(const struct target *target, uint64_t timeout_ms, struct reason *why);

/* Digits alone, within the bounds. */
bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number);

/* log-file.c */
struct log_file {
  char path[PATH_MAX];
  char folder[PATH_MAX];
  /* The pattern's last part before and after %h. */
  char name_start[NAME_MAX + 1], name_end[NAME_MAX + 1];
  bool names_host;
  uint64_t bytes_max, keep, retry_ms;
  int fd;
  bool failed, mid_line;
  uint64_t lines_missing;
  int64_t retry_at_ms;
};

enum log_event { LOG_AS_BEFORE, LOG_FAILED, LOG_RESUMED };

/* pattern: a path whose last part may hold one %h, for the host's name. */
bool log_configure(struct log_file *log, const char *pattern, struct reason *why);

/* Removes what matches the pattern with any host's name, rotated files too, and was not written for so long. */
void log_remove_old(const struct log_file *log, uint64_t age_days_max);

/*
 * Appends, and rotates where a line would not fit. Never fails for the caller: while nothing can be written it drops,
 * and tries again each retry_ms. Tells when that begins (why: the cause) and ends (lines_missing: how many).
 * begins_line: false where the bytes go on with a line that an earlier call began.
 */
enum log_event log_write(struct log_file *log, const char *bytes, size_t length, bool begins_line, struct reason *why);

/* run.c */
struct run_options {
  char **check; /* NULL: the command is started at once; else only after this has ended with 0 */
  char **command;
  struct log_file *log; /* NULL: standard output alone */
  uint64_t log_age_days_max;
  uint64_t stop_delay_ms, stop_timeout_ms;
  const struct target *liveness; /* NULL: never asked */
  uint64_t liveness_interval_ms, liveness_timeout_ms, liveness_failures_max, liveness_start_ms;
};

/* Runs the command until it has ended and nothing of it is left. Returns the exit code of keeper. */
int run(const struct run_options *options);

/* message.c */

/* One JSON line, as the services write theirs. Returns its length, at most MESSAGE_LENGTH_MAX. */
enum { MESSAGE_LENGTH_MAX = 2048 };
size_t format_message(char line[static MESSAGE_LENGTH_MAX], const char *level, const char *text);

#endif
