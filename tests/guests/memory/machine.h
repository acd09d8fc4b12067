/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the workload needs of the machine: CPUs, memory, a console, options. */
#ifndef MACHINE_H
#define MACHINE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define PAGE_SIZE 4096ul
#define PAGE_WORDS (PAGE_SIZE / sizeof(u64))

struct hvm_start_info;

/* Reads the start info's memory map and command line. Must be called first. */
void machine_init(const struct hvm_start_info *info);
/* Starts all other CPUs, each in ap_main(), and returns how many CPUs run now. */
u32 machine_start_cpus(void);

/* Starts this CPU's clock for rest(); it ticks at that interval. */
void machine_start_clock(u64 microseconds);
/* Halts the CPU until the clock's next tick; returns at once if one has passed since the last rest. */
void rest(void);
/* Writes one character to COM2, where the host counts them to measure progress. */
void tick(void);

/* The pages between the program and what it writes. */
u64 idle_pages(void);
u64 *idle_page(u64 number);
/* The RAM pages from WORK_START on, numbered without holes. */
u64 ram_pages(void);
u64 *ram_page(u64 number);

/* The value of NAME=VALUE on the command line, as a number with an optional suffix K, M or G. */
u64 option_number(const char *name, u64 otherwise);
/* Whether NAME=WANTED is on the command line. */
int option_is(const char *name, const char *wanted);

/*
 * One line on COM1, whole even when several CPUs print: TEXT with a decimal number for each %d, a hexadecimal
 * one for each %x, a string for each %s.
 */
void print(const char *text, ...);

/* The time stamp counter. */
static inline u64 read_clock(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

#endif
