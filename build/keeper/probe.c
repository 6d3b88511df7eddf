/* Asks one local service whether it is healthy. What it answers is untrusted: bounded in length and in time. */
#include "keeper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_LENGTH_MAX = 16 * 1024 };

struct connection {
  int fd;
  char host[sizeof ((struct target *)NULL)->host];
  int64_t deadline_ms;
  size_t received;
  /* Always ends in a zero byte. */
  char answer[ANSWER_LENGTH_MAX + 1];
};

bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 18 || text[digits] != '\0')
    return false;
  *number = strtoull(text, NULL, 10);
  return *number >= min && *number <= max;
}

/* HOST:PORT and what follows it. HOST is an IPv4 address, localhost, or the form of an own address; never a name. */
static const char *parse_authority(const char *text, struct target *target)
{
  size_t length = address_form_length(text);
  bool is_form = length > 0;
  if (!is_form)
    length = strcspn(text, ":/?");
  if (length >= sizeof target->host || text[length] != ':')
    return NULL;
  memcpy(target->host, text, length);
  target->host[length] = '\0';
  struct in_addr address;
  if (!is_form && strcmp(target->host, "localhost") != 0 && inet_pton(AF_INET, target->host, &address) != 1)
    return NULL;

  const char *digits = text + length + 1;
  char port[6];
  size_t port_length = strspn(digits, "0123456789");
  if (port_length >= sizeof port)
    return NULL;
  memcpy(port, digits, port_length);
  port[port_length] = '\0';
  uint64_t number;
  if (!parse_number(port, 1, UINT16_MAX, &number))
    return NULL;
  target->port = (uint16_t)number;
  return digits + port_length;
}

static bool copy_path(struct target *target, const char *path, size_t length)
{
  if (length >= sizeof target->path || path[0] != '/')
    return false;
  for (size_t at = 0; at < length; at++)
    if (path[at] <= ' ' || path[at] > '~')
      return false;
  memcpy(target->path, path, length);
  target->path[length] = '\0';
  return true;
}

static const char *after(const char *text, const char *start)
{
  size_t length = strlen(start);
  return strncmp(text, start, length) == 0 ? text + length : NULL;
}

bool parse_target(const char *text, struct target *target, struct reason *why)
{
  static const char HTTP[] = "http://", MONGO[] = "mongo://", FILE_AGE[] = "file://";
  static const char TOR[] = "tor://", TOR_ANSWERS[] = "tor-answers://";
  static const char COOKIE[] = "?cookie=", AGE[] = "?max-age-seconds=";
  const char *rest;
  if ((rest = after(text, HTTP)) != NULL) {
    target->kind = TARGET_HTTP;
    if ((rest = parse_authority(rest, target)) != NULL && copy_path(target, rest, strlen(rest)))
      return true;
  } else if ((rest = after(text, MONGO)) != NULL) {
    target->kind = TARGET_MONGO;
    if ((rest = parse_authority(rest, target)) != NULL && *rest == '\0')
      return true;
  } else if ((rest = after(text, TOR)) != NULL || (rest = after(text, TOR_ANSWERS)) != NULL) {
    target->kind = after(text, TOR) != NULL ? TARGET_TOR : TARGET_TOR_ANSWERS;
    if ((rest = parse_authority(rest, target)) != NULL && (rest = after(rest, COOKIE)) != NULL &&
        copy_path(target, rest, strlen(rest)))
      return true;
  } else if ((rest = after(text, FILE_AGE)) != NULL) {
    target->kind = TARGET_FILE;
    const char *age = strstr(rest, AGE);
    if (age != NULL && parse_number(age + strlen(AGE), 0, UINT32_MAX, &target->age_s_max) &&
        copy_path(target, rest, (size_t)(age - rest)))
      return true;
  }
  return because(why,
                 "%s is no target: http://HOST:PORT/PATH, mongo://HOST:PORT, tor://HOST:PORT?cookie=FILE, "
                 "tor-answers://HOST:PORT?cookie=FILE or file:///PATH?max-age-seconds=N",
                 text);
}

/* Waits until the descriptor is ready; false with errno ETIMEDOUT once the deadline has passed. */
static bool wait_for(const struct connection *connection, short events)
{
  for (;;) {
    int64_t left_ms = connection->deadline_ms - now_ms();
    if (left_ms <= 0) {
      errno = ETIMEDOUT;
      return false;
    }
    struct pollfd waited = {.fd = connection->fd, .events = events};
    int ready = poll(&waited, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
    if (ready > 0)
      return true;
    if (ready < 0 && errno != EINTR)
      return false;
  }
}

static bool dial(struct connection *connection, const struct target *target, struct reason *why)
{
  char *host = strcpy(connection->host, target->host);
  if (expand_addresses(host, why) != EXPANDED)
    return false;
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(target->port)};
  inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &peer.sin_addr);

  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connection->fd < 0)
    return because(why, "no socket: %m");
  int error = connect(connection->fd, (const struct sockaddr *)&peer, sizeof peer) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    socklen_t size = sizeof error;
    if (!wait_for(connection, POLLOUT) || getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
      error = errno;
  }
  if (error == 0)
    return true;
  errno = error;
  return because(why, "%s:%u takes no connection: %m", host, target->port);
}

