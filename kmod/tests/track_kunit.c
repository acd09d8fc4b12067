// SPDX-License-Identifier: GPL-2.0-only
/* The track, over a fake VM. */
#include "suites.h"

#include <linux/bitmap.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sizes.h>

#include "consumer.h"
#include "fake_vm.h"
#include "ranges.h"
#include "track.h"

#define HUGE_ORDER 9
#define ADDRESS(page) ((u64)(page) << PAGE_SHIFT)

/* The tracked ranges: pages 0 .. 1023 are at HIGH, the others at LOW. */
#define HIGH SZ_16M
#define HIGH_PAGES 1024
#define LOW SZ_1M
#define LOW_PAGES 8
#define PAGES (HIGH_PAGES + LOW_PAGES)

static const struct gc_range two[] = {
	{ .address = HIGH, .length = ADDRESS(HIGH_PAGES) },
	{ .address = LOW, .length = ADDRESS(LOW_PAGES) },
};

#define MAX_ENTRIES (8 * HIGH_PAGES)

struct gc_track_fixture {
	struct gc_fake_vm fake;
	struct gc_capture *capture;
	u64 charged; /* bytes, by the last creation */
	int charge_error;
};

static int gc_fake_charge(void *data, u64 bytes)
{
	struct gc_track_fixture *fixture = data;

	fixture->charged = bytes;
	return fixture->charge_error;
}

static int gc_track_kunit_init(struct kunit *test)
{
	struct gc_track_fixture *fixture = kunit_kzalloc(test, sizeof(*fixture), GFP_KERNEL);

	if (!fixture)
		return -ENOMEM;
	gc_fake_init(&fixture->fake);
	test->priv = fixture;
	return 0;
}

static void gc_track_kunit_exit(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	if (fixture->capture)
		fixture->capture->ops->remove(fixture->capture);
	KUNIT_EXPECT_EQ(test, fixture->fake.attached, 0);
	KUNIT_EXPECT_EQ(test, fixture->fake.memory_locked, 0);
	KUNIT_EXPECT_EQ(test, fixture->fake.unlocked_walks, 0);
}

static struct gc_capture *gc_create_over(struct gc_track_fixture *fixture,
					 enum gc_track_mode mode, u32 entries,
					 const struct gc_range *ranges, u32 count)
{
	const struct gc_track_limits limits = {
		.max_entries = MAX_ENTRIES,
		.charge = gc_fake_charge,
		.data = fixture,
	};
	const struct gc_track_create arg = {
		.size = sizeof(arg),
		.mode = mode,
		.ring_entries = entries,
		.range_count = count,
	};

	return gc_track_create(&arg, ranges, gc_fake_attach, &limits);
}

static void gc_create(struct kunit *test, enum gc_track_mode mode, u32 entries)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_capture *capture = gc_create_over(fixture, mode, entries, two, ARRAY_SIZE(two));

	KUNIT_ASSERT_FALSE(test, IS_ERR(capture));
	fixture->capture = capture;
}

static int gc_rearm(struct gc_track_fixture *fixture, u64 first, u64 count)
{
	return fixture->capture->ops->rearm(fixture->capture, first, count);
}

static int gc_scan(struct gc_track_fixture *fixture, struct gc_scan *scan, u64 first, u64 count)
{
	*scan = (struct gc_scan){ .size = sizeof(*scan), .first = first, .count = count };
	return fixture->capture->ops->scan(fixture->capture, scan);
}

static struct gc_stats gc_stats_of(struct gc_track_fixture *fixture)
{
	struct gc_stats stats = {};

	gc_session_stats(fixture->capture->session, &stats);
	fixture->capture->ops->stats(fixture->capture, &stats);
	return stats;
}

static void gc_expect_record(struct kunit *test, u64 page, unsigned int order)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_record record;

	KUNIT_ASSERT_TRUE(test, gc_take(fixture->capture->session, &record));
	KUNIT_EXPECT_EQ(test, record.page, page);
	KUNIT_EXPECT_EQ(test, record.order, order);
}

