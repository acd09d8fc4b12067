// SPDX-License-Identifier: GPL-2.0-only
#include "suites.h"

#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/prandom.h>

#include "consumer.h"
#include "session.h"

#define PAGES 1000
#define ENTRIES GC_RING_MIN_ENTRIES

static int gc_session_kunit_init(struct kunit *test)
{
	test->priv = gc_session_alloc(0, PAGES, ENTRIES);
	return PTR_ERR_OR_ZERO(test->priv);
}

static void gc_session_kunit_exit(struct kunit *test)
{
	gc_session_free(test->priv);
}

static bool gc_touch(struct gc_session *session, u64 page)
{
	const struct gc_access access = {
		.page = page,
		.kind = GC_KIND_READ,
		.vcpu = GC_NO_VCPU,
	};

	return gc_session_touch(session, &access);
}

static int gc_spill(struct gc_session *session, u64 page)
{
	const struct gc_access access = { .page = page, .kind = GC_KIND_WRITE };

	return gc_session_spill(session, &access);
}

static void gc_touch_all(struct kunit *test, u64 first, u64 count)
{
	for (; count; first++, count--)
		KUNIT_ASSERT_TRUE(test, gc_touch(test->priv, first));
}

static struct gc_stats gc_stats_of(struct gc_session *session)
{
	struct gc_stats stats = {};

	gc_session_stats(session, &stats);
	return stats;
}

static void gc_session_records_a_first_touch(struct kunit *test)
{
	const struct gc_access access = { .page = 7, .kind = GC_KIND_WRITE, .vcpu = 3 };
	struct gc_session *session = test->priv;
	u64 before = ktime_get_ns();
	struct gc_record record;

	KUNIT_EXPECT_FALSE(test, gc_session_is_touched(session, 7));
	KUNIT_EXPECT_TRUE(test, gc_session_touch(session, &access));
	KUNIT_EXPECT_TRUE(test, gc_session_is_touched(session, 7));
	KUNIT_ASSERT_TRUE(test, gc_take(session, &record));
	KUNIT_EXPECT_EQ(test, record.page, 7);
	KUNIT_EXPECT_EQ(test, record.kind, GC_KIND_WRITE);
	KUNIT_EXPECT_EQ(test, record.vcpu, 3);
	KUNIT_EXPECT_EQ(test, record.order, 0);
	KUNIT_EXPECT_EQ(test, record.reserved, 0);
	KUNIT_EXPECT_EQ(test, record.tid, task_pid_nr(current));
	KUNIT_EXPECT_GE(test, record.time_ns, before);
	KUNIT_EXPECT_LE(test, record.time_ns, ktime_get_ns());
	KUNIT_EXPECT_TRUE(test, gc_session_touch(session, &access));
	KUNIT_EXPECT_FALSE(test, gc_take(session, &record));
}

static void gc_session_order_covers_all_its_pages(struct kunit *test)
{
	struct gc_access access = { .page = 512, .kind = GC_KIND_READ, .order = 7 };
	struct gc_session *session = test->priv;
	struct gc_record record;

	KUNIT_EXPECT_TRUE(test, gc_touch(session, 600));
	KUNIT_EXPECT_TRUE(test, gc_session_touch(session, &access));
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).touched, 128);
	KUNIT_EXPECT_TRUE(test, gc_touch(session, 512));
	KUNIT_EXPECT_TRUE(test, gc_touch(session, 639));
	KUNIT_EXPECT_TRUE(test, gc_session_touch(session, &access));
	KUNIT_ASSERT_TRUE(test, gc_take(session, &record));
	KUNIT_ASSERT_TRUE(test, gc_take(session, &record));
	KUNIT_EXPECT_EQ(test, record.page, 512);
	KUNIT_EXPECT_EQ(test, record.order, 7);
	KUNIT_EXPECT_FALSE(test, gc_take(session, &record));
}

static void gc_session_full_ring_changes_nothing(struct kunit *test)
{
	struct gc_session *session = test->priv;

	gc_touch_all(test, 0, ENTRIES);
	KUNIT_EXPECT_FALSE(test, gc_touch(session, ENTRIES));
	KUNIT_EXPECT_FALSE(test, gc_session_is_touched(session, ENTRIES));
	KUNIT_EXPECT_TRUE_MSG(test, gc_touch(session, 0), "already touched");
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).records, ENTRIES);
	KUNIT_EXPECT_EQ(test, gc_take_all(session), ENTRIES);
	KUNIT_EXPECT_TRUE(test, gc_touch(session, ENTRIES));
}

