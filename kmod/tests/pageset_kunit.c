// SPDX-License-Identifier: GPL-2.0-only
#include "suites.h"

#include <linux/bitmap.h>

#include "pageset.h"

#define PAGES 200 /* four words, the last one partly used */

static void gc_pageset_counts_set_pages(struct kunit *test)
{
	struct gc_pageset set;
	u64 page;

	KUNIT_ASSERT_EQ(test, gc_pageset_init(&set, PAGES), 0);
	KUNIT_EXPECT_EQ(test, set.pages, PAGES);
	gc_pageset_set(&set, 62, 4);
	gc_pageset_set(&set, 63, 4); /* three of them again */
	gc_pageset_set(&set, PAGES - 1, 1);
	KUNIT_EXPECT_EQ(test, set.set, 6);
	for (page = 0; page < PAGES; page++)
		KUNIT_EXPECT_EQ_MSG(test, gc_pageset_test(&set, page),
				    (page >= 62 && page <= 66) || page == PAGES - 1,
				    "page %llu", page);
	gc_pageset_destroy(&set);
}

static void gc_pageset_tests_ranges(struct kunit *test)
{
	struct gc_pageset set;

	KUNIT_ASSERT_EQ(test, gc_pageset_init(&set, PAGES), 0);
	gc_pageset_set(&set, 60, 10);
	KUNIT_EXPECT_TRUE(test, gc_pageset_test_all(&set, 60, 10));
	KUNIT_EXPECT_TRUE(test, gc_pageset_test_all(&set, 64, 1));
	KUNIT_EXPECT_FALSE(test, gc_pageset_test_all(&set, 59, 2));
	KUNIT_EXPECT_FALSE(test, gc_pageset_test_all(&set, 69, 2));
	KUNIT_EXPECT_FALSE(test, gc_pageset_test_all(&set, 0, PAGES));
	gc_pageset_destroy(&set);
}

static void gc_pageset_counts_cleared_pages(struct kunit *test)
{
	struct gc_pageset set;

	KUNIT_ASSERT_EQ(test, gc_pageset_init(&set, PAGES), 0);
	gc_pageset_set(&set, 0, PAGES);
	KUNIT_EXPECT_EQ(test, gc_pageset_clear(&set, 63, 66), 66);
	KUNIT_EXPECT_EQ(test, gc_pageset_clear(&set, 60, 10), 3);
	KUNIT_EXPECT_EQ(test, set.set, PAGES - 69);
	KUNIT_EXPECT_TRUE(test, gc_pageset_test(&set, 59));
	KUNIT_EXPECT_FALSE(test, gc_pageset_test(&set, 60));
	KUNIT_EXPECT_FALSE(test, gc_pageset_test(&set, 128));
	KUNIT_EXPECT_TRUE(test, gc_pageset_test(&set, 129));
	KUNIT_EXPECT_EQ(test, gc_pageset_clear(&set, 0, PAGES), PAGES - 69);
	KUNIT_EXPECT_EQ(test, set.set, 0);
	gc_pageset_destroy(&set);
}

/* All ranges of three words, against the same done bit by bit. */
static void gc_pageset_agrees_with_single_bits(struct kunit *test)
{
	struct gc_pageset set, single;
	u64 first, count, page, was;

	KUNIT_ASSERT_EQ(test, gc_pageset_init(&set, PAGES), 0);
	KUNIT_ASSERT_EQ(test, gc_pageset_init(&single, PAGES), 0);
	for (first = 0; first < PAGES; first += 7) {
		for (count = 1; first + count <= PAGES; count += 5) {
			gc_pageset_set(&set, first, count);
			for (page = first; page < first + count; page++)
				gc_pageset_set(&single, page, 1);
			KUNIT_ASSERT_TRUE(test, bitmap_equal(set.bits, single.bits, PAGES));
			KUNIT_ASSERT_EQ(test, set.set, bitmap_weight(single.bits, PAGES));
			KUNIT_ASSERT_TRUE(test, gc_pageset_test_all(&set, first, count));

			was = set.set;
			KUNIT_ASSERT_EQ(test, gc_pageset_clear(&set, first, count), count);
			for (page = first; page < first + count; page++)
				gc_pageset_clear(&single, page, 1);
			KUNIT_ASSERT_TRUE(test, bitmap_equal(set.bits, single.bits, PAGES));
			KUNIT_ASSERT_EQ(test, set.set, was - count);
			/* Leave every third page set. */
			gc_pageset_set(&set, first / 3 * 3, 1);
			gc_pageset_set(&single, first / 3 * 3, 1);
		}
	}
	gc_pageset_destroy(&single);
	gc_pageset_destroy(&set);
}

static struct kunit_case gc_pageset_cases[] = {
	KUNIT_CASE(gc_pageset_counts_set_pages),
	KUNIT_CASE(gc_pageset_tests_ranges),
	KUNIT_CASE(gc_pageset_counts_cleared_pages),
	KUNIT_CASE(gc_pageset_agrees_with_single_bits),
	{}
};

struct kunit_suite gc_pageset_suite = {
	.name = "guidecopy-pageset",
	.test_cases = gc_pageset_cases,
};