static void gc_expect_no_record(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	KUNIT_EXPECT_EQ(test, gc_take_all(fixture->capture->session), 0);
}

/* Creation */

struct gc_bad_creation {
	const char *name;
	u32 mode;
	u32 entries;
	u32 count;
	struct gc_range ranges[2];
	int charge_error;
	int attach_error;
	bool memory_is_gone;
	bool signal_pending;
	int error;
	unsigned int attaches; /* 1 if the error occurs after the VM is attached */
};

#define ONE_RANGE .count = 1, .ranges = { { HIGH, ADDRESS(HIGH_PAGES) } }

static const struct gc_bad_creation bad_creations[] = {
	{ "no mode", .mode = 0, ONE_RANGE, .error = -EINVAL },
	{ "unknown mode", .mode = 3, ONE_RANGE, .error = -EINVAL },
	{ "no range", GC_TRACK_ORDER, .error = -EINVAL },
	{ "too many ranges", GC_TRACK_ORDER, .count = GC_TRACK_MAX_RANGES + 1, .error = -EINVAL },
	{ "address not aligned", GC_TRACK_ORDER, .count = 1, .ranges = { { HIGH + 1, SZ_4K } },
	  .error = -EINVAL },
	{ "length not aligned", GC_TRACK_AGE, .count = 1, .ranges = { { HIGH, SZ_4K + 1 } },
	  .error = -EINVAL },
	{ "empty range", GC_TRACK_AGE, .count = 1, .ranges = { { HIGH, 0 } }, .error = -EINVAL },
	{ "ranges overlap", GC_TRACK_ORDER, .count = 2,
	  .ranges = { { HIGH, 2 * SZ_4K }, { HIGH + SZ_4K, SZ_4K } }, .error = -EINVAL },
	{ "range beyond the address space", GC_TRACK_ORDER, .count = 1,
	  .ranges = { { 0ULL - SZ_4K, 2 * SZ_4K } }, .error = -EINVAL },
	{ "kernel addresses", GC_TRACK_AGE, .count = 1, .ranges = { { 0ULL - SZ_1G, SZ_1M } },
	  .error = -EINVAL },
	{ "too many pages", GC_TRACK_ORDER, .count = 1, .ranges = { { 0, BIT_ULL(44) } },
	  .error = -EFBIG },
	{ "ring not a power of two", GC_TRACK_ORDER, .entries = 100, ONE_RANGE, .error = -EINVAL },
	{ "ring too small", GC_TRACK_ORDER, .entries = GC_RING_MIN_ENTRIES / 2, ONE_RANGE,
	  .error = -EINVAL },
	{ "ring too large", GC_TRACK_ORDER, .entries = 4 * HIGH_PAGES, ONE_RANGE,
	  .error = -ENOBUFS },
	{ "limit of memory", GC_TRACK_ORDER, ONE_RANGE, .charge_error = -ENOMEM,
	  .error = -ENOMEM },
	{ "not a VM", GC_TRACK_ORDER, ONE_RANGE, .attach_error = -ENODEV, .error = -ENODEV },
	{ "VM is gone", GC_TRACK_AGE, ONE_RANGE, .memory_is_gone = true, .error = -ESRCH,
	  .attaches = 1 },
	{ "signal", GC_TRACK_AGE, ONE_RANGE, .signal_pending = true, .error = -EINTR,
	  .attaches = 1 },
};

