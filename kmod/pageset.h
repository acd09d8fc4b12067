/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of pages: one bit per page.
 *
 * The caller serialises writers. gc_pageset_test() needs no lock: if it sees a bit set, the caller
 * also sees all stores before the gc_pageset_set() that set it.
 */
#ifndef GC_PAGESET_H
#define GC_PAGESET_H

#include <linux/bitops.h>
#include <linux/types.h>

/* 16 TiB, whose bits take 512 MiB. */
#define GC_MAX_PAGES BIT_ULL(32)

struct gc_pageset {
	unsigned long *bits;
	u64 pages; /* valid indices are 0 .. pages - 1 */
	u64 set; /* number of bits set */
};

/* Returns the memory that a set takes. */
static inline size_t gc_pageset_bytes(u64 pages)
{
	return BITS_TO_LONGS(pages) * sizeof(long);
}

int gc_pageset_init(struct gc_pageset *set, u64 pages);
void gc_pageset_destroy(struct gc_pageset *set);

static inline bool gc_pageset_test(const struct gc_pageset *set, u64 page)
{
	/* Pairs with the barrier in gc_pageset_set(). */
	return test_bit_acquire(page, set->bits);
}

/* gc_pageset_set() for more than one page: a word at a time, with the same barrier. */
void gc_pageset_set_range(struct gc_pageset *set, u64 page, u64 count);

static inline void gc_pageset_set(struct gc_pageset *set, u64 page, u64 count)
{
	/* test_and_set_bit() is a full barrier: it orders the record before the bit. */
	if (likely(count == 1))
		set->set += !test_and_set_bit(page, set->bits);
	else
		gc_pageset_set_range(set, page, count);
}

/* Returns whether all of the bits are set. For writers. */
bool gc_pageset_test_all(const struct gc_pageset *set, u64 page, u64 count);

/* Returns how many of the bits were set. Takes time linear in the number of words. */
u64 gc_pageset_clear(struct gc_pageset *set, u64 page, u64 count);

#endif /* GC_PAGESET_H */
