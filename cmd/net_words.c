/* Forwards, networks and Ethernet addresses as they stand on a command line. */
#include "net.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/host/why.h>

static bool port_of(const char *text, uint16_t *port)
{
	unsigned long n = 0;
	if (!*text || strlen(text) > 5)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (unsigned long)(*text - '0');
	}
	*port = (uint16_t)n;
	return n >= 1 && n <= 65535;
}

bool vio_forward_parse(const char *text, struct vio_forward *f, char *why)
{
	char copy[64], *part[4], *rest = copy;
	unsigned n = 0;
	if (strlen(text) < sizeof copy) {
		strcpy(copy, text);
		while (rest && n < 4)
			part[n++] = strsep(&rest, ":");
		n += rest != NULL;
	}
	*f = (struct vio_forward){ .udp = n && !strcmp(part[0], "udp"), .host.s_addr = htonl(INADDR_LOOPBACK) };
	if ((n == 3 || n == 4) && (f->udp || !strcmp(part[0], "tcp")) && (n == 3 || inet_pton(AF_INET, part[1], &f->host) == 1)
	    && port_of(part[n - 2], &f->host_port) && port_of(part[n - 1], &f->guest_port))
		return true;
	return vio_refuse(why, "\"%.60s\" is not a port forward: write tcp:8080:80 (port 8080 of this host's loopback leads to the guest's "
	    "port 80), udp:5353:53 or tcp:192.0.2.1:8080:80", text);
}

bool vio_network_parse(const char *text, struct in_addr *network, struct in_addr *mask)
{
	char copy[32], *slash;
	if (strlen(text) >= sizeof copy)
		return false;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (!slash)
		return false;
	*slash++ = 0;
	if (strlen(slash) > 2 || strspn(slash, "0123456789") != strlen(slash))
		return false;
	int bits = atoi(slash);
	if (bits < 8 || bits > 27 || inet_pton(AF_INET, copy, network) != 1)
		return false;
	mask->s_addr = htonl(~UINT32_C(0) << (32 - bits));
	return !(network->s_addr & ~mask->s_addr);
}

bool vio_mac_parse(const char *text, unsigned char mac[6])
{
	static const char digits[] = "0123456789abcdef";
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++, text += 3) {
		const char *high = strchr(digits, text[0] | 0x20), *low = strchr(digits, text[1] | 0x20);
		if (!high || !low || !*high || !*low || (i < 5 && text[2] != ':'))
			return false;
		mac[i] = (unsigned char)((high - digits) << 4 | (low - digits));
	}
	return !(mac[0] & 1) && memcmp(mac, "\0\0\0\0\0\0", 6);
}