static void gc_bad_creation_to_desc(const struct gc_bad_creation *bad, char *desc)
{
	strscpy(desc, bad->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(gc_bad_creation, bad_creations, gc_bad_creation_to_desc);

static void gc_track_rejects_bad_arguments(struct kunit *test)
{
	const struct gc_bad_creation *bad = test->param_value;
	struct gc_track_fixture *fixture = test->priv;
	struct gc_capture *capture;

	fixture->fake.attach_error = bad->attach_error;
	fixture->fake.memory_is_gone = bad->memory_is_gone;
	if (bad->signal_pending)
		set_thread_flag(TIF_SIGPENDING);
	fixture->charge_error = bad->charge_error;
	capture = gc_create_over(fixture, bad->mode, bad->entries, bad->ranges, bad->count);
	clear_thread_flag(TIF_SIGPENDING);
	KUNIT_EXPECT_PTR_EQ(test, (void *)capture, ERR_PTR(bad->error));
	KUNIT_EXPECT_EQ(test, fixture->fake.attaches, bad->attaches);
	KUNIT_EXPECT_TRUE(test, bitmap_full(fixture->fake.mapped, GC_FAKE_PAGES));
	KUNIT_EXPECT_TRUE(test, bitmap_full(fixture->fake.accessed, GC_FAKE_PAGES));
}

static void gc_track_default_ring_holds_all_pages(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	gc_create(test, GC_TRACK_ORDER, 0);
	KUNIT_EXPECT_EQ(test, fixture->capture->session->ring.entries, roundup_pow_of_two(PAGES));
}

static void gc_track_rings_are_limited_and_charged(struct kunit *test)
{
	static const struct gc_range many = { .address = 0, .length = ADDRESS(4 * MAX_ENTRIES) };
	struct gc_track_fixture *fixture = test->priv;
	struct gc_capture *capture;

	/* In AGE mode creation would touch the pages, of which the fake VM has fewer. */
	fixture->fake.attach_error = -ENODEV;
	capture = gc_create_over(fixture, GC_TRACK_ORDER, 2 * MAX_ENTRIES, &many, 1);
	KUNIT_EXPECT_PTR_EQ(test, (void *)capture, ERR_PTR(-ENOBUFS));
	KUNIT_EXPECT_EQ(test, fixture->charged, 0);
	capture = gc_create_over(fixture, GC_TRACK_ORDER, 0, &many, 1);
	KUNIT_EXPECT_PTR_EQ(test, (void *)capture, ERR_PTR(-ENODEV));
	KUNIT_EXPECT_EQ(test, fixture->charged, gc_session_bytes(4 * MAX_ENTRIES, MAX_ENTRIES));
	KUNIT_EXPECT_GE(test, fixture->charged,
			MAX_ENTRIES * sizeof(struct gc_record) + 4 * MAX_ENTRIES / BITS_PER_BYTE);
}

/* Returns the number of bits set in a bitmap of the VM's memory, outside the track's ranges. */
static unsigned long gc_outside(const unsigned long *bits)
{
	unsigned long all = bitmap_weight(bits, GC_FAKE_PAGES);

	return all - bitmap_weight(bits + BIT_WORD(HIGH >> PAGE_SHIFT), HIGH_PAGES) -
	       hweight8(bits[BIT_WORD(LOW >> PAGE_SHIFT)] & 0xff);
}

static void gc_track_order_arms_by_zapping(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	gc_create(test, GC_TRACK_ORDER, 0);
	KUNIT_EXPECT_EQ(test, bitmap_weight(fixture->fake.mapped, GC_FAKE_PAGES),
			GC_FAKE_PAGES - PAGES);
	KUNIT_EXPECT_EQ(test, gc_outside(fixture->fake.mapped), GC_FAKE_PAGES - PAGES);
	KUNIT_EXPECT_TRUE(test, bitmap_full(fixture->fake.accessed, GC_FAKE_PAGES));
	KUNIT_EXPECT_EQ(test, fixture->fake.drains, 0);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).pages, PAGES);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).touched, 0);
	gc_expect_no_record(test);
}

static void gc_track_age_arms_by_clearing_accessed_bits(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	gc_create(test, GC_TRACK_AGE, 0);
	KUNIT_EXPECT_EQ(test, bitmap_weight(fixture->fake.accessed, GC_FAKE_PAGES),
			GC_FAKE_PAGES - PAGES);
	KUNIT_EXPECT_EQ(test, gc_outside(fixture->fake.accessed), GC_FAKE_PAGES - PAGES);
	KUNIT_EXPECT_TRUE(test, bitmap_full(fixture->fake.mapped, GC_FAKE_PAGES));
	KUNIT_EXPECT_NULL(test, fixture->fake.vm.events->fault);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).pages, PAGES);
	gc_expect_no_record(test);
}

