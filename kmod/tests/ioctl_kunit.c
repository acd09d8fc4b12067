// SPDX-License-Identifier: GPL-2.0-only
#include "suites.h"

#include <linux/mm.h>

#include "ioctl.h"

struct gc_ioctl_expectation {
	const char *name;
	unsigned int command;
	u32 first_size; /* size of the struct's first version */
	u32 size;
	u32 flags;
};

static const struct gc_ioctl_expectation expected[] = {
	{ "SESSION_CREATE", GC_IOC_SESSION_CREATE, 40, 40, GC_SESSION_PROCESS },
	{ "REARM", GC_IOC_REARM, 24, 24, 0 },
	{ "KICK", GC_IOC_KICK, 8, 8, 0 },
	{ "STATS", GC_IOC_STATS, 96, 120, 0 },
	{ "TRACK_CREATE", GC_IOC_TRACK_CREATE, 32, 32, 0 },
	{ "SCAN", GC_IOC_SCAN, 40, 40, 0 },
};

static void gc_ioctl_to_param(const struct gc_ioctl_expectation *expectation, char *desc)
{
	strscpy(desc, expectation->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(gc_ioctl, expected, gc_ioctl_to_param);

static void gc_ioctl_sizes(struct kunit *test)
{
	const struct gc_ioctl_expectation *expectation = test->param_value;
	const struct gc_ioctl_layout *layout = gc_ioctl_layout(expectation->command);
	u32 size;

	KUNIT_ASSERT_NOT_NULL(test, layout);
	/* ABI: sizes that user space was built with must stay valid. */
	KUNIT_EXPECT_EQ(test, layout->min_size, expectation->first_size);
	KUNIT_EXPECT_EQ(test, layout->size, expectation->size);
	for (size = 0; size <= PAGE_SIZE + 1; size++)
		KUNIT_EXPECT_EQ_MSG(test, gc_ioctl_check_size(layout, size),
				    size < expectation->first_size ? -EINVAL :
				    size > PAGE_SIZE		   ? -E2BIG :
								     0,
				    "size %u", size);
	KUNIT_EXPECT_EQ(test, gc_ioctl_check_size(layout, U32_MAX), -E2BIG);
}

static void gc_ioctl_flags(struct kunit *test)
{
	const struct gc_ioctl_expectation *expectation = test->param_value;
	const struct gc_ioctl_layout *layout = gc_ioctl_layout(expectation->command);
	union gc_ioctl_argument argument = {};
	unsigned int bit;

	KUNIT_ASSERT_NOT_NULL(test, layout);
	KUNIT_EXPECT_EQ(test, gc_ioctl_check(layout, &argument), 0);
	for (bit = 0; bit < 32; bit++) {
		argument.header.flags = BIT(bit);
		KUNIT_EXPECT_EQ_MSG(test, gc_ioctl_check(layout, &argument),
				    expectation->flags & BIT(bit) ? 0 : -EINVAL, "bit %u", bit);
	}
}

static void gc_ioctl_unknown_commands(struct kunit *test)
{
	unsigned int nr, type, known = 0;

	for (type = GC_IOC_TYPE - 1; type <= GC_IOC_TYPE + 1; type++)
		for (nr = 0; nr < 256; nr++)
			known += !!gc_ioctl_layout(_IO(type, nr));
	KUNIT_EXPECT_EQ(test, known, ARRAY_SIZE(expected));
	KUNIT_EXPECT_NULL(test, gc_ioctl_layout(_IOR(GC_IOC_TYPE, 0, u32)));
	KUNIT_EXPECT_NULL(test, gc_ioctl_layout(_IOW(GC_IOC_TYPE, 0, u32)));
	KUNIT_EXPECT_NULL(test, gc_ioctl_layout(0));
	KUNIT_EXPECT_NULL(test, gc_ioctl_layout(U32_MAX));
}

static struct kunit_case gc_ioctl_cases[] = {
	KUNIT_CASE_PARAM(gc_ioctl_sizes, gc_ioctl_gen_params),
	KUNIT_CASE_PARAM(gc_ioctl_flags, gc_ioctl_gen_params),
	KUNIT_CASE(gc_ioctl_unknown_commands),
	{}
};

struct kunit_suite gc_ioctl_suite = {
	.name = "guidecopy-ioctl",
	.test_cases = gc_ioctl_cases,
};
