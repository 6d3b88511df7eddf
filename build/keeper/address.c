/* This machine's own address on one of its networks: what a service must listen on to be seen from there alone. */
#include "keeper.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

static const char OPENING[] = "%{address:";

struct network {
  uint32_t address, mask;
  char text[32];
};

/* Reads the form that text begins with. Returns its length, 0 if it is none. */
static size_t parse_form(const char *text, struct network *network)
{
  const size_t opening = sizeof OPENING - 1;
  const char *end = strchr(text, '}');
  if (strncmp(text, OPENING, opening) != 0 || end == NULL)
    return 0;
  size_t length = (size_t)(end - text) - opening;
  if (length >= sizeof network->text)
    return 0;
  memcpy(network->text, text + opening, length);
  network->text[length] = '\0';

  char address[sizeof network->text];
  strcpy(address, network->text);
  char *slash = strchr(address, '/');
  uint64_t bits;
  struct in_addr parsed;
  if (slash == NULL || !parse_number(slash + 1, 0, 32, &bits))
    return 0;
  *slash = '\0';
  if (inet_pton(AF_INET, address, &parsed) != 1)
    return 0;
  network->mask = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
  network->address = ntohl(parsed.s_addr) & network->mask;
  return (size_t)(end - text) + 1;
}

size_t address_form_length(const char *text)
{
  struct network network;
  return parse_form(text, &network);
}

static bool find_own_address(const struct network *network, char found[static INET_ADDRSTRLEN], struct reason *why)
{
  struct ifaddrs *interfaces;
  if (getifaddrs(&interfaces) != 0)
    return because(why, "the network interfaces cannot be listed: %m");
  unsigned matches = 0;
  char all[160] = "";
  for (const struct ifaddrs *at = interfaces; at != NULL; at = at->ifa_next) {
    if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET)
      continue;
    struct in_addr own = ((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &own, text, sizeof text);
    size_t used = strlen(all);
    snprintf(all + used, sizeof all - used, " %s %s", at->ifa_name, text);
    if ((ntohl(own.s_addr) & network->mask) != network->address || (matches > 0 && strcmp(found, text) == 0))
      continue;
    matches += 1;
    strcpy(found, text);
  }
  freeifaddrs(interfaces);
  if (matches == 1)
    return true;
  const char *count = matches == 0 ? "no address" : "several addresses";
  return because(why, "%s of this container within %s, there is:%s", count, network->text, all);
}

enum expansion expand_addresses(char *text, struct reason *why)
{
  for (char *at = text; (at = strstr(at, OPENING)) != NULL;) {
    struct network network;
    size_t form = parse_form(at, &network);
    if (form == 0) {
      because(why, "%s is not %sNETWORK/BITS}", at, OPENING);
      return EXPANSION_WRONG_FORM;
    }
    char own[INET_ADDRSTRLEN];
    if (!find_own_address(&network, own, why))
      return EXPANSION_NO_ADDRESS;
    /* An address of at most 15 characters fits in place: the shortest form, %{address:0.0.0.0/0}, has 20. */
    size_t length = strlen(own);
    memcpy(at, own, length);
    memmove(at + length, at + form, strlen(at + form) + 1);
    at += length;
  }
  return EXPANDED;
}
