/* What the command line of keeper says. */
#include "keeper.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "usage: keeper run [options] -- COMMAND ARGUMENTS…\n"
    "         --check COMMAND            its words are separated by spaces; COMMAND runs once it has ended with 0\n"
    "         --stop-delay-ms N          a first SIGTERM or SIGINT is passed on only after it, so that who finds\n"
    "                                    services by name has time to leave this one alone (0)\n"
    "         --stop-timeout-ms N        from passing it on until everything is killed (10000)\n"
    "         --log FILE                 a copy of stdout and stderr; %h in its name is the host's name\n"
    "         --log-max-bytes N          size at which the file is rotated (10485760)\n"
    "         --log-keep N               rotated files: FILE.1 … FILE.N (3)\n"
    "         --log-max-age-days N       at start, older files of any host are removed (7)\n"
    "         --log-retry-ms N           pause after a failed write (10000)\n"
    "         --liveness TARGET          a service that fails it is killed; exit code 70\n"
    "         --liveness-interval-ms N   (10000)\n"
    "         --liveness-timeout-ms N    (5000)\n"
    "         --liveness-failures N      in a row (6)\n"
    "         --liveness-start-ms N      failures before the first success do not count for so long (60000)\n"
    "         In COMMAND's arguments %{address:172.30.0.0/16} is this container's own address in that network.\n"
    "       keeper probe TARGET [--timeout-ms N]     exit code 0: healthy; 1: not, and why on stdout (5000)\n"
    "       TARGET: http://HOST:PORT/PATH   mongo://HOST:PORT   tor://HOST:PORT?cookie=FILE\n"
    "               tor-answers://HOST:PORT?cookie=FILE   file:///PATH?max-age-seconds=N\n"
    "       HOST: an IPv4 address, localhost, or %{address:NETWORK/BITS}\n";

/* An option and its value: a text, or a number within bounds. */
struct option {
  const char *name;
  const char **text;
  uint64_t *number;
  uint64_t min, max;
};

