// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "pageset.h"

int gc_pageset_init(struct gc_pageset *set, u64 pages)
{
	/* User space chooses the size: fail rather than invoke the OOM killer. */
	set->bits = kvzalloc(gc_pageset_bytes(pages),
			     GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	if (!set->bits)
		return -ENOMEM;
	set->pages = pages;
	set->set = 0;
	return 0;
}

void gc_pageset_destroy(struct gc_pageset *set)
{
	kvfree(set->bits);
	set->bits = NULL;
}

/* The bits of a range that are in the same word as its first one. */
struct gc_pageset_part {
	unsigned long *word;
	unsigned long mask;
	unsigned int count;
};

static struct gc_pageset_part gc_pageset_part(const struct gc_pageset *set, u64 page, u64 count)
{
	unsigned int shift = page % BITS_PER_LONG;
	unsigned int bits = min_t(u64, count, BITS_PER_LONG - shift);

	return (struct gc_pageset_part){
		.word = &set->bits[BIT_WORD(page)],
		.mask = GENMASK(shift + bits - 1, shift),
		.count = bits,
	};
}

void gc_pageset_set_range(struct gc_pageset *set, u64 page, u64 count)
{
	struct gc_pageset_part part;
	unsigned long old;

	for (; count; page += part.count, count -= part.count) {
		part = gc_pageset_part(set, page, count);
		old = READ_ONCE(*part.word);
		/* Writers are serialised, so xchg() is needed only as a full barrier. */
		xchg(part.word, old | part.mask);
		set->set += hweight_long(part.mask & ~old);
	}
}

bool gc_pageset_test_all(const struct gc_pageset *set, u64 page, u64 count)
{
	struct gc_pageset_part part;

	for (; count; page += part.count, count -= part.count) {
		part = gc_pageset_part(set, page, count);
		if (~READ_ONCE(*part.word) & part.mask)
			return false;
	}
	return true;
}

u64 gc_pageset_clear(struct gc_pageset *set, u64 page, u64 count)
{
	struct gc_pageset_part part;
	unsigned long old;
	u64 cleared = 0;

	for (; count; page += part.count, count -= part.count) {
		part = gc_pageset_part(set, page, count);
		old = READ_ONCE(*part.word);
		if (!(old & part.mask))
			continue;
		xchg(part.word, old & ~part.mask);
		cleared += hweight_long(old & part.mask);
	}
	set->set -= cleared;
	return cleared;
}
