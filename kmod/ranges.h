/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pages of a track: ranges of addresses, whose pages are numbered through. All of it is
 * constant after gc_ranges_init() but which ranges are lost.
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
		bool lost; /* set once, by anybody */
	} range[GC_TRACK_MAX_RANGES];
};

/* Errors: EINVAL, EFBIG, as GC_IOC_TRACK_CREATE has them. */
int gc_ranges_init(struct gc_ranges *ranges, const struct gc_range *from, u32 count);

/* Number of the page at an address, or GC_NO_PAGE: there is none, or its range is lost. */
u64 gc_ranges_page(const struct gc_ranges *ranges, u64 address);

/* Address of a page that there is, and how many pages from there on its range has. */
u64 gc_ranges_address(const struct gc_ranges *ranges, u64 page, u64 *pages);

/* Loses every range that overlaps [start, end). Returns how many pages that are. */
u64 gc_ranges_lose(struct gc_ranges *ranges, u64 start, u64 end);

#endif /* GC_RANGES_H */