static bool send_all(struct connection *connection, const char *bytes, size_t length, struct reason *why)
{
  while (length > 0) {
    ssize_t sent = send(connection->fd, bytes, length, MSG_NOSIGNAL);
    if (sent > 0) {
      bytes += sent;
      length -= (size_t)sent;
    } else if ((errno != EAGAIN && errno != EINTR) || !wait_for(connection, POLLOUT)) {
      return because(why, "it does not take the question: %m");
    }
  }
  return true;
}

/* Adds what comes next to the answer. */
static bool receive(struct connection *connection, struct reason *why)
{
  size_t room = ANSWER_LENGTH_MAX - connection->received;
  if (room == 0)
    return because(why, "its answer is longer than %d bytes", ANSWER_LENGTH_MAX);
  for (;;) {
    if (!wait_for(connection, POLLIN))
      return because(why, "no answer: %m");
    ssize_t count = recv(connection->fd, connection->answer + connection->received, room, 0);
    if (count == 0)
      return because(why, "it closed the connection before its answer was whole");
    if (count > 0) {
      connection->received += (size_t)count;
      connection->answer[connection->received] = '\0';
      return true;
    }
    if (errno != EAGAIN && errno != EINTR)
      return because(why, "no answer: %m");
  }
}

static bool ask_http(struct connection *connection, const struct target *target, struct reason *why)
{
  char request[PATH_MAX + 256];
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: keeper\r\nConnection: close\r\n\r\n",
                        target->path, connection->host, target->port);
  if (!send_all(connection, request, (size_t)length, why))
    return false;
  while (strstr(connection->answer, "\r\n\r\n") == NULL)
    if (!receive(connection, why))
      return false;
  const char *status = after(connection->answer, "HTTP/1.1 ");
  if (status == NULL)
    status = after(connection->answer, "HTTP/1.0 ");
  if (status == NULL || strspn(status, "0123456789") != 3)
    return because(why, "it does not speak HTTP");
  return strncmp(status, "200", 3) == 0 || because(why, "it answers status %.3s", status);
}

static uint32_t read_le32(const char *bytes)
{
  const unsigned char *octets = (const unsigned char *)bytes;
  return octets[0] | (uint32_t)octets[1] << 8 | (uint32_t)octets[2] << 16 | (uint32_t)octets[3] << 24;
}

/* The length of a BSON value of that type; more than `left` if it is cut short or its type has no place in an answer. */
static uint64_t bson_value_length(unsigned char type, const char *value, size_t left)
{
  uint64_t length = left < 4 ? UINT32_MAX : read_le32(value);
  switch (type) {
  case 0x06: case 0x0a: case 0x7f: case 0xff: /* undefined, null, the largest, the smallest */
    return 0;
  case 0x08: /* boolean */
    return 1;
  case 0x10: /* int32 */
    return 4;
  case 0x01: case 0x09: case 0x11: case 0x12: /* double, date, timestamp, int64 */
    return 8;
  case 0x07: /* ObjectId */
    return 12;
  case 0x13: /* decimal */
    return 16;
  case 0x03: case 0x04: /* document and array count themselves */
    return length;
  case 0x02: case 0x0d: case 0x0e: /* text, code, symbol */
    return length + 4;
  case 0x05: /* binary */
    return length + 5;
  default:
    return UINT64_MAX;
  }
}

/* Whether a document says ok: 1, in whatever type of number. */
static bool bson_is_ok(const char *document, size_t length)
{
  size_t at = 4;
  while (at < length && document[at] != 0) {
    unsigned char type = (unsigned char)document[at++];
    const char *name = document + at;
    size_t name_length = strnlen(name, length - at);
    at += name_length + 1;
    if (at > length)
      return false;
    const char *value = document + at;
    uint64_t value_length = bson_value_length(type, value, length - at);
    if (value_length > length - at)
      return false;
    if (strcmp(name, "ok") == 0)
      return (type == 0x01 && memcmp(value, "\0\0\0\0\0\0\xf0\x3f", 8) == 0) ||
             (type == 0x08 && value[0] == 1) || (type == 0x10 && read_le32(value) == 1) ||
             (type == 0x12 && memcmp(value, "\1\0\0\0\0\0\0\0", 8) == 0);
    at += value_length;
  }
  return false;
}

