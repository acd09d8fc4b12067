// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A batch job for the demo's guest: an endless random read-modify-write of its own memory, with checks.
 *
 *   batch MIB
 *
 * Each cell (8 bytes, 64 bytes apart) holds a count and its checksum. A step checks and increments a pseudo-random
 * cell. Prints "BATCH rounds N errs N" after each round, which has as many steps as there are cells.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CELL_SIZE 64

static uint32_t check_of(uint64_t cell, uint32_t count)
{
	uint64_t x = (cell + 1) * 0x9e3779b97f4a7c15u + count;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	return (uint32_t)(x >> 32);
}

int main(int argc, char **argv)
{
	uint64_t mib = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t cells = (mib << 20) / CELL_SIZE, errors = 0, random = 88172645463325252u;
	unsigned char *memory;

	if (mib == 0) {
		fprintf(stderr, "usage: batch MIB\n");
		return 2;
	}
	memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("batch: mmap");
		return 1;
	}
	for (uint64_t cell = 0; cell < cells; cell++)
		((uint32_t *)(memory + cell * CELL_SIZE))[1] = check_of(cell, 0);

	for (uint64_t round = 1;; round++) {
		for (uint64_t step = 0; step < cells; step++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			uint64_t cell = random % cells;
			volatile uint32_t *at = (volatile uint32_t *)(memory + cell * CELL_SIZE);

			if (at[1] != check_of(cell, at[0]) && errors++ < 8)
				printf("BATCH ERR cell %lu count %u check %u\n", cell, at[0], at[1]);
			at[0]++;
			at[1] = check_of(cell, at[0]);
		}
		printf("BATCH rounds %lu errs %lu\n", round, errors);
		fflush(stdout);
	}
}
