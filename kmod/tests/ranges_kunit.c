// SPDX-License-Identifier: GPL-2.0-only
#include "suites.h"

#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "pageset.h"
#include "ranges.h"

#define LOW SZ_1M
#define HIGH SZ_1G

/* In this order, so page 0 is in the higher range. */
static const struct gc_range two[] = {
	{ .address = HIGH, .length = 10 * SZ_4K },
	{ .address = LOW, .length = 5 * SZ_4K },
};

static int gc_ranges_kunit_init(struct kunit *test)
{
	struct gc_ranges *ranges = kunit_kzalloc(test, sizeof(*ranges), GFP_KERNEL);

	if (!ranges)
		return -ENOMEM;
	test->priv = ranges;
	return gc_ranges_init(ranges, two, ARRAY_SIZE(two));
}

static void gc_ranges_number_pages_consecutively(struct kunit *test)
{
	struct gc_ranges *ranges = test->priv;
	u64 page, address, rest;

	KUNIT_EXPECT_EQ(test, ranges->pages, 15);
	for (page = 0; page < 15; page++) {
		address = gc_ranges_address(ranges, page, &rest);
		KUNIT_EXPECT_EQ(test, address, page < 10 ? HIGH + page * SZ_4K :
							   LOW + (page - 10) * SZ_4K);
		KUNIT_EXPECT_EQ(test, rest, page < 10 ? 10 - page : 15 - page);
		KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, address), page);
		KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, address + SZ_4K - 1), page);
	}
}

static void gc_ranges_reject_foreign_addresses(struct kunit *test)
{
	struct gc_ranges *ranges = test->priv;

	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, 0), GC_NO_PAGE);
	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, LOW - 1), GC_NO_PAGE);
	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, LOW + 5 * SZ_4K), GC_NO_PAGE);
	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, HIGH + 10 * SZ_4K), GC_NO_PAGE);
	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, U64_MAX), GC_NO_PAGE);
}

static void gc_ranges_are_unmapped_once(struct kunit *test)
{
	struct gc_ranges *ranges = test->priv;

	KUNIT_EXPECT_EQ(test, gc_ranges_unmap(ranges, LOW + 5 * SZ_4K, HIGH), 0);
	KUNIT_EXPECT_EQ(test, gc_ranges_unmap(ranges, LOW + SZ_4K, LOW + 2 * SZ_4K), 5);
	KUNIT_EXPECT_EQ(test, gc_ranges_unmap(ranges, 0, LOW + 1), 0);
	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, LOW), GC_NO_PAGE);
	KUNIT_EXPECT_EQ(test, gc_ranges_page(ranges, HIGH), 0);
	KUNIT_EXPECT_EQ(test, gc_ranges_unmap(ranges, 0, U64_MAX), 10);
}

static void gc_ranges_reject_bad_ranges(struct kunit *test)
{
	const struct {
		struct gc_range range[2];
		int error;
	} cases[] = {
		{ { { SZ_4K, SZ_4K }, { 2 * SZ_4K, SZ_4K } }, 0 },
		{ { { SZ_4K, SZ_4K }, { SZ_4K, SZ_4K } }, -EINVAL },
		{ { { SZ_4K, 3 * SZ_4K }, { 2 * SZ_4K, SZ_4K } }, -EINVAL },
		{ { { 2 * SZ_4K, SZ_4K }, { SZ_4K, 2 * SZ_4K } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { SZ_1M, 0 } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { SZ_1M + 1, SZ_4K } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { SZ_1M, SZ_4K - 1 } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { 0ULL - SZ_4K, 2 * SZ_4K } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { SZ_1M, GC_MAX_PAGES * SZ_4K } }, -EFBIG },
		/* The last page of user space, one beyond it, and across the border. */
		{ { { SZ_4K, SZ_4K }, { TASK_SIZE_MAX - SZ_4K, SZ_4K } }, 0 },
		{ { { SZ_4K, SZ_4K }, { TASK_SIZE_MAX, SZ_4K } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { TASK_SIZE_MAX - SZ_4K, 2 * SZ_4K } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { BIT_ULL(63), SZ_4K } }, -EINVAL },
		{ { { SZ_4K, SZ_4K }, { 0ULL - SZ_1G, SZ_4K } }, -EINVAL },
		/* Ends at 2^64. */
		{ { { SZ_4K, SZ_4K }, { 0ULL - SZ_4K, SZ_4K } }, -EINVAL },
	};
	struct gc_ranges *ranges = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, gc_ranges_init(ranges, cases[i].range, 2),
				    cases[i].error, "case %u", i);
	KUNIT_EXPECT_EQ(test, gc_ranges_init(ranges, two, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, gc_ranges_init(ranges, two, GC_TRACK_MAX_RANGES + 1), -EINVAL);
}

static struct kunit_case gc_ranges_cases[] = {
	KUNIT_CASE(gc_ranges_number_pages_consecutively),
	KUNIT_CASE(gc_ranges_reject_foreign_addresses),
	KUNIT_CASE(gc_ranges_are_unmapped_once),
	KUNIT_CASE(gc_ranges_reject_bad_ranges),
	{}
};

struct kunit_suite gc_ranges_suite = {
	.name = "guidecopy-ranges",
	.init = gc_ranges_kunit_init,
	.test_cases = gc_ranges_cases,
};