static void gc_track_records_events_before_attach_returns(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	bitmap_zero(fixture->fake.mapped, GC_FAKE_PAGES);
	fixture->fake.fault_in_attach = HIGH;
	gc_create(test, GC_TRACK_ORDER, 0);
	gc_expect_record(test, 0, 0);
	/* Creation then armed the page. */
	KUNIT_EXPECT_EQ(test, fixture->fake.drains, 1);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).touched, 0);
	gc_fake_access(&fixture->fake, HIGH);
	gc_expect_record(test, 0, 0);
}

/* GC_TRACK_ORDER */

static void gc_track_order_records_first_touches(struct kunit *test)
{
	static const struct {
		u64 address;
		enum gc_kind kind;
		u32 vcpu;
		u64 page; /* GC_NO_PAGE: not of the track */
	} faults[] = {
		{ HIGH + ADDRESS(7), GC_KIND_WRITE, 3, 7 },
		{ LOW + 123, GC_KIND_EXEC, 0, HIGH_PAGES },
		{ 0, GC_KIND_READ, 0, GC_NO_PAGE },
		{ HIGH, GC_KIND_READ, 1, 0 },
		{ HIGH - 1, GC_KIND_READ, 1, GC_NO_PAGE },
		{ HIGH + ADDRESS(HIGH_PAGES), GC_KIND_READ, 1, GC_NO_PAGE },
		{ LOW + ADDRESS(LOW_PAGES) - 1, GC_KIND_WRITE, 2, PAGES - 1 },
	};
	struct gc_track_fixture *fixture = test->priv;
	const struct gc_vm *vm = &fixture->fake.vm;
	struct gc_record record;
	unsigned int i, again;

	gc_create(test, GC_TRACK_ORDER, 0);
	for (i = 0; i < ARRAY_SIZE(faults); i++)
		for (again = 0; again < 2; again++)
			vm->events->fault(vm->data, faults[i].address, faults[i].kind,
					  faults[i].vcpu);
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (faults[i].page == GC_NO_PAGE)
			continue;
		KUNIT_ASSERT_TRUE(test, gc_take(fixture->capture->session, &record));
		KUNIT_EXPECT_EQ(test, record.page, faults[i].page);
		KUNIT_EXPECT_EQ(test, record.kind, faults[i].kind);
		KUNIT_EXPECT_EQ(test, record.vcpu, faults[i].vcpu);
		KUNIT_EXPECT_EQ(test, record.order, 0);
	}
	gc_expect_no_record(test);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).touched, 4);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).unresolved, 0);
}

static void gc_track_order_rearms_a_part(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;

	gc_create(test, GC_TRACK_ORDER, 0);
	gc_fake_access_pages(fake, HIGH + ADDRESS(HIGH_PAGES - 4), 4);
	gc_fake_access_pages(fake, LOW, 4);
	KUNIT_EXPECT_EQ(test, gc_take_all(fixture->capture->session), 8);

	/* The last two pages of one range and the first two of the other. */
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, HIGH_PAGES - 2, 4), 0);
	KUNIT_EXPECT_EQ(test, fake->drains, 1);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).rearmed, 4);
	gc_fake_access_pages(fake, HIGH + ADDRESS(HIGH_PAGES - 4), 4);
	gc_fake_access_pages(fake, LOW, 4);
	gc_expect_record(test, HIGH_PAGES - 2, 0);
	gc_expect_record(test, HIGH_PAGES - 1, 0);
	gc_expect_record(test, HIGH_PAGES, 0);
	gc_expect_record(test, HIGH_PAGES + 1, 0);
	gc_expect_no_record(test);
}

static void gc_track_order_drains_only_after_touches(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	gc_create(test, GC_TRACK_ORDER, 0);
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, fixture->fake.drains, 0);
}

/* The access counts as later than the REARM; the zap that follows merely makes it fault again. */
static void gc_track_order_records_a_fault_during_rearm(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;

	gc_create(test, GC_TRACK_ORDER, 0);
	gc_fake_access(fake, HIGH);
	gc_expect_record(test, 0, 0);
	fake->fault_in_drain = HIGH + ADDRESS(1);
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, 0, PAGES), 0);
	gc_expect_record(test, 1, 0);
	KUNIT_EXPECT_FALSE(test, test_bit((HIGH >> PAGE_SHIFT) + 1, fake->mapped));
	gc_fake_access(fake, HIGH + ADDRESS(1));
	gc_expect_no_record(test);
}

