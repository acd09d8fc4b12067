// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "pageset.h"

int gc_pageset_init(struct gc_pageset *set, u64 pages)
{
	/* User space chooses the size: fail rather than invoke the OOM killer. */
	set->bits = kvcalloc(BITS_TO_LONGS(pages), sizeof(long),
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

u64 gc_pageset_clear(struct gc_pageset *set, u64 first, u64 count)
{
	u64 page, cleared = 0;

	for (page = first; page < first + count; page++)
		if (test_and_clear_bit(page, set->bits))
			cleared++;
	set->set -= cleared;
	return cleared;
}