static bool ask_mongo(struct connection *connection, struct reason *why)
{
  enum { HEADER = 16, BODY = HEADER + 5, DOCUMENT_MIN = 5 };
  /* OP_MSG (2013), request 1, one section of kind 0: {ping: 1, $db: "admin"}. */
  static const char PING[] = "\x33\0\0\0" "\1\0\0\0" "\0\0\0\0" "\xdd\x07\0\0" "\0\0\0\0" "\0"
                             "\x1e\0\0\0" "\x10ping\0\1\0\0\0" "\x02$db\0\6\0\0\0admin\0";
  if (!send_all(connection, PING, sizeof PING, why)) /* its closing zero is the document's own */
    return false;
  while (connection->received < 4 || connection->received < read_le32(connection->answer)) {
    if (connection->received >= 4 && read_le32(connection->answer) > ANSWER_LENGTH_MAX)
      break;
    if (!receive(connection, why))
      return false;
  }
  const char *answer = connection->answer;
  uint32_t length = read_le32(answer);
  if (length > ANSWER_LENGTH_MAX || length < BODY + DOCUMENT_MIN || read_le32(answer + 8) != 1 ||
      read_le32(answer + 12) != 2013 || answer[HEADER + 4] != 0)
    return because(why, "it does not speak MongoDB's OP_MSG");
  uint32_t document_length = read_le32(answer + BODY);
  if (document_length < DOCUMENT_MIN || document_length > length - BODY)
    return because(why, "it does not speak MongoDB's OP_MSG");
  return bson_is_ok(answer + BODY, document_length) || because(why, "its answer to ping is not ok: 1");
}

/* One command of Tor's control protocol. The reply, up to its line of a code and a space, stands in the answer. */
static bool tor_command(struct connection *connection, const char *command, struct reason *why)
{
  connection->received = 0;
  connection->answer[0] = '\0';
  if (!send_all(connection, command, strlen(command), why))
    return false;
  for (const char *line = connection->answer;;) {
    const char *end = strstr(line, "\r\n");
    if (end == NULL) {
      if (!receive(connection, why))
        return false;
    } else if (end - line >= 4 && line[3] == ' ') {
      /* The command itself holds the cookie: it is never part of what is said. */
      return strncmp(line, "250 ", 4) == 0 || because(why, "Tor answers: %.*s", (int)(end - line), line);
    } else {
      line = end + 2;
    }
  }
}

static bool ask_tor(struct connection *connection, const struct target *target, struct reason *why)
{
  unsigned char cookie[64];
  int file = open(target->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  ssize_t length = file < 0 ? -1 : read(file, cookie, sizeof cookie);
  if (length < 0)
    because(why, "the cookie %s cannot be read: %m", target->path);
  if (file >= 0)
    close(file);
  if (length < 0)
    return false;

  char authenticate[sizeof "AUTHENTICATE \r\n" + 2 * sizeof cookie] = "AUTHENTICATE ";
  for (ssize_t at = 0; at < length; at++)
    sprintf(authenticate + strlen(authenticate), "%02x", cookie[at]);
  strcat(authenticate, "\r\n");
  if (!tor_command(connection, authenticate, why) ||
      !tor_command(connection, "GETINFO status/bootstrap-phase\r\n", why))
    return false;
  if (target->kind == TARGET_TOR_ANSWERS)
    return true;
  const char *progress = strstr(connection->answer, " PROGRESS=");
  const char *percent = progress == NULL ? "?" : progress + strlen(" PROGRESS=");
  int digits = (int)strspn(percent, "0123456789");
  if (digits != 3 || strncmp(percent, "100", 3) != 0)
    return because(why, "Tor is bootstrapped to %.*s%% only", digits > 3 ? 3 : digits, percent);
  if (!tor_command(connection, "GETINFO status/circuit-established\r\n", why))
    return false;
  return after(connection->answer, "250-status/circuit-established=1\r\n") != NULL ||
         because(why, "Tor has no circuit");
}

static bool ask_file(const struct target *target, struct reason *why)
{
  struct stat file;
  if (stat(target->path, &file) != 0)
    return because(why, "%s: %m", target->path);
  int64_t age_s = (int64_t)(time(NULL) - file.st_mtim.tv_sec);
  return age_s <= (int64_t)target->age_s_max ||
         because(why, "%s was last written %lld s ago", target->path, (long long)age_s);
}

bool probe(const struct target *target, uint64_t timeout_ms, struct reason *why)
{
  if (target->kind == TARGET_FILE)
    return ask_file(target, why);
  struct connection connection = {.fd = -1, .deadline_ms = now_ms() + (int64_t)timeout_ms};
  bool is_healthy = dial(&connection, target, why);
  if (is_healthy && target->kind == TARGET_HTTP)
    is_healthy = ask_http(&connection, target, why);
  else if (is_healthy && target->kind == TARGET_MONGO)
    is_healthy = ask_mongo(&connection, why);
  else if (is_healthy)
    is_healthy = ask_tor(&connection, target, why);
  if (connection.fd >= 0)
    close(connection.fd);
  return is_healthy;
}