static void gc_track_order_counts_drops_when_the_ring_is_full(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;
	struct gc_stats stats;

	gc_create(test, GC_TRACK_ORDER, GC_RING_MIN_ENTRIES);
	gc_fake_access_pages(fake, HIGH, GC_RING_MIN_ENTRIES + 5);
	stats = gc_stats_of(fixture);
	KUNIT_EXPECT_EQ(test, stats.records, GC_RING_MIN_ENTRIES);
	KUNIT_EXPECT_EQ(test, stats.touched, GC_RING_MIN_ENTRIES);
	KUNIT_EXPECT_EQ(test, stats.dropped, 5);
	KUNIT_EXPECT_EQ(test, gc_take_all(fixture->capture->session), GC_RING_MIN_ENTRIES);

	/* A dropped page is mapped, so it makes no record until it is rearmed. */
	gc_fake_access(fake, HIGH + ADDRESS(GC_RING_MIN_ENTRIES));
	gc_expect_no_record(test);
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, GC_RING_MIN_ENTRIES, 1), 0);
	gc_fake_access(fake, HIGH + ADDRESS(GC_RING_MIN_ENTRIES));
	gc_expect_record(test, GC_RING_MIN_ENTRIES, 0);
}

static void gc_track_order_counts_unresolved_faults(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	const struct gc_vm *vm = &fixture->fake.vm;

	gc_create(test, GC_TRACK_ORDER, 0);
	vm->events->unresolved(vm->data);
	vm->events->unresolved(vm->data);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).unresolved, 2);
	gc_expect_no_record(test);
}

/* GC_TRACK_AGE */

static void gc_track_age_scans_in_page_order(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;
	struct gc_record record;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, 0);
	gc_fake_access(fake, LOW + ADDRESS(2));
	gc_fake_access(fake, HIGH + ADDRESS(9));
	gc_fake_access(fake, HIGH + ADDRESS(5));
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, PAGES);
	KUNIT_EXPECT_EQ(test, scan.young, 3);
	KUNIT_ASSERT_TRUE(test, gc_take(fixture->capture->session, &record));
	KUNIT_EXPECT_EQ(test, record.page, 5);
	KUNIT_EXPECT_EQ(test, record.kind, GC_KIND_ANY);
	KUNIT_EXPECT_EQ(test, record.vcpu, GC_NO_VCPU);
	gc_expect_record(test, 9, 0);
	gc_expect_record(test, HIGH_PAGES + 2, 0);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).touched, 0);

	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.young, 0);
	gc_expect_no_record(test);
}

static void gc_track_age_scan_ends_when_the_ring_is_full(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, GC_RING_MIN_ENTRIES);
	gc_fake_access_pages(&fixture->fake, HIGH, 100);
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, GC_RING_MIN_ENTRIES);
	KUNIT_EXPECT_EQ(test, scan.young, GC_RING_MIN_ENTRIES);
	KUNIT_EXPECT_EQ(test, gc_take_all(fixture->capture->session), GC_RING_MIN_ENTRIES);

	/* No access was lost. */
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, scan.scanned, PAGES - scan.scanned), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, PAGES - GC_RING_MIN_ENTRIES);
	KUNIT_EXPECT_EQ(test, scan.young, 100 - GC_RING_MIN_ENTRIES);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).dropped, 0);
}

static void gc_track_age_rearm_records_nothing(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, 0);
	gc_fake_access_pages(&fixture->fake, HIGH, 10);
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, 0, 5), 0);
	gc_expect_no_record(test);
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.young, 5);
	gc_expect_record(test, 5, 0);
}

