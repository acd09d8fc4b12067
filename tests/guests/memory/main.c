// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest that uses and checks memory on all CPUs in an endless loop. It needs no device but COM1.
 *
 * Options (QEMU's -append):
 *   mode=check    (default) each CPU verifies and rewrites every word of its pages, in pseudo-random order
 *   mode=seq      the same in ascending order
 *   mode=chase    each CPU follows pointers, one per page, on one random cycle over its pages, and verifies them
 *   mode=apart    as check, but the clock chooses the next page: two copies of the guest go different ways
 *   mode=fresh    each CPU first fills its pages, which were never touched and must be zero; then as seq
 *   size=64M      the working set, divided evenly among the CPUs
 *   cold=0        more memory, behind the working set, that is filled at the start and not touched again
 *   idle=0        the same, up to 12M, below all that the guest writes: what pre-copy sends first
 *   noise=1       fill pages with words that have nothing in common, so that they cannot be compressed (check, seq, fresh)
 *   spread=1      take pages at equal distances from all of RAM, instead of the first ones from 16 MiB on
 *   work=0        spin that many times after each page, like a program that also computes
 *   rest=0        use at most one page per that many microseconds and halt in between, like a program that also waits
 *   tick=0        write a character to COM2 after every that many pages
 *   every=1       print a line after every that many passes
 *   passes=0      stop after that many passes (0: never)
 *
 * Lines on COM1, numbers decimal unless they begin with 0x:
 *   START cpus N ram MIB work PAGES
 *   READY cpu C                        memory is filled, checking begins (fresh: filling begins)
 *   G PASS cpu C errs E                pass number PASS (from 1) is done; E errors so far (all but chase)
 *   LAP PASS cpu C errs E              the same for chase
 *   ERR cpu C page P word W got 0xX want 0xX          each of the first errors of a CPU
 *   DONE cpu C                         after passes=N
 *   PANIC ...                          the guest cannot work here
 */
#include "machine.h"

#define ERRORS_SHOWN 8

struct worker {
	u64 cpu;
	u64 first, pages; /* its share of the working set */
	u64 errors;
	u64 done; /* pages */
};

static u64 work_pages, cold_pages, nr_idle, page_stride, spin, rest_us, tick_pages, print_every, pass_limit, noise;
static u32 cpus;
static volatile int go;

void boot_main(u32 cpu, const struct hvm_start_info *info);
void ap_main(u32 cpu);

static u64 *work_page(const struct worker *w, u64 index)
{
	return ram_page((w->first + index) * page_stride);
}

/* A value that differs for every page and generation (splitmix64). */
static u64 stamp(u64 page, u64 generation)
{
	u64 x = (page + 1) * 0x9e3779b97f4a7c15ul + generation * 0xd1b54a32d192ed03ul;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ul;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebul;
	return x ^ (x >> 31);
}

static void compare(struct worker *w, u64 page, u64 word, u64 got, u64 want)
{
	if (__builtin_expect(got == want, 1))
		return;
	if (w->errors++ < ERRORS_SHOWN)
		print("ERR cpu %d page %d word %d got 0x%x want 0x%x", w->cpu, page, word, got, want);
}

/* The work, rest and tick after each page. */
static void page_done(struct worker *w)
{
	for (u64 i = 0; i < spin; i++)
		__asm__ volatile("");
	if (rest_us)
		rest();
	if (tick_pages && ++w->done % tick_pages == 0)
		tick();
}

/* Prints the pass, if it is to be printed; false if it was the last one. */
static int pass_done(const struct worker *w, const char *name, u64 pass)
{
	if (pass % print_every == 0)
		print("%s %d cpu %d errs %d", name, pass, w->cpu, w->errors);
	if (pass != pass_limit)
		return 1;
	print("DONE cpu %d", w->cpu);
	return 0;
}

/* The successor of `at` in a pseudo-random order of all 0..pages-1: a full-period LCG over the next power of two. */
static u64 next_in_order(u64 at, u64 pages)
{
	u64 mask = pages > 1 ? ~0ul >> __builtin_clzl(pages - 1) : 0;

	do
		at = (at * 1664525 + 1013904223) & mask;
	while (at >= pages);
	return at;
}

/* A word of the page that has this stamp. */
static u64 word_of(u64 value, u64 k)
{
	return noise ? stamp(value, k) : value + k;
}

static void fill_page(u64 *words, u64 page)
{
	u64 value = stamp(page, 0);

	for (u64 k = 0; k < PAGE_WORDS; k++)
		words[k] = word_of(value, k);
}

static void fill(struct worker *w)
{
	for (u64 page = 0; page < w->pages; page++)
		fill_page(work_page(w, page), w->first + page);
	print("READY cpu %d", w->cpu);
}

static void fill_fresh(struct worker *w)
{
	print("READY cpu %d", w->cpu);
	for (u64 page = 0; page < w->pages; page++) {
		u64 *words = work_page(w, page);

		for (u64 k = 0; k < PAGE_WORDS; k++)
			compare(w, w->first + page, k, words[k], 0);
		fill_page(words, w->first + page);
		page_done(w);
	}
}

static void run_check(struct worker *w, int random)
{
	u64 page = 0, pass = 0;

	if (option_is("mode", "fresh"))
		fill_fresh(w);
	else
		fill(w);
	do {
		for (u64 i = 0; i < w->pages; i++) {
			page = random ? next_in_order(page, w->pages) : i;
			volatile u64 *words = work_page(w, page);
			u64 old = stamp(w->first + page, pass), new = stamp(w->first + page, pass + 1);

			for (u64 k = 0; k < PAGE_WORDS; k++) {
				compare(w, w->first + page, k, words[k], word_of(old, k));
				words[k] = word_of(new, k);
			}
			page_done(w);
		}
	} while (pass_done(w, "G", ++pass));
}

/* A page's generation is in its first word: nobody else knows it. */
static void run_apart(struct worker *w)
{
	u64 pass = 0;

	fill(w);
	for (u64 page = 0; page < w->pages; page++)
		*work_page(w, page) = 0;
	do {
		for (u64 i = 0; i < w->pages; i++) {
			u64 page = stamp(read_clock(), 0) % w->pages;
			volatile u64 *words = work_page(w, page);
			u64 generation = words[0];
			u64 old = stamp(w->first + page, generation), new = stamp(w->first + page, generation + 1);

			words[0] = generation + 1;
			for (u64 k = 1; k < PAGE_WORDS; k++) {
				compare(w, w->first + page, k, words[k], old + k);
				words[k] = new + k;
			}
			page_done(w);
		}
	} while (pass_done(w, "G", ++pass));
}

/* The content of a page on the cycle. */
struct link {
	volatile struct link *next;
	u64 next_index;
	u64 stamp;
};

/* One random cycle over all of the worker's pages: Sattolo's shuffle of their next_index. */
static void link_pages(struct worker *w)
{
	u64 random = 0x2545f4914f6cdd1dul + w->cpu;

	for (u64 i = 0; i < w->pages; i++) {
		struct link *link = (void *)work_page(w, i);

		link->next_index = i;
		link->stamp = stamp(w->first + i, 0);
	}
	for (u64 i = w->pages - 1; i > 0; i--) {
		struct link *a = (void *)work_page(w, i), *b;
		u64 index = a->next_index;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		b = (void *)work_page(w, random % i);
		a->next_index = b->next_index;
		b->next_index = index;
	}
	for (u64 i = 0; i < w->pages; i++) {
		struct link *link = (void *)work_page(w, i);

		link->next = (void *)work_page(w, link->next_index);
	}
	print("READY cpu %d", w->cpu);
}

static void run_chase(struct worker *w)
{
	u64 pass = 0, index = 0;

	link_pages(w);
	do {
		volatile struct link *at = (void *)work_page(w, 0);

		for (u64 hop = 0; hop < w->pages; hop++) {
			volatile struct link *next = at->next;

			compare(w, w->first + index, 2, at->stamp, stamp(w->first + index, 0));
			index = at->next_index;
			compare(w, w->first + index, 0, (u64)next, (u64)work_page(w, index));
			at = next;
			page_done(w);
		}
		compare(w, w->first, 1, index, 0);
	} while (pass_done(w, "LAP", ++pass));
}

static void run(u32 cpu)
{
	u64 share = work_pages / cpus;
	struct worker w = { .cpu = cpu, .first = cpu * share, .pages = share };

	if (rest_us)
		machine_start_clock(rest_us);
	if (option_is("mode", "chase"))
		run_chase(&w);
	else if (option_is("mode", "apart"))
		run_apart(&w);
	else
		run_check(&w, !option_is("mode", "seq") && !option_is("mode", "fresh"));
}

void ap_main(u32 cpu)
{
	while (!go)
		cpu_relax();
	run(cpu);
}

void boot_main(u32 cpu, const struct hvm_start_info *info)
{
	u64 available;

	machine_init(info);
	available = ram_pages();
	work_pages = option_number("size", 64ul << 20) / PAGE_SIZE;
	cold_pages = option_number("cold", 0) / PAGE_SIZE;
	nr_idle = option_number("idle", 0) / PAGE_SIZE;
	spin = option_number("work", 0);
	rest_us = option_number("rest", 0);
	noise = option_number("noise", 0);
	tick_pages = option_number("tick", 0);
	print_every = option_number("every", 1);
	pass_limit = option_number("passes", 0);
	cpus = machine_start_cpus();
	if (work_pages + cold_pages > available || work_pages < cpus || !print_every) {
		print("PANIC size and cold, %d pages, do not fit: %d CPUs, %d pages of RAM", work_pages + cold_pages, (u64)cpus,
		      available);
		return;
	}
	if (nr_idle > idle_pages()) {
		print("PANIC idle, %d pages, has room for %d", nr_idle, idle_pages());
		return;
	}
	page_stride = option_number("spread", 0) ? available / (work_pages + cold_pages) : 1;
	for (u64 page = work_pages; page < work_pages + cold_pages; page++)
		fill_page(ram_page(page * page_stride), page);
	for (u64 page = 0; page < nr_idle; page++)
		fill_page(idle_page(page), available + page);
	print("START cpus %d ram %d work %d", (u64)cpus, available * PAGE_SIZE >> 20, work_pages);
	go = 1;
	run(cpu);
}
