// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A wire between two network namespaces that can be bad: a TUN device in each, and packets copied in between. A TUN has
 * no offloads here: packets carry complete checksums, and the kernel verifies them.
 *
 * usage: wire NETNS_A ADDRESS_A NETNS_B ADDRESS_B SEED      (addresses with their prefix, such as 10.77.1.1/30)
 *
 * Prints "ready", then takes commands on standard input, one a line, and answers each with a line, until it ends:
 *   up, down          carry, or swallow everything
 *   loss PPM          drop packets
 *   reorder PPM       hold a packet back behind the next 3
 *   duplicate PPM
 *   corrupt PPM       flip a bit of the TCP payload: TCP's checksum finds it
 *   flip PPM          flip a bit of the TCP payload and correct the checksum, as a NIC or switch with bad memory does
 *   stats             answers with counters as JSON
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_PACKET 65536
#define BURST 64
#define HOLD_BACK 3
#define HOLD_BACK_MS 5

enum fault { LOSS, REORDER, DUPLICATE, CORRUPT, FLIP, FAULTS };
static const char *const names[FAULTS] = { "loss", "reorder", "duplicate", "corrupt", "flip" };

static unsigned int ppm[FAULTS];
static unsigned long packets, counts[FAULTS];
static bool down;

struct held {
	uint8_t packet[MAX_PACKET];
	ssize_t size; /* 0 if none is held */
	int behind;
};

static int die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_tun(const char *netns, const char *address)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "wire" };
	char text[512];
	int own, other, fd;

	snprintf(text, sizeof(text), "/run/netns/%s", netns);
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	other = open(text, O_RDONLY | O_CLOEXEC);
	if (own < 0 || other < 0 || setns(other, CLONE_NEWNET))
		die(text);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		die("/dev/net/tun");
	snprintf(text, sizeof(text),
		 "ip addr add %s dev wire && ip link set wire mtu 9000 txqueuelen 1000 up && ip link set lo up", address);
	if (system(text))
		exit(1);
	if (setns(own, CLONE_NEWNET))
		die("setns");
	close(own);
	close(other);
	return fd;
}

static bool hit(enum fault fault)
{
	return ppm[fault] && (unsigned int)(random() % 1000000) < ppm[fault];
}

static size_t header_size(const uint8_t *ip)
{
	return (ip[0] & 15) * 4;
}

static void correct_checksum(uint8_t *ip, size_t size)
{
	size_t start = header_size(ip), length = size - start;
	uint8_t *tcp = ip + start;
	uint32_t sum = 6 + length; /* the pseudo header: protocol, length, addresses */

	for (size_t i = 12; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	tcp[16] = tcp[17] = 0;
	for (size_t i = 0; i < length; i++)
		sum += i & 1 ? tcp[i] : tcp[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	tcp[16] = ~sum >> 8;
	tcp[17] = ~sum;
}

/* Only in packets of TCP over IPv4 that have a payload. */
static void flip_bit(uint8_t *ip, size_t size, enum fault fault)
{
	size_t payload;

	if (size < 40 || ip[0] >> 4 != 4 || ip[9] != 6)
		return;
	payload = header_size(ip) + (ip[header_size(ip) + 12] >> 4) * 4;
	if (size <= payload)
		return;
	ip[payload + random() % (size - payload)] ^= 1 << (random() & 7);
	if (fault == FLIP)
		correct_checksum(ip, size);
	counts[fault]++;
}

/* A full queue drops packets, as a real wire does. */
static void put(int fd, const uint8_t *packet, size_t size)
{
	if (write(fd, packet, size) < 0)
		return;
}

static void release(int fd, struct held *held)
{
	if (held->size)
		put(fd, held->packet, held->size);
	held->size = 0;
}

static void carry(int from, int to, struct held *held)
{
	static uint8_t packet[MAX_PACKET];

	for (int i = 0; i < BURST; i++) {
		ssize_t size = read(from, packet, sizeof(packet));

		if (size <= 0)
			return;
		packets++;
		if (down)
			continue;
		if (hit(LOSS)) {
			counts[LOSS]++;
			continue;
		}
		if (hit(CORRUPT))
			flip_bit(packet, size, CORRUPT);
		if (hit(FLIP))
			flip_bit(packet, size, FLIP);
		if (!held->size && hit(REORDER)) {
			memcpy(held->packet, packet, size);
			held->size = size;
			held->behind = HOLD_BACK;
			counts[REORDER]++;
			continue;
		}
		put(to, packet, size);
		if (hit(DUPLICATE)) {
			counts[DUPLICATE]++;
			put(to, packet, size);
		}
		if (held->size && --held->behind == 0)
			release(to, held);
	}
}

static void answer(char *line)
{
	char word[32] = "";
	unsigned int value = 0;

	sscanf(line, "%31s %u", word, &value);
	if (!strcmp(word, "stats")) {
		printf("{\"packets\": %lu", packets);
		for (int fault = 0; fault < FAULTS; fault++)
			printf(", \"%s\": %lu", names[fault], counts[fault]);
		printf("}\n");
		return;
	}
	if (!strcmp(word, "up") || !strcmp(word, "down"))
		down = word[0] == 'd';
	for (int fault = 0; fault < FAULTS; fault++)
		if (!strcmp(word, names[fault]))
			ppm[fault] = value;
	printf("done\n");
}

/* Returns false at the end of the input. A line arrives whole: the other end of the pipe writes it at once. */
static bool take_commands(void)
{
	char text[256], *rest;
	ssize_t size = read(STDIN_FILENO, text, sizeof(text) - 1);

	if (size <= 0)
		return false;
	text[size] = 0;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		answer(line);
	return true;
}

int main(int argc, char **argv)
{
	static struct held held[2];
	int fd[2];

	if (argc != 6) {
		fprintf(stderr, "usage: wire NETNS_A ADDRESS_A NETNS_B ADDRESS_B SEED\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	fd[0] = open_tun(argv[1], argv[2]);
	fd[1] = open_tun(argv[3], argv[4]);
	srandom(strtoul(argv[5], NULL, 10));
	printf("ready\n");
	for (;;) {
		struct pollfd waits[3] = { { fd[0], POLLIN, 0 }, { fd[1], POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

		if (poll(waits, 3, held[0].size || held[1].size ? HOLD_BACK_MS : -1) == 0)
			for (int side = 0; side < 2; side++)
				release(fd[!side], &held[side]);
		if (waits[2].revents && !take_commands())
			return 0;
		for (int side = 0; side < 2; side++)
			carry(fd[side], fd[!side], &held[side]);
	}
}