static void gc_track_age_is_interrupted_by_a_signal(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_scan scan;
	int scanned, rearmed;

	gc_create(test, GC_TRACK_AGE, 0);
	gc_fake_access(&fixture->fake, HIGH);
	set_thread_flag(TIF_SIGPENDING);
	scanned = gc_scan(fixture, &scan, 0, PAGES);
	rearmed = gc_rearm(fixture, 0, PAGES);
	clear_thread_flag(TIF_SIGPENDING);
	KUNIT_EXPECT_EQ(test, scanned, 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, 0);
	KUNIT_EXPECT_EQ(test, rearmed, -EINTR);

	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.young, 1);
}

static void gc_track_only_age_scans(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	gc_create(test, GC_TRACK_ORDER, 0);
	KUNIT_EXPECT_NULL(test, fixture->capture->ops->scan);
}

/* Huge pages */

struct gc_huge_case {
	const char *name;
	struct gc_range ranges[2];
	u32 count;
	unsigned int host_order;
	u64 address;
	/* Expected of the records. */
	unsigned int order;
	u64 page;
	u64 scanned_page; /* in age mode; of a block that counts as small pages, the first one */
};

#define HALF (SZ_2M / 2)

static const struct gc_huge_case huge_cases[] = {
	{ "small page", { { HIGH, SZ_4M } }, 1, 0, HIGH + ADDRESS(700), 0, 700, 700 },
	{ "first of the first block", { { HIGH, SZ_4M } }, 1, HUGE_ORDER, HIGH,
	  HUGE_ORDER, 0, 0 },
	{ "last of the first block", { { HIGH, SZ_4M } }, 1, HUGE_ORDER, HIGH + ADDRESS(511),
	  HUGE_ORDER, 0, 0 },
	{ "middle of the second block", { { HIGH, SZ_4M } }, 1, HUGE_ORDER, HIGH + ADDRESS(700),
	  HUGE_ORDER, 512, 512 },
	{ "block of the second range", { { LOW, SZ_32K }, { HIGH, SZ_2M } }, 2, HUGE_ORDER,
	  HIGH + ADDRESS(3), HUGE_ORDER, LOW_PAGES, LOW_PAGES },
	{ "block begins before the range", { { HIGH + HALF, SZ_2M } }, 1, HUGE_ORDER,
	  HIGH + HALF + ADDRESS(5), 0, 5, 0 },
	{ "block begins before the second range", { { SZ_8M, SZ_4M }, { HIGH + HALF, SZ_2M } }, 2,
	  HUGE_ORDER, HIGH + HALF + ADDRESS(5), 0, 1024 + 5, 1024 },
	{ "block ends after the range", { { HIGH, SZ_2M + HALF } }, 1, HUGE_ORDER,
	  HIGH + ADDRESS(600), 0, 600, 512 },
	{ "block in two ranges", { { HIGH, HALF }, { HIGH + HALF, HALF } }, 2, HUGE_ORDER,
	  HIGH + HALF + ADDRESS(1), 0, 257, 0 },
	{ "block in two ranges, swapped", { { HIGH + HALF, HALF }, { HIGH, HALF } }, 2,
	  HUGE_ORDER, HIGH + HALF + ADDRESS(1), 0, 1, 0 },
};

static void gc_huge_case_to_desc(const struct gc_huge_case *huge, char *desc)
{
	strscpy(desc, huge->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(gc_huge, huge_cases, gc_huge_case_to_desc);

static void gc_create_huge(struct kunit *test, enum gc_track_mode mode)
{
	const struct gc_huge_case *huge = test->param_value;
	struct gc_track_fixture *fixture = test->priv;
	struct gc_capture *capture;

	fixture->fake.order = huge->host_order;
	capture = gc_create_over(fixture, mode, 0, huge->ranges, huge->count);
	KUNIT_ASSERT_FALSE(test, IS_ERR(capture));
	fixture->capture = capture;
}

static void gc_track_order_records_huge_pages(struct kunit *test)
{
	const struct gc_huge_case *huge = test->param_value;
	struct gc_track_fixture *fixture = test->priv;

	gc_create_huge(test, GC_TRACK_ORDER);
	gc_fake_access(&fixture->fake, huge->address);
	gc_fake_access(&fixture->fake, huge->address);
	gc_expect_record(test, huge->page, huge->order);
	gc_expect_no_record(test);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).touched, BIT_ULL(huge->order));
}

