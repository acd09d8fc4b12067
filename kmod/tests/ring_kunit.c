// SPDX-License-Identifier: GPL-2.0-only
#include "suites.h"

#include <linux/mm.h>
#include <linux/sizes.h>

#include "ring.h"

#define ENTRIES GC_RING_MIN_ENTRIES

static int gc_ring_kunit_init(struct kunit *test)
{
	struct gc_ring *ring = kunit_kzalloc(test, sizeof(*ring), GFP_KERNEL);

	if (!ring)
		return -ENOMEM;
	test->priv = ring;
	return gc_ring_init(ring, ENTRIES);
}

static void gc_ring_kunit_exit(struct kunit *test)
{
	gc_ring_destroy(test->priv);
}

static void gc_ring_fill(struct gc_ring *ring, u64 count)
{
	for (; count; count--) {
		gc_ring_slot(ring)->page = ring->head;
		gc_ring_publish(ring);
	}
}

static void gc_ring_describes_itself(struct kunit *test)
{
	struct gc_ring *ring = test->priv;

	KUNIT_EXPECT_EQ(test, ring->producer->head, 0);
	KUNIT_EXPECT_EQ(test, ring->producer->entries, ENTRIES);
	KUNIT_EXPECT_EQ(test, ring->producer->record_size, sizeof(struct gc_record));
	KUNIT_EXPECT_EQ(test, ring->producer->kick_wanted, 0);
	gc_ring_want_kick(ring, 3);
	KUNIT_EXPECT_EQ(test, ring->producer->kick_wanted, 3);
}

static void gc_ring_rejects_bad_sizes(struct kunit *test)
{
	static const u32 bad[] = { 0, 1, 32, 63, 65, 96, U32_MAX };
	struct gc_ring ring;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, gc_ring_init(&ring, bad[i]), -EINVAL, "%u entries",
				    bad[i]);
}

static void gc_ring_has_room_until_it_is_full(struct kunit *test)
{
	struct gc_ring *ring = test->priv;
	u64 i;

	for (i = 0; i < ENTRIES; i++) {
		KUNIT_ASSERT_TRUE(test, gc_ring_has_room(ring));
		gc_ring_fill(ring, 1);
		KUNIT_ASSERT_EQ(test, ring->producer->head, i + 1);
	}
	KUNIT_EXPECT_FALSE(test, gc_ring_has_room(ring));
	ring->consumer->tail = 1;
	KUNIT_EXPECT_TRUE(test, gc_ring_has_room(ring));
	gc_ring_fill(ring, 1);
	KUNIT_EXPECT_FALSE(test, gc_ring_has_room(ring));
	KUNIT_EXPECT_EQ(test, ring->records[0].page, ENTRIES);
	KUNIT_EXPECT_EQ(test, ring->records[1].page, 1);
	KUNIT_EXPECT_EQ(test, ring->garbage, 0);
}

static void gc_ring_ignores_invalid_tails(struct kunit *test)
{
	struct gc_ring *ring = test->priv;
	static const u64 bad[] = { 9, ENTRIES + 1, U64_MAX, BIT_ULL(63), 0 };
	unsigned int i;

	gc_ring_fill(ring, ENTRIES);
	ring->consumer->tail = 10;
	KUNIT_ASSERT_TRUE(test, gc_ring_has_room(ring));
	gc_ring_fill(ring, 10);
	/* Full again: head is ENTRIES + 10, the last valid tail 10. */
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ring->consumer->tail = bad[i] == ENTRIES + 1 ? ring->head + 1 : bad[i];
		KUNIT_EXPECT_FALSE_MSG(test, gc_ring_has_room(ring), "tail %llu", bad[i]);
		KUNIT_EXPECT_EQ(test, ring->garbage, i + 1);
		KUNIT_EXPECT_EQ(test, ring->tail, 10);
	}
	ring->consumer->tail = ring->head;
	KUNIT_EXPECT_TRUE(test, gc_ring_has_room(ring));
	KUNIT_EXPECT_EQ(test, ring->tail, ring->head);
}

static void gc_ring_counters_may_wrap(struct kunit *test)
{
	struct gc_ring *ring = test->priv;

	ring->head = U64_MAX - 1;
	ring->tail = U64_MAX - 1;
	ring->consumer->tail = U64_MAX - 1;
	gc_ring_fill(ring, ENTRIES);
	KUNIT_EXPECT_FALSE(test, gc_ring_has_room(ring));
	ring->consumer->tail = 3;
	KUNIT_EXPECT_TRUE(test, gc_ring_has_room(ring));
	KUNIT_EXPECT_EQ(test, ring->garbage, 0);
}

static void gc_ring_maps_the_documented_layout(struct kunit *test)
{
	struct gc_ring *ring = test->priv;
	const unsigned long pages = 2 + DIV_ROUND_UP(ENTRIES * sizeof(struct gc_record), SZ_4K);

	KUNIT_EXPECT_EQ(test, gc_ring_mapping_pages(ring), pages);
	KUNIT_EXPECT_PTR_EQ(test, gc_ring_page(ring, GC_RING_CONSUMER_OFFSET / SZ_4K),
			    vmalloc_to_page(ring->consumer));
	KUNIT_EXPECT_PTR_EQ(test, gc_ring_page(ring, GC_RING_PRODUCER_OFFSET / SZ_4K),
			    vmalloc_to_page(ring->producer));
	KUNIT_EXPECT_PTR_EQ(test, gc_ring_page(ring, GC_RING_RECORDS_OFFSET / SZ_4K),
			    vmalloc_to_page(ring->records));
	KUNIT_EXPECT_NULL(test, gc_ring_page(ring, pages));
	KUNIT_EXPECT_NULL(test, gc_ring_page(ring, ULONG_MAX));
}

static struct kunit_case gc_ring_cases[] = {
	KUNIT_CASE(gc_ring_describes_itself),
	KUNIT_CASE(gc_ring_rejects_bad_sizes),
	KUNIT_CASE(gc_ring_has_room_until_it_is_full),
	KUNIT_CASE(gc_ring_ignores_invalid_tails),
	KUNIT_CASE(gc_ring_counters_may_wrap),
	KUNIT_CASE(gc_ring_maps_the_documented_layout),
	{}
};

struct kunit_suite gc_ring_suite = {
	.name = "guidecopy-ring",
	.init = gc_ring_kunit_init,
	.exit = gc_ring_kunit_exit,
	.test_cases = gc_ring_cases,
};