static void gc_session_spilled_records_come_first(struct kunit *test)
{
	struct gc_session *session = test->priv;
	struct gc_record record;
	u64 page;

	gc_touch_all(test, 0, ENTRIES);
	for (page = ENTRIES; page < ENTRIES + 5; page++)
		KUNIT_ASSERT_EQ(test, gc_spill(session, page), 0);
	KUNIT_EXPECT_EQ_MSG(test, gc_spill(session, ENTRIES), 0, "already touched");
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).spilled, 5);
	KUNIT_EXPECT_EQ(test, session->ring.producer->kick_wanted, 5);
	KUNIT_ASSERT_TRUE(test, gc_take(session, &record));
	KUNIT_ASSERT_TRUE(test, gc_take(session, &record));
	/* There is room for two spilled records, but not for a new one after all of them. */
	KUNIT_EXPECT_FALSE(test, gc_touch(session, ENTRIES + 5));
	KUNIT_EXPECT_EQ(test, gc_take_all(session), ENTRIES);
	KUNIT_EXPECT_TRUE(test, gc_touch(session, ENTRIES + 5));
	KUNIT_EXPECT_EQ(test, session->ring.producer->kick_wanted, 0);
	for (page = ENTRIES + 2; page <= ENTRIES + 5; page++) {
		KUNIT_ASSERT_TRUE(test, gc_take(session, &record));
		KUNIT_EXPECT_EQ(test, record.page, page);
	}
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).dropped, 0);
}

static void gc_session_kick_moves_spilled_records(struct kunit *test)
{
	struct gc_session *session = test->priv;

	gc_touch_all(test, 0, ENTRIES);
	KUNIT_ASSERT_EQ(test, gc_spill(session, ENTRIES), 0);
	KUNIT_EXPECT_EQ(test, gc_take_all(session), ENTRIES);
	gc_session_kick(session);
	KUNIT_EXPECT_EQ(test, gc_take_all(session), 1);
}

/* The session frees the rest. On the debug kernel kmemleak and KASAN check that. */
static void gc_session_frees_spilled_records(struct kunit *test)
{
	gc_touch_all(test, 0, ENTRIES);
	KUNIT_EXPECT_EQ(test, gc_spill(test->priv, ENTRIES), 0);
}

static void gc_session_counts_dropped_records(struct kunit *test)
{
	struct gc_session *session = test->priv;
	const struct gc_access access = { .page = 5, .kind = GC_KIND_ANY, .vcpu = GC_NO_VCPU };
	u64 i;

	/* gc_session_report() makes a record whether or not the page is touched. */
	for (i = 0; i < ENTRIES; i++) {
		KUNIT_EXPECT_TRUE(test, gc_session_can_report(session));
		gc_session_report(session, &access);
	}
	KUNIT_EXPECT_FALSE(test, gc_session_can_report(session));
	gc_session_report(session, &access);
	gc_session_drop(session);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).dropped, 2);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).records, ENTRIES);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).touched, 0);
}

static void gc_session_rearms_pages(struct kunit *test)
{
	struct gc_session *session = test->priv;

	gc_touch_all(test, 10, 20);
	KUNIT_EXPECT_EQ(test, gc_session_rearm(session, 0, 15), 5);
	KUNIT_EXPECT_EQ(test, gc_session_rearm(session, 0, 15), 0);
	KUNIT_EXPECT_EQ(test, gc_take_all(session), 20);
	gc_touch_all(test, 10, 20);
	KUNIT_EXPECT_EQ(test, gc_take_all(session), 5);
	KUNIT_EXPECT_EQ(test, gc_session_rearm(session, 0, PAGES), 20);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).rearmed, 25);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).touched, 0);
}

static void gc_session_rearm_ends_when_killed(struct kunit *test)
{
	struct gc_session *session = test->priv;
	s64 ret;

	gc_touch_all(test, 10, 20);
	gc_kunit_kill(true);
	ret = gc_session_rearm(session, 0, PAGES);
	gc_kunit_kill(false);
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, gc_session_rearm(session, 0, PAGES), 20);
}

static void gc_session_dead_records_nothing(struct kunit *test)
{
	struct gc_session *session = test->priv;

	gc_session_kill(session);
	KUNIT_EXPECT_TRUE(test, gc_session_is_dead(session));
	KUNIT_EXPECT_TRUE(test, gc_touch(session, 1));
	KUNIT_EXPECT_EQ(test, gc_spill(session, 2), 0);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).records, 0);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).touched, 0);
}

static void gc_session_counts_mappings(struct kunit *test)
{
	struct gc_session *session = test->priv;

	gc_session_mapped(session);
	gc_session_mapped(session);
	gc_session_unmapped(session);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).mappings, 1);
	gc_session_unmapped(session);
	KUNIT_EXPECT_EQ(test, gc_stats_of(session).mappings, 0);
}