static void gc_track_age_records_huge_pages(struct kunit *test)
{
	const struct gc_huge_case *huge = test->param_value;
	struct gc_track_fixture *fixture = test->priv;
	struct gc_scan scan;
	u64 pages;

	gc_create_huge(test, GC_TRACK_AGE);
	pages = gc_stats_of(fixture).pages;
	gc_fake_access(&fixture->fake, huge->address);
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, pages), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, pages);
	KUNIT_EXPECT_EQ(test, scan.young, BIT_ULL(huge->order));
	gc_expect_record(test, huge->scanned_page, huge->order);
	gc_expect_no_record(test);
}

/* A scan that begins inside a huge page covers the rest of that page, even beyond scan.count. */
static void gc_track_age_scans_a_part_of_a_huge_page(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, 0);
	fixture->fake.order = HUGE_ORDER;
	gc_fake_access(&fixture->fake, HIGH);
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 3, 1), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, 512 - 3);
	KUNIT_EXPECT_EQ(test, scan.young, 512 - 3);
	gc_expect_record(test, 0, HUGE_ORDER);
}

/* A scan lets the process change its memory map now and then. */
static void gc_track_age_locks_memory_in_batches(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, 0);
	fake->memory_locks = 0;
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, PAGES);
	KUNIT_EXPECT_EQ(test, fake->memory_locks, DIV_ROUND_UP(PAGES, 256));
	KUNIT_EXPECT_EQ(test, fake->memory_locked, 0);
}

static void gc_track_rearm_ends_when_killed(struct kunit *test)
{
	static const enum gc_track_mode modes[] = { GC_TRACK_ORDER, GC_TRACK_AGE };
	struct gc_track_fixture *fixture = test->priv;
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		gc_create(test, modes[i], 0);
		gc_kunit_kill(true);
		err = gc_rearm(fixture, 0, PAGES);
		gc_kunit_kill(false);
		KUNIT_EXPECT_EQ_MSG(test, err, -EINTR, "mode %u", modes[i]);
		fixture->capture->ops->remove(fixture->capture);
		fixture->capture = NULL;
	}
}

/* Unmapped memory and death */

static void gc_track_unmapped_ranges_are_not_recorded(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	const struct gc_vm *vm = &fixture->fake.vm;

	gc_create(test, GC_TRACK_ORDER, 0);
	vm->events->unmapped(vm->data, LOW + ADDRESS(LOW_PAGES), HIGH);
	KUNIT_EXPECT_EQ_MSG(test, gc_stats_of(fixture).unmapped, 0, "between the ranges");
	vm->events->unmapped(vm->data, LOW + ADDRESS(3), LOW + ADDRESS(4));
	vm->events->unmapped(vm->data, LOW, LOW + ADDRESS(LOW_PAGES));
	KUNIT_EXPECT_EQ_MSG(test, gc_stats_of(fixture).unmapped, LOW_PAGES, "counted once");
	gc_fake_access_pages(&fixture->fake, LOW, LOW_PAGES);
	gc_expect_no_record(test);
	gc_fake_access(&fixture->fake, HIGH);
	gc_expect_record(test, 0, 0);
}

static void gc_track_unmapped_ranges_are_not_scanned(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, 0);
	fake->vm.events->unmapped(fake->vm.data, LOW, LOW + 1);
	gc_fake_access(fake, LOW);
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), 0);
	KUNIT_EXPECT_EQ(test, scan.scanned, PAGES);
	KUNIT_EXPECT_EQ(test, scan.young, 0);
	KUNIT_EXPECT_EQ(test, gc_stats_of(fixture).unmapped, LOW_PAGES);
	gc_expect_no_record(test);
	/* Other memory may be mapped there now: its accessed bits are left alone. */
	KUNIT_EXPECT_TRUE(test, test_bit(LOW >> PAGE_SHIFT, fake->accessed));
}