static int wrong_use(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int wrong_use(const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fputs("keeper: ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "\n%s", USAGE);
  return EXIT_WRONG_USE;
}

/* Takes the option that arguments begin with. Says what is wrong with it, and returns false, if anything is. */
static bool take_option(const struct option *options, size_t count, char **arguments)
{
  for (const struct option *option = options; option < options + count; option++) {
    if (strcmp(option->name, arguments[0]) != 0)
      continue;
    const char *value = arguments[1];
    if (value == NULL) {
      wrong_use("%s needs a value", option->name);
      return false;
    }
    if (option->text != NULL)
      *option->text = value;
    else if (!parse_number(value, option->min, option->max, option->number)) {
      wrong_use("%s %s: it must be a whole number from %llu to %llu", option->name, value,
                (unsigned long long)option->min, (unsigned long long)option->max);
      return false;
    }
    return true;
  }
  wrong_use("unknown option %s", arguments[0]);
  return false;
}

/* Takes the words of a command line apart, in place. False where there are none, or too many. */
static bool split_words(char *text, char **words, size_t words_max)
{
  size_t count = 0;
  char *rest;
  for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
    if (count == words_max - 1)
      return false;
    words[count++] = word;
  }
  words[count] = NULL;
  return count > 0;
}

static int use_run(char **arguments)
{
  static struct log_file log = {.bytes_max = 10 * 1024 * 1024, .keep = 3, .retry_ms = 10000};
  static struct target liveness;
  struct run_options run_options = {
      .log_age_days_max = 7,
      .stop_timeout_ms = 10000,
      .liveness_interval_ms = 10000,
      .liveness_timeout_ms = 5000,
      .liveness_failures_max = 6,
      .liveness_start_ms = 60000,
  };
  const uint64_t ms_max = 24 * 60 * 60 * 1000;
  const char *check_text = NULL, *log_pattern = NULL, *liveness_text = NULL;
  static char check_line[PATH_MAX], *check_words[32];
  const struct option options[] = {
      {"--check", &check_text, NULL, 0, 0},
      {"--stop-delay-ms", NULL, &run_options.stop_delay_ms, 0, ms_max},
      {"--stop-timeout-ms", NULL, &run_options.stop_timeout_ms, 0, ms_max},
      {"--log", &log_pattern, NULL, 0, 0},
      {"--log-max-bytes", NULL, &log.bytes_max, 1, UINT32_MAX},
      {"--log-keep", NULL, &log.keep, 0, 1000},
      {"--log-max-age-days", NULL, &run_options.log_age_days_max, 1, 36500},
      {"--log-retry-ms", NULL, &log.retry_ms, 1, ms_max},
      {"--liveness", &liveness_text, NULL, 0, 0},
      {"--liveness-interval-ms", NULL, &run_options.liveness_interval_ms, 1, ms_max},
      {"--liveness-timeout-ms", NULL, &run_options.liveness_timeout_ms, 1, ms_max},
      {"--liveness-failures", NULL, &run_options.liveness_failures_max, 1, 1000},
      {"--liveness-start-ms", NULL, &run_options.liveness_start_ms, 0, ms_max},
  };
  for (; *arguments != NULL && strcmp(*arguments, "--") != 0; arguments += 2)
    if (!take_option(options, sizeof options / sizeof options[0], arguments))
      return EXIT_WRONG_USE;
  if (*arguments == NULL || arguments[1] == NULL)
    return wrong_use("-- COMMAND is lacking");
  run_options.command = arguments + 1;

  if (check_text != NULL) {
    size_t length = strlen(check_text);
    if (length < sizeof check_line)
      memcpy(check_line, check_text, length + 1);
    if (length >= sizeof check_line || !split_words(check_line, check_words, sizeof check_words / sizeof check_words[0]))
      return wrong_use("--check needs 1 to 31 words");
    run_options.check = check_words;
  }
  struct reason why;
  if (log_pattern != NULL) {
    if (!log_configure(&log, log_pattern, &why))
      return wrong_use("%s", why.text);
    run_options.log = &log;
  }
  if (liveness_text != NULL) {
    if (!parse_target(liveness_text, &liveness, &why))
      return wrong_use("--liveness %s", why.text);
    run_options.liveness = &liveness;
  }
  for (char **argument = run_options.command; *argument != NULL; argument++) {
    enum expansion expansion = expand_addresses(*argument, &why);
    if (expansion == EXPANSION_WRONG_FORM)
      return wrong_use("%s", why.text);
    if (expansion == EXPANSION_NO_ADDRESS) {
      char line[MESSAGE_LENGTH_MAX];
      fprintf(stderr, "%.*s", (int)format_message(line, "ERROR", why.text), line);
      return EXIT_NO_ADDRESS;
    }
  }
  return run(&run_options);
}

static int use_probe(char **arguments)
{
  struct target target;
  struct reason why;
  uint64_t timeout_ms = 5000;
  const char *target_text = *arguments;
  const struct option options[] = {{"--timeout-ms", NULL, &timeout_ms, 1, 24 * 60 * 60 * 1000}};
  if (target_text == NULL)
    return wrong_use("TARGET is lacking");
  for (arguments += 1; *arguments != NULL; arguments += 2)
    if (!take_option(options, sizeof options / sizeof options[0], arguments))
      return EXIT_WRONG_USE;
  if (!parse_target(target_text, &target, &why))
    return wrong_use("%s", why.text);
  if (probe(&target, timeout_ms, &why))
    return 0;
  puts(why.text);
  return EXIT_NOT_HEALTHY;
}

int main(int count, char **arguments)
{
  /* What is closed at our start must not be taken by a pipe of ours later. */
  for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = dup(fd))
    if (fd > STDERR_FILENO) {
      close(fd);
      break;
    }
  if (count < 2)
    return wrong_use("run or probe is lacking");
  if (strcmp(arguments[1], "run") == 0)
    return use_run(arguments + 2);
  if (strcmp(arguments[1], "probe") == 0)
    return use_probe(arguments + 2);
  if (strcmp(arguments[1], "--help") == 0)
    return fputs(USAGE, stdout) < 0;
  return wrong_use("unknown command %s", arguments[1]);
}