/* In any sequence of operations: one record per page and epoch, and consistent counters. */
static void gc_session_matches_a_model(struct kunit *test)
{
	DECLARE_BITMAP(touched, PAGES) = {};
	struct gc_session *session = test->priv;
	u64 expected = 0, taken = 0, rearmed = 0;
	struct rnd_state random;
	struct gc_stats stats;
	unsigned int step;

	prandom_seed_state(&random, 42);
	for (step = 0; step < 20000; step++) {
		u32 page = prandom_u32_state(&random) % PAGES;
		u32 count = 1 + prandom_u32_state(&random) % (PAGES - page);

		switch (prandom_u32_state(&random) % 16) {
		case 0:
			if (count > 100)
				break;
			rearmed += gc_session_rearm(session, page, count);
			bitmap_clear(touched, page, count);
			break;
		case 1:
			taken += gc_take_all(session);
			break;
		case 2:
			KUNIT_ASSERT_EQ(test, gc_spill(session, page), 0);
			expected += !__test_and_set_bit(page, touched);
			break;
		default:
			if (gc_touch(session, page))
				expected += !__test_and_set_bit(page, touched);
		}
		KUNIT_ASSERT_EQ(test, gc_session_is_touched(session, page),
				test_bit(page, touched));
	}
	do {
		gc_session_kick(session);
		step = gc_take_all(session);
		taken += step;
	} while (step);
	stats = gc_stats_of(session);
	KUNIT_EXPECT_EQ(test, stats.records, expected);
	KUNIT_EXPECT_EQ(test, taken, expected);
	KUNIT_EXPECT_EQ(test, stats.touched, bitmap_weight(touched, PAGES));
	KUNIT_EXPECT_EQ(test, stats.rearmed, rearmed);
	KUNIT_EXPECT_EQ(test, stats.records, stats.rearmed + stats.touched);
	KUNIT_EXPECT_EQ(test, stats.dropped, 0);
	KUNIT_EXPECT_GT_MSG(test, stats.spilled, 0, "the ring was never full");
}

/* A thread that waits for room in a full ring. */
struct gc_waiter {
	struct gc_session *session;
	struct completion done;
	bool touched;
};

static int gc_wait_for_room(void *data)
{
	struct gc_waiter *waiter = data;

	gc_session_wait(waiter->session, ENTRIES, TASK_UNINTERRUPTIBLE);
	waiter->touched = gc_touch(waiter->session, ENTRIES);
	complete(&waiter->done);
	return 0;
}

static void gc_session_waits_until(struct kunit *test, void (*event)(struct gc_session *session))
{
	struct gc_waiter waiter = { .session = test->priv };
	struct task_struct *thread;
	unsigned int tries;

	init_completion(&waiter.done);
	gc_touch_all(test, 0, ENTRIES);
	thread = kthread_run(gc_wait_for_room, &waiter, "guidecopy-kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	for (tries = 0; tries < 250 && !gc_stats_of(test->priv).waiting; tries++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, gc_stats_of(test->priv).waiting, 1);
	KUNIT_EXPECT_EQ(test, waiter.session->ring.producer->kick_wanted, 1);
	KUNIT_EXPECT_FALSE(test, completion_done(&waiter.done));
	event(test->priv);
	/* waiter is on the stack: the thread must end before we return. */
	wait_for_completion(&waiter.done);
	KUNIT_EXPECT_TRUE(test, waiter.touched);
	KUNIT_EXPECT_EQ(test, gc_stats_of(test->priv).waiting, 0);
	KUNIT_EXPECT_EQ(test, gc_stats_of(test->priv).blocked, 1);
	KUNIT_EXPECT_GT(test, gc_stats_of(test->priv).blocked_ns, 0);
}

static void gc_consume(struct gc_session *session)
{
	gc_take_all(session);
	gc_session_kick(session);
}

static void gc_session_waits_for_the_consumer(struct kunit *test)
{
	gc_session_waits_until(test, gc_consume);
	KUNIT_EXPECT_EQ(test, gc_take_all(test->priv), 1);
}

static void gc_session_wait_ends_with_the_session(struct kunit *test)
{
	gc_session_waits_until(test, gc_session_kill);
	KUNIT_EXPECT_EQ(test, gc_stats_of(test->priv).records, ENTRIES);
}

static struct kunit_case gc_session_cases[] = {
	KUNIT_CASE(gc_session_records_a_first_touch),
	KUNIT_CASE(gc_session_order_covers_all_its_pages),
	KUNIT_CASE(gc_session_full_ring_changes_nothing),
	KUNIT_CASE(gc_session_spilled_records_come_first),
	KUNIT_CASE(gc_session_kick_moves_spilled_records),
	KUNIT_CASE(gc_session_frees_spilled_records),
	KUNIT_CASE(gc_session_counts_dropped_records),
	KUNIT_CASE(gc_session_rearms_pages),
	KUNIT_CASE(gc_session_rearm_ends_when_killed),
	KUNIT_CASE(gc_session_dead_records_nothing),
	KUNIT_CASE(gc_session_counts_mappings),
	KUNIT_CASE(gc_session_matches_a_model),
	KUNIT_CASE(gc_session_waits_for_the_consumer),
	KUNIT_CASE(gc_session_wait_ends_with_the_session),
	{}
};

struct kunit_suite gc_session_suite = {
	.name = "guidecopy-session",
	.init = gc_session_kunit_init,
	.exit = gc_session_kunit_exit,
	.test_cases = gc_session_cases,
};