static void gc_track_hangs_up_when_the_vm_dies(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_fake_vm *fake = &fixture->fake;

	gc_create(test, GC_TRACK_ORDER, 0);
	gc_fake_access(fake, HIGH);
	KUNIT_EXPECT_FALSE(test, gc_session_poll(fixture->capture->session, NULL, NULL) & EPOLLHUP);
	fake->memory_is_gone = true;
	fake->vm.events->gone(fake->vm.data);
	KUNIT_EXPECT_TRUE(test, gc_session_poll(fixture->capture->session, NULL, NULL) & EPOLLHUP);
	gc_expect_record(test, 0, 0);
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, 0, PAGES), 0);
}

static void gc_track_age_fails_when_the_vm_is_dead(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;
	struct gc_scan scan;

	gc_create(test, GC_TRACK_AGE, 0);
	fixture->fake.memory_is_gone = true;
	KUNIT_EXPECT_EQ(test, gc_scan(fixture, &scan, 0, PAGES), -ESRCH);
	KUNIT_EXPECT_EQ(test, gc_rearm(fixture, 0, PAGES), -ESRCH);
}

/* With unread records, and a fault during detach. On the debug kernel KASAN watches. */
static void gc_track_detaches_when_the_owner_dies(struct kunit *test)
{
	struct gc_track_fixture *fixture = test->priv;

	gc_create(test, GC_TRACK_ORDER, 0);
	gc_fake_access_pages(&fixture->fake, HIGH, 3);
	fixture->fake.fault_in_detach = HIGH + ADDRESS(3);
	fixture->capture->ops->remove(fixture->capture);
	fixture->capture = NULL;
	KUNIT_EXPECT_EQ(test, fixture->fake.attached, 0);
}

static struct kunit_case gc_track_cases[] = {
	KUNIT_CASE_PARAM(gc_track_rejects_bad_arguments, gc_bad_creation_gen_params),
	KUNIT_CASE(gc_track_default_ring_holds_all_pages),
	KUNIT_CASE(gc_track_rings_are_limited_and_charged),
	KUNIT_CASE(gc_track_order_arms_by_zapping),
	KUNIT_CASE(gc_track_age_arms_by_clearing_accessed_bits),
	KUNIT_CASE(gc_track_records_events_before_attach_returns),
	KUNIT_CASE(gc_track_order_records_first_touches),
	KUNIT_CASE(gc_track_order_rearms_a_part),
	KUNIT_CASE(gc_track_order_drains_only_after_touches),
	KUNIT_CASE(gc_track_order_records_a_fault_during_rearm),
	KUNIT_CASE(gc_track_order_counts_drops_when_the_ring_is_full),
	KUNIT_CASE(gc_track_order_counts_unresolved_faults),
	KUNIT_CASE(gc_track_age_scans_in_page_order),
	KUNIT_CASE(gc_track_age_scan_ends_when_the_ring_is_full),
	KUNIT_CASE(gc_track_age_rearm_records_nothing),
	KUNIT_CASE(gc_track_age_is_interrupted_by_a_signal),
	KUNIT_CASE(gc_track_only_age_scans),
	KUNIT_CASE_PARAM(gc_track_order_records_huge_pages, gc_huge_gen_params),
	KUNIT_CASE_PARAM(gc_track_age_records_huge_pages, gc_huge_gen_params),
	KUNIT_CASE(gc_track_age_scans_a_part_of_a_huge_page),
	KUNIT_CASE(gc_track_age_locks_memory_in_batches),
	KUNIT_CASE(gc_track_rearm_ends_when_killed),
	KUNIT_CASE(gc_track_unmapped_ranges_are_not_recorded),
	KUNIT_CASE(gc_track_unmapped_ranges_are_not_scanned),
	KUNIT_CASE(gc_track_hangs_up_when_the_vm_dies),
	KUNIT_CASE(gc_track_age_fails_when_the_vm_is_dead),
	KUNIT_CASE(gc_track_detaches_when_the_owner_dies),
	{}
};

struct kunit_suite gc_track_suite = {
	.name = "guidecopy-track",
	.init = gc_track_kunit_init,
	.exit = gc_track_kunit_exit,
	.test_cases = gc_track_cases,
};
