// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/uaccess.h>

#include "pageset.h"
#include "ranges.h"

static bool gc_ranges_overlap(const struct gc_ranges *ranges, u32 index, u64 start, u64 end)
{
	u64 address = ranges->range[index].address;

	return start < address + ranges->range[index].length && address < end;
}

static int gc_ranges_add(struct gc_ranges *ranges, const struct gc_range *range)
{
	u64 end;
	u32 i;

	if (!range->length || !PAGE_ALIGNED(range->address) || !PAGE_ALIGNED(range->length) ||
	    check_add_overflow(range->address, range->length, &end))
		return -EINVAL;
	for (i = 0; i < ranges->count; i++)
		if (gc_ranges_overlap(ranges, i, range->address, end))
			return -EINVAL;
	if (ranges->pages + (range->length >> PAGE_SHIFT) >= GC_MAX_PAGES)
		return -EFBIG;
	/*
	 * Page tables of the kernel's half would tell how the kernel is laid out. The limit also
	 * excludes addresses that are not canonical.
	 */
	if (end > TASK_SIZE_MAX)
		return -EINVAL;
	ranges->range[ranges->count].address = range->address;
	ranges->range[ranges->count].length = range->length;
	ranges->range[ranges->count].first = ranges->pages;
	ranges->range[ranges->count].unmapped = false;
	ranges->pages += range->length >> PAGE_SHIFT;
	ranges->count++;
	return 0;
}

int gc_ranges_init(struct gc_ranges *ranges, const struct gc_range *from, u32 count)
{
	int err = 0;
	u32 i;

	if (!count || count > GC_TRACK_MAX_RANGES)
		return -EINVAL;
	ranges->count = 0;
	ranges->pages = 0;
	for (i = 0; i < count && !err; i++)
		err = gc_ranges_add(ranges, &from[i]);
	return err;
}

u64 gc_ranges_page(const struct gc_ranges *ranges, u64 address)
{
	u32 i;

	for (i = 0; i < ranges->count; i++) {
		u64 offset = address - ranges->range[i].address;

		if (offset < ranges->range[i].length && !READ_ONCE(ranges->range[i].unmapped))
			return ranges->range[i].first + (offset >> PAGE_SHIFT);
	}
	return GC_NO_PAGE;
}

u64 gc_ranges_address(const struct gc_ranges *ranges, u64 page, u64 *pages)
{
	u64 offset;
	u32 i;

	/* The last range that begins at or before page. */
	for (i = ranges->count - 1; ranges->range[i].first > page; i--)
		;
	offset = (page - ranges->range[i].first) << PAGE_SHIFT;
	*pages = (ranges->range[i].length - offset) >> PAGE_SHIFT;
	return ranges->range[i].address + offset;
}

u64 gc_ranges_unmap(struct gc_ranges *ranges, u64 start, u64 end)
{
	u64 pages = 0;
	u32 i;

	for (i = 0; i < ranges->count; i++) {
		if (!gc_ranges_overlap(ranges, i, start, end))
			continue;
		if (!xchg(&ranges->range[i].unmapped, true))
			pages += ranges->range[i].length >> PAGE_SHIFT;
	}
	return pages;
}
