/* What keeper itself has to say. */
#include "keeper.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

bool because(struct reason *why, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why->text, sizeof why->text, format, arguments);
  va_end(arguments);
  /* Parts of it come from whoever was asked. */
  for (char *at = why->text; *at != '\0'; at++)
    if (*at < ' ' || *at > '~')
      *at = '?';
  return false;
}

int64_t now_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

size_t format_message(char line[static MESSAGE_LENGTH_MAX], const char *level, const char *text)
{
  struct timespec now;
  struct tm utc;
  char second[32];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &utc);
  size_t length = (size_t)snprintf(line, MESSAGE_LENGTH_MAX,
                                   "{\"level\":\"%s\",\"time\":\"%s.%03ldZ\",\"service\":\"keeper\",\"message\":\"",
                                   level, second, now.tv_nsec / 1000000);
  for (; *text != '\0' && length + 8 < MESSAGE_LENGTH_MAX; text++) {
    if (*text == '"' || *text == '\\')
      line[length++] = '\\';
    line[length++] = *text < ' ' || *text > '~' ? '?' : *text;
  }
  return length + (size_t)snprintf(line + length, MESSAGE_LENGTH_MAX - length, "\"}\n");
}
