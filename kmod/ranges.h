/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pages of a track: ranges of a process's memory, whose pages are numbered consecutively in the
 * order of the ranges. Only `unmapped` changes after gc_ranges_init().
 */
#ifndef GC_RANGES_H
#define GC_RANGES_H

#include <linux/types.h>

#include <guidecopy.h>

#define GC_NO_PAGE U64_MAX

struct gc_ranges {
	u64 pages; /* of all ranges */
	u32 count;
	struct {
		u64 address;
		u64 length; /* bytes */
		u64 first; /* number of the page at address */
		bool unmapped; /* the process has unmapped some of it; set once, without a lock */
	} range[GC_TRACK_MAX_RANGES];
};

/* Errors: EINVAL and EFBIG of GC_IOC_TRACK_CREATE. */
int gc_ranges_init(struct gc_ranges *ranges, const struct gc_range *from, u32 count);

/* Returns the number of the page at address, or GC_NO_PAGE if no mapped range contains it. */
u64 gc_ranges_page(const struct gc_ranges *ranges, u64 address);

/* Returns the address of a valid page. Sets *pages to the pages left in its range. */
u64 gc_ranges_address(const struct gc_ranges *ranges, u64 page, u64 *pages);

/* Marks ranges that overlap [start, end) unmapped. Returns the number of pages newly affected. */
u64 gc_ranges_unmap(struct gc_ranges *ranges, u64 start, u64 end);

#endif /* GC_RANGES_H */
